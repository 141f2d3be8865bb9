//! What a peer of these tests says, and how its connection ends.
#![allow(dead_code, reason = "each test uses a part of it")]

use tower_ws_core::{Close, Down, Event, Failure, FailureKind};

/// The number that a message begins with.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

pub(crate) fn down(will_retry: bool, code: Option<u16>) -> Event<String> {
    let mut down = Down::new(match code {
        Some(code) => Failure::closed(Close {
            code,
            reason: String::new(),
        }),
        None => Failure::new(FailureKind::Network, "gone"),
    });
    down.will_retry = will_retry;
    Event::Down(down)
}
