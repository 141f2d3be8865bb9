//! Limits that processes share.
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{dialling, fleet, migrated, n, within};
use tokio::time::{Instant, sleep, timeout};
use tower_ws_fleet::WhenDown;
use tower_ws_rate_limit::Quota;
use tower_ws_test_kit::Postgres;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn fleets_of_several_processes_keep_to_one_quota() {
    let Some(server) = Postgres::start() else { return };
    migrated(&server).await;
    let quota = Quota::per_second(n(100)).burst(n(10));
    let times = Arc::<Mutex<Vec<_>>>::default();
    // Each with connections of its own, as a process has.
    let dialling: Vec<_> = (0..4)
        .map(|_| dialling(&fleet(&server).limiter("dials", quota, WhenDown::Wait), times.clone()))
        .collect();
    sleep(SECOND * 3).await;
    dialling.iter().for_each(tokio::task::JoinHandle::abort);
    let mut times = times.lock().unwrap().clone();
    times.sort();
    let took = (times[times.len() - 1] - times[0]).as_secs_f64();
    let most = 10.0 + 100.0 * took * 1.01 + 4.0;
    assert!((times.len() as f64) <= most, "{} in {took} s", times.len());
    assert!(times.len() > 150, "nor much less: {}", times.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_for_all_also_for_those_who_wait_already() {
    let Some(server) = Postgres::start() else { return };
    migrated(&server).await;
    let quota = Quota::per_second(n(1)).burst(n(1));
    let (here, there) = (fleet(&server), fleet(&server));
    let here = here.limiter("dials", quota, WhenDown::Wait);
    let there = there.limiter("dials", quota, WhenDown::Wait);
    let times = Arc::<Mutex<Vec<_>>>::default();
    // Each waits for a turn of its own, two seconds off and more.
    let tasks: Vec<_> = (0..4).map(|_| dialling(&there, times.clone())).collect();
    sleep(SECOND / 2).await;
    let paused = Instant::now();
    here.pause(SECOND * 5);
    sleep(SECOND * 4).await;
    let now = times.lock().unwrap().clone();
    // One whose turn was near when the pause began has it.
    assert!(
        now.iter().filter(|at| **at > paused + SECOND / 10).count() <= 1,
        "{now:?} {paused:?}"
    );
    within(async {
        while times.lock().unwrap().last().is_none_or(|at| *at < paused + SECOND * 5) {
            sleep(SECOND / 10).await;
        }
    })
    .await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_everything_waits_or_a_share_goes_on() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let quota = Quota::per_second(n(100)).burst(n(50));
    let waits = fleet.limiter("waits", quota, WhenDown::Wait);
    let shares = fleet.limiter("shares", quota, WhenDown::Share { of: n(10) });
    server.kill();
    let (waited, shared) = (Arc::default(), Arc::<Mutex<Vec<Instant>>>::default());
    let first = dialling(&waits, Arc::clone(&waited));
    let second = dialling(&shares, shared.clone());
    sleep(SECOND * 3).await;
    second.abort();
    assert!(waited.lock().unwrap().is_empty());
    assert_eq!(fleet.handle().snapshot().waiting, 1);
    let passed = shared.lock().unwrap().len();
    assert!(
        (1..=31).contains(&passed),
        "a tenth of the rate, and no burst: {passed}"
    );
    tokio::task::block_in_place(|| server.restart());
    within(async {
        while waited.lock().unwrap().is_empty() {
            sleep(SECOND / 10).await;
        }
    })
    .await;
    first.abort();
    assert!(
        timeout(SECOND, async {
            while fleet.handle().snapshot().waiting > 0 {
                sleep(SECOND / 50).await;
            }
        })
        .await
        .is_ok()
    );
}
