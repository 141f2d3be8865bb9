//! A rate limit in the place of a policy.
//~ decides nothing about failures
//~ use `Backoff`, or a closure
use tower_ws::prelude::*;

fn main() {
    let _ = tower_ws::builder("wss://server.example/").policy(RateLimitLayer::new());
}
