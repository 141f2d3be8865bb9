//! What the tests across crates have in common.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod peer;

use std::time::Duration;

use tower_ws::{
    client::ClientLayer,
    core::Deadlines,
    reconnect::{Backoff, ReconnectLayer},
    transport::{JsonText, TransportLayer},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// No test waits for ever. Long enough for a machine under load.
pub(crate) async fn bounded<T>(future: impl IntoFuture<Output = T>) -> T {
    within(30 * SECOND, future).await
}

pub(crate) async fn within<T>(limit: Duration, future: impl IntoFuture<Output = T>) -> T {
    let started = tokio::time::Instant::now();
    match tokio::time::timeout(limit, future).await {
        Ok(done) => done,
        Err(_) => panic!("not done within {:?}", started.elapsed()),
    }
}

/// Redials within milliseconds.
pub(crate) fn eager() -> ReconnectLayer {
    let backoff = Backoff::default()
        .base(millis(10))
        .cap(millis(50))
        .first_within(millis(10));
    ReconnectLayer::new().policy(backoff).min_spacing(millis(10))
}

/// Gives up on a peer within a second.
pub(crate) fn impatient() -> TransportLayer {
    let deadlines = Deadlines::default().write(Some(millis(700))).close(millis(500));
    TransportLayer::new().timeout(SECOND).deadlines(deadlines)
}

/// The builder of the recommended stack, with short deadlines.
pub(crate) fn builder(url: impl AsRef<str>) -> tower_ws::Builder {
    let client = ClientLayer::new(JsonText).timeout(10 * SECOND).close_grace(SECOND);
    tower_ws::builder(url)
        .transport(impatient())
        .reconnect(eager())
        .client(client)
}

/// Says which seed it was when a test fails.
pub(crate) struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {0}; again: SEED={0} cargo test ...", self.0);
        }
    }
}

/// Seeds from 0, or the one of the environment variable `SEED`.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

/// How many tasks of this runtime live, beside the one that asks.
pub(crate) fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
