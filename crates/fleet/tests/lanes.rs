//! One owner at a time, its outbox, and what the next one finds.
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{fleet, migrated, rest, session, spool, sql, within};
use tokio::time::{Instant, sleep, timeout};
use tower_ws_core::{DropReason, Event, FailureKind, Outgoing};
use tower_ws_fleet::{
    FleetError,
    spool::{SpoolOptions, Unacknowledged},
};
use tower_ws_test_kit::{Cut, Fault, Postgres, Proxy};

const SECOND: Duration = Duration::from_secs(1);

fn message(text: &str) -> Outgoing<String> {
    Outgoing::new(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_and_the_next_at_once_when_it_is_handed_over() {
    let Some(server) = Postgres::start() else { return };
    let first = migrated(&server).await;
    let owned = within(first.lane("a").acquire()).await.unwrap();
    assert_eq!((owned.token(), owned.is_valid()), (1, true));
    // Another lane is another matter, and so is another fleet on the same database.
    assert_eq!(within(first.lane("b").acquire()).await.unwrap().token(), 1);
    let other = tower_ws_fleet::Fleet::new(server.url().parse().unwrap(), "other");
    assert_eq!(within(other.lane("a").acquire()).await.unwrap().token(), 1);

    let second = fleet(&server);
    let lane = second.lane("a");
    // It is renewed: for longer than a lease nobody else gets it.
    let mut waits = std::pin::pin!(lane.acquire());
    assert!(timeout(SECOND * 3, &mut waits).await.is_err());
    assert_eq!(second.handle().snapshot().standing_by, 1);
    let at = Instant::now();
    owned.hand_over().await.unwrap();
    let owned = within(waits).await.unwrap();
    assert!(at.elapsed() < SECOND, "{:?}", at.elapsed());
    assert_eq!(owned.token(), 2);
    let now = second.handle().snapshot();
    assert_eq!((now.standing_by, now.lanes, now.lost), (0, 1, 0));
    // Dropped, it is handed over too.
    drop(owned);
    assert_eq!(within(first.lane("a").acquire()).await.unwrap().token(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_sent_by_the_next_owner_in_its_order() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let file = spool(&owned).await;
    let again = owned.spool::<String, _, _>(SpoolOptions::new(), Unacknowledged).await;
    assert!(matches!(again, Err(FleetError::Opened(_))), "{again:?}");
    let (mut session_, peer, _listener) = session(&file).await;
    drop(peer);
    assert!(matches!(within(session_.next()).await, Some(Event::Down(_))));
    for text in ["1", "2", "3"] {
        within(session_.send(message(text))).await.unwrap();
    }
    drop(session_);
    within(file.close()).await;
    owned.hand_over().await.unwrap();

    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let file = spool(&owned).await;
    assert_eq!(file.handle().snapshot().recovered, 3);
    let (mut session_, mut peer, _listener) = session(&file).await;
    let reads = tokio::spawn(async move { rest(&mut session_).await });
    for text in ["1", "2", "3"] {
        assert_eq!(within(peer.next()).await.unwrap().unwrap(), text);
    }
    while file.handle().snapshot().messages > 0 {
        sleep(SECOND / 100).await;
    }
    reads.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_taken_ends_the_session_for_good_and_what_it_holds_is_kept() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let file = spool(&owned).await;
    let (mut session_, peer, _listener) = session(&file).await;
    drop(peer);
    assert!(matches!(within(session_.next()).await, Some(Event::Down(_))));
    within(session_.send(message("1"))).await.unwrap();
    sql(
        &server,
        "UPDATE tower_ws_lane SET token = token + 1, until = '-infinity'",
    )
    .await;
    let events = rest(&mut session_).await;
    let [Event::Dropped(one, DropReason::Closed), Event::Down(down)] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(one.record.is_some(), "it is kept for the next owner");
    assert_eq!((down.will_retry, down.cause.kind()), (false, FailureKind::Local));
    assert!(
        down.cause.to_string().contains("another process has it"),
        "{}",
        down.cause
    );
    assert!(!owned.is_valid() && owned.lost().now_or_never().is_some());
    assert_eq!(fleet.handle().snapshot().lost, 1);
    assert!(matches!(owned.hand_over().await, Err(FleetError::Lost(_))));
    drop((session_, file));
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    assert_eq!(spool(&owned).await.handle().snapshot().recovered, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_database_is_outlived_and_a_longer_absence_is_not() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await.lease(SECOND * 20);
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let file = spool(&owned).await;
    let (mut session_, mut peer, _listener) = session(&file).await;
    tokio::task::block_in_place(|| server.restart());
    within(session_.send(message("1"))).await.unwrap();
    let said = async {
        tokio::select! { said = peer.next() => said, event = session_.next() => panic!("{event:?}") }
    };
    assert_eq!(within(said).await.unwrap().unwrap(), "1");
    assert!(owned.is_valid());
    drop((session_, file));
    owned.hand_over().await.unwrap();

    let fleet = support::fleet(&server);
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let began = Instant::now();
    tokio::task::block_in_place(|| server.kill());
    let cause = within(owned.lost()).await;
    assert!(cause.to_string().contains("could not be renewed"), "{cause}");
    assert!(
        began.elapsed() < SECOND,
        "before another may have it: {:?}",
        began.elapsed()
    );
    assert!(fleet.handle().snapshot().failure.is_some());
    // Whoever stands by waits on, and has it when the server is back.
    let waits = tokio::spawn(async move { fleet.lane("a").acquire().await.map(|owned| owned.token()) });
    sleep(SECOND).await;
    tokio::task::block_in_place(|| server.restart());
    assert_eq!(within(waits).await.unwrap().unwrap(), 3);
}

/// As if frozen: it takes connections and answers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_frozen_is_left_in_time() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    server.freeze();
    let began = Instant::now();
    within(owned.lost()).await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

/// Cut off in the middle of requests, again and again: what is accepted is there, once. Cut off for
/// good, it is lost in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_is_outlived_or_loses_the_lane_in_time() {
    let Some(server) = Postgres::start() else { return };
    migrated(&server).await;
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let url = server
        .url()
        .replace(&server.addr().to_string(), &proxy.addr().to_string());
    let fleet = tower_ws_fleet::Fleet::new(url.parse().unwrap(), "tests").lease(SECOND * 5);
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let file = spool(&owned).await;
    let (mut session_, peer, listener) = session(&file).await;
    drop((peer, listener));
    assert!(matches!(within(session_.next()).await, Some(Event::Down(_))));
    let sent = AtomicUsize::new(0);
    let send = async {
        for n in 0..300 {
            within(session_.send(message(&n.to_string()))).await.unwrap();
            sent.store(n, Relaxed);
        }
    };
    let cut = async {
        loop {
            // Somewhere in a request, once it has got through again: a busy machine takes its time.
            let from = sent.load(Relaxed);
            while sent.load(Relaxed) < from + 3 {
                sleep(SECOND / 500).await;
            }
            sleep(SECOND.mul_f64(fastrand::f64() / 100.0)).await;
            proxy.cut_now(Cut::Rst);
        }
    };
    tokio::select! { () = send => {}, () = cut => unreachable!("it goes on") }
    assert!(owned.is_valid());
    let failures = fleet.handle().snapshot().failures;
    assert!(failures > 3, "it was hardly cut: {failures}");
    proxy.set(Fault::Blackhole);
    let began = Instant::now();
    within(owned.lost()).await;
    assert!(began.elapsed() < SECOND * 5);
    drop((session_, file));
    let fleet = support::fleet(&server);
    let owned = within(fleet.lane("a").acquire()).await.unwrap();
    let file = spool(&owned).await;
    assert_eq!(file.handle().snapshot().messages, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_to_do() {
    let Some(server) = Postgres::start() else { return };
    let fresh = fleet(&server);
    let error = within(fresh.lane("a").acquire()).await.unwrap_err();
    assert!(matches!(error, FleetError::Schema(_)), "{error:?}");
    fresh.migrate().await.unwrap();
    fresh.migrate().await.unwrap();
    sql(&server, "CREATE USER worker; GRANT SELECT ON tower_ws_lane TO worker").await;
    let config = server.url().replace("postgres@", "worker@").parse().unwrap();
    let error = within(tower_ws_fleet::Fleet::new(config, "tests").lane("a").acquire())
        .await
        .unwrap_err();
    assert!(matches!(error, FleetError::Denied(_)), "{error:?}");
    // What the docs list is enough.
    sql(
        &server,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON tower_ws_lane, tower_ws_message, tower_ws_limit, tower_ws_token TO worker",
    )
    .await;
    let config = server.url().replace("postgres@", "worker@").parse().unwrap();
    let worker = tower_ws_fleet::Fleet::new(config, "tests");
    let owned = within(worker.lane("a").acquire()).await.unwrap();
    drop(spool(&owned).await);
    server.kill();
    let error = worker.migrate().await.unwrap_err();
    assert!(
        matches!(error, FleetError::Unreachable(_)) && error.is_passing(),
        "{error:?}"
    );
}
