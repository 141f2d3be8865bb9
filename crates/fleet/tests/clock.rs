//! The clock of the database is set, by an hour, forwards and back. That of the machine is not.
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt;
use support::{dialling, fleet, migrated, n, within};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};
use tower_ws_auth::{Credential, Provider};
use tower_ws_core::BoxError;
use tower_ws_fleet::{Fleet, Owned, Sealed, WhenDown};
use tower_ws_rate_limit::Quota;
use tower_ws_test_kit::Postgres;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600;

/// Owns the lane, and dies without a word.
fn dies(fleet: &Fleet, lane: &str) {
    tokio::task::block_in_place(|| {
        let process = Runtime::new().unwrap();
        let owned = process.block_on(within(fleet.lane(lane).acquire())).unwrap();
        process.shutdown_background();
        std::mem::forget::<Owned>(owned);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_gives_another_burst_at_most_and_does_not_stand_still() {
    let Some(server) = Postgres::start_with_clock() else {
        return;
    };
    let fleet = migrated(&server).await;
    let quota = Quota::per_second(n(50)).burst(n(20));
    let limit = fleet.limiter("dials", quota, WhenDown::Wait);
    let times = Arc::<Mutex<Vec<Instant>>>::default();
    let began = Instant::now();
    let task = dialling(&limit, times.clone());
    for clock in [0, HOUR, 0, -HOUR] {
        server.set_clock(clock);
        let before = times.lock().unwrap().len();
        sleep(SECOND * 2).await;
        let passed = times.lock().unwrap().len() - before;
        assert!(passed >= 80, "{passed} after it was set to {clock}");
    }
    task.abort();
    // A burst at first, and one for the step forwards.
    let (most, passed) = (
        40.0 + 50.0 * began.elapsed().as_secs_f64() * 1.01,
        times.lock().unwrap().len(),
    );
    assert!(passed as f64 <= most, "{passed}, and no more than {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_stays_when_it_is_set_back_and_one_who_is_dead_is_replaced_in_time() {
    let Some(server) = Postgres::start_with_clock() else {
        return;
    };
    let fleet = migrated(&server).await;
    let (owned, other) = (
        within(fleet.lane("a").acquire()).await.unwrap(),
        support::fleet(&server),
    );
    let lane = other.lane("a");
    let mut stands_by = std::pin::pin!(lane.acquire());
    assert!(timeout(SECOND, &mut stands_by).await.is_err());
    dies(&support::fleet(&server), "b");
    server.set_clock(-HOUR);
    let began = Instant::now();
    assert_eq!(within(other.lane("b").acquire()).await.unwrap().token(), 2);
    // The lease and a second; some more on a busy machine.
    assert!(began.elapsed() < SECOND * 10, "{:?}", began.elapsed());
    assert!(
        timeout(SECOND * 3, &mut stands_by).await.is_err(),
        "the living one stays"
    );
    assert!(owned.is_valid());
}

#[tokio::test(flavor = "multi_thread")]
async fn set_forwards_it_may_take_the_lane_from_its_owner_who_hears_of_it() {
    let Some(server) = Postgres::start_with_clock() else {
        return;
    };
    let (first, second) = (migrated(&server).await, fleet(&server));
    let owned = within(first.lane("a").acquire()).await.unwrap();
    let lane = second.lane("a");
    let mut stands_by = std::pin::pin!(lane.acquire());
    assert!(timeout(SECOND / 2, &mut stands_by).await.is_err());
    server.set_clock(HOUR);
    // Or he has renewed it first, and stays.
    tokio::select! {
        taken = &mut stands_by => {
            assert_eq!(taken.unwrap().token(), 2);
            let cause = within(owned.lost()).await;
            assert!(cause.to_string().contains("another process has it"), "{cause}");
        }
        () = sleep(SECOND * 3) => assert!(owned.lost().now_or_never().is_none()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_died_while_he_fetched_a_token_is_replaced_in_time() {
    let Some(server) = Postgres::start_with_clock() else {
        return;
    };
    migrated(&server).await;
    let hangs = fleet(&server).provider(
        "api",
        std::future::pending::<Result<Credential, BoxError>>,
        Sealed::InTheClear,
    );
    let fetches = tokio::spawn(hangs.fetch());
    sleep(SECOND).await;
    fetches.abort();
    server.set_clock(-HOUR);
    let asked = Arc::<AtomicUsize>::default();
    let counts = asked.clone();
    let works = move || {
        counts.fetch_add(1, SeqCst);
        std::future::ready(Ok::<_, BoxError>(Credential::new("secret")))
    };
    let works = fleet(&server).provider("api", works, Sealed::InTheClear);
    let waits = tokio::spawn(works.fetch());
    // Not before his time is over.
    sleep(SECOND * 2).await;
    assert_eq!(asked.load(SeqCst), 0);
    server.set_clock(-HOUR + 61);
    assert_eq!(within(waits).await.unwrap().unwrap().secret(), "secret");
}
