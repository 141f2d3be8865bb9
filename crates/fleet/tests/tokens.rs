//! One refresh of a token for all.
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use support::{fleet, migrated, sql, within};
use tokio::time::sleep;
use tower_ws_auth::{Credential, Provider};
use tower_ws_core::BoxError;
use tower_ws_fleet::{Key, Sealed, SharedProvider};
use tower_ws_test_kit::Postgres;

const MINUTE: Duration = Duration::from_secs(60);

fn sealed(key: u8) -> Sealed {
    Sealed::With(Key::new(&[key; Key::LEN]))
}

/// An endpoint whose refresh tokens rotate: it may not be asked twice for one credential.
fn endpoint(asked: &Arc<AtomicUsize>) -> impl Provider<Future: Send> + use<> {
    let asked = asked.clone();
    move || {
        let asked = asked.clone();
        async move {
            sleep(Duration::from_millis(300)).await;
            let n = asked.fetch_add(1, SeqCst) + 1;
            Ok(Credential::new(format!("secret {n}")).expires(SystemTime::now() + MINUTE))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_fetches_and_all_have_it() {
    let Some(server) = Postgres::start() else { return };
    migrated(&server).await;
    let asked = Arc::<AtomicUsize>::default();
    let processes: Vec<_> = (0..6)
        .map(|_| fleet(&server).provider("api", endpoint(&asked), sealed(1)))
        .collect();
    for round in 1..=3 {
        // Each has no use for the one it had: it was refused, or expires.
        let all = join_all(processes.iter().map(Provider::fetch));
        for credential in within(all).await {
            let credential = credential.unwrap();
            assert_eq!(credential.secret(), format!("secret {round}"));
            assert!(credential.expiry().is_some_and(|at| at > SystemTime::now()));
        }
        assert_eq!(asked.load(SeqCst), round, "one refresh for all");
    }
    // One that comes later takes what is there.
    let late = fleet(&server).provider("api", endpoint(&asked), sealed(1));
    assert_eq!(within(late.fetch()).await.unwrap().secret(), "secret 3");
    // Unless it has expired.
    sql(&server, "UPDATE tower_ws_token SET expires = 1").await;
    let late = fleet(&server).provider("api", endpoint(&asked), sealed(1));
    assert_eq!(within(late.fetch()).await.unwrap().secret(), "secret 4");
    // By another key it cannot be read, and nobody refreshes it for that.
    let error = within(fleet(&server).provider("api", endpoint(&asked), sealed(2)).fetch())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("sealed otherwise"), "{error}");
    assert_eq!(asked.load(SeqCst), 4);
    let dump = format!("{late:?}");
    assert!(!dump.contains("secret 4"), "{dump}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_fetch_fails_or_who_dies_leaves_it_to_another() {
    let Some(server) = Postgres::start() else { return };
    migrated(&server).await;
    let fails = || async { Err::<Credential, BoxError>("not today".into()) };
    let failing = fleet(&server).provider("api", fails, Sealed::InTheClear);
    assert_eq!(within(failing.fetch()).await.unwrap_err().to_string(), "not today");
    let asked = Arc::<AtomicUsize>::default();
    let works = fleet(&server).provider("api", endpoint(&asked), Sealed::InTheClear);
    assert_eq!(within(works.fetch()).await.unwrap().secret(), "secret 1");
    // It dies in the middle: its claim runs out.
    let hangs: SharedProvider<_> = fleet(&server).provider(
        "other",
        std::future::pending::<Result<Credential, BoxError>>,
        Sealed::InTheClear,
    );
    let dies = tokio::spawn(hangs.fetch());
    sleep(Duration::from_millis(500)).await;
    dies.abort();
    let works = fleet(&server).provider("other", endpoint(&asked), Sealed::InTheClear);
    let waits = tokio::spawn(works.fetch());
    sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    sql(
        &server,
        "UPDATE tower_ws_token SET claimed_until = clock_timestamp() - interval '1 s'",
    )
    .await;
    assert_eq!(within(waits).await.unwrap().unwrap().secret(), "secret 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_nobody_refreshes_alone() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let asked = Arc::<AtomicUsize>::default();
    let provider = fleet.provider("api", endpoint(&asked), sealed(1));
    within(provider.fetch()).await.unwrap();
    server.kill();
    let error = within(provider.fetch()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert_eq!(asked.load(SeqCst), 1);
    tokio::task::block_in_place(|| server.restart());
    assert_eq!(within(provider.fetch()).await.unwrap().secret(), "secret 2");
}
