//! The contract of a call, over the whole stack and hundreds of random schedules: it ends, it says
//! truthfully how, and nothing is said twice.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/session.rs"]
mod session;
#[path = "support/stacks.rs"]
mod stacks;
mod support;

use session::{Tally, session};
use stacks::{Build, plain, with_ack, with_all, with_boxes, with_lines, with_opening, with_queue, without_reconnect};
use support::seeds;

async fn property(build: Build, resends: bool, count: u64) {
    let mut tally = Tally::default();
    for seed in seeds(count) {
        // Without reconnect the first refusal is the end.
        let _ = session(build, resends, seed, &mut tally).await;
    }
    println!("{tally:?}");
    if std::env::var("SEED").is_err() {
        let usual = [
            "answered",
            "cancelled",
            "interrupted",
            "closed",
            "timed out, sent",
            "timed out, not sent",
            "handed back",
        ];
        assert!(
            usual
                .iter()
                .all(|end| tally.0.get(end).is_some_and(|&times| times >= 5)),
            "{tally:?}"
        );
        assert!(!tally.0.contains_key("otherwise"), "{tally:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_reconnect() {
    property(plain, false, 400).await;
}

#[tokio::test(start_paused = true)]
async fn over_a_single_connection() {
    property(without_reconnect, false, 400).await;
}

#[tokio::test(start_paused = true)]
async fn over_an_opening_with_shared_ids() {
    property(with_opening, false, 300).await;
}

#[tokio::test(start_paused = true)]
async fn over_boxes() {
    property(with_boxes, false, 300).await;
}

#[tokio::test(start_paused = true)]
async fn over_lines() {
    property(with_lines, false, 300).await;
}

#[tokio::test(start_paused = true)]
async fn over_a_queue() {
    property(with_queue, false, 300).await;
}

#[tokio::test(start_paused = true)]
async fn over_acknowledgements() {
    property(with_ack, true, 300).await;
}

#[tokio::test(start_paused = true)]
async fn over_queue_acknowledgements_and_metrics() {
    property(with_all, true, 300).await;
}
