use std::time::{Duration, SystemTime};

use tower_ws_core::Failure;

use crate::limiter::Limiter;

/// For how long the server wants no dials, if this failure says so.
///
/// It does by `Retry-After`, whatever the status, and by whatever is
/// [throttling](Failure::is_throttled).
pub(crate) fn asked_for(failure: &Failure, now: SystemTime) -> Option<Duration> {
    if let Some(wish) = failure.retry_after() {
        return Some(wish.delay(now));
    }
    failure.is_throttled().then_some(Limiter::PAUSE)
}

/// How a server says in band that it gets too much: what comes in, and for how long nothing normal
/// is to be sent.
///
/// Closures implement it. See
/// [`RateLimitLayer::throttle_signal`](crate::RateLimitLayer::throttle_signal).
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no throttle signal in messages of type `{M}`",
    label = "no throttle signal",
    note = "a closure will do: `|message: &M| Option<Duration>`; `NoSignal` reads none"
)]
pub trait ThrottleSignal<M> {
    /// How long to pause, if this message says so. It goes up in any case.
    fn pause(&self, message: &M) -> Option<Duration>;
}

#[diagnostic::do_not_recommend]
impl<M, F: Fn(&M) -> Option<Duration>> ThrottleSignal<M> for F {
    fn pause(&self, message: &M) -> Option<Duration> {
        self(message)
    }
}

/// A server that does not say so in band.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSignal;

impl<M> ThrottleSignal<M> for NoSignal {
    fn pause(&self, _: &M) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use tower_ws_core::{Close, RetryAfter};

    use tower_ws_core::FailureKind;

    use super::*;

    #[test]
    fn what_is_a_wish_for_fewer_dials() {
        let (now, minute) = (SystemTime::UNIX_EPOCH, Duration::from_secs(60));
        let refused = |status| Failure::new(FailureKind::Handshake, "refused").with_status(status);
        let closed = |code| {
            Failure::closed(Close {
                code,
                reason: String::new(),
            })
        };
        let cases = [
            (refused(503).with_retry_after(RetryAfter::Delay(minute)), Some(minute)),
            (
                refused(429).with_retry_after(RetryAfter::Date(now + minute)),
                Some(minute),
            ),
            (refused(429), Some(Limiter::PAUSE)),
            (Failure::new(FailureKind::Throttled, "slow down"), Some(Limiter::PAUSE)),
            (closed(1013), Some(Limiter::PAUSE)),
            (closed(4429), Some(Limiter::PAUSE)),
            (refused(503), None),
            (closed(1012), None),
            (closed(1001), None),
            (Failure::new(FailureKind::Network, "gone"), None),
        ];
        for (failure, expected) in cases {
            assert_eq!(asked_for(&failure, now), expected, "{failure}");
        }
    }
}
