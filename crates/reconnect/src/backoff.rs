use std::time::Duration;

use tower_ws_core::{Disposition, Failure, RetryAfter};

use crate::policy::{Decision, History, Policy};

/// The default policy: exponential backoff with jitter, guided by the [`Disposition`] of each
/// failure.
///
/// The delay after attempt n (1, 2, 3 …) of an outage is uniform between d/2 and d, where d =
/// min(30 s, 1 s × 2ⁿ⁻¹). Half of it is fixed, because full jitter lets a server that drops
/// everybody see too many fast retries; half is random, because clients that were dropped together
/// must not come back together. The first retry after a healthy connection is uniform within 1 s:
/// most losses are short.
///
/// | disposition | what follows |
/// |---|---|
/// | [`Backoff`](Disposition::Backoff) | the delay above |
/// | [`Wait`](Disposition::Wait) | uniform in its interval, not less than the delay above; again: in the last third of it |
/// | [`Immediately`](Disposition::Immediately) | no delay but the spacing of attempts |
/// | [`RefreshCredentials`](Disposition::RefreshCredentials) | once: no delay but the spacing of attempts after a failed dial, for another credential is shown; the delay above after a lost connection; the same again in a row: give up |
/// | [`Final`](Disposition::Final) | give up |
///
/// `Retry-After` ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)) takes the
/// place of the delay wherever there is a retry: at most 5 min, plus up to 20 % of jitter, never less than the
/// delay above or than the least of a `Wait`.
///
/// Attempts are unlimited: a client that has given up must be restarted by hand. Set
/// [`max_attempts`](Self::max_attempts) or [`max_outage`](Self::max_outage) where that is what you
/// want.
///
/// ```
/// use std::time::Duration;
/// use tower_ws_reconnect::{Backoff, ReconnectLayer};
///
/// let layer = ReconnectLayer::new().policy(
///     Backoff::default()
///         .base(Duration::from_millis(500))
///         .cap(Duration::from_secs(10))
///         .max_outage(Duration::from_secs(600)),
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    first_within: Duration,
    retry_after_cap: Duration,
    max_attempts: Option<u32>,
    max_outage: Option<Duration>,
}

/// How much longer than asked a `Retry-After` may be waited for.
const RETRY_AFTER_JITTER: f64 = 0.2;

impl Backoff {
    /// The default of [`base`](Self::base): 1 s.
    pub const BASE: Duration = Duration::from_secs(1);
    /// The default of [`cap`](Self::cap): 30 s.
    pub const CAP: Duration = Duration::from_secs(30);
    /// The default of [`first_within`](Self::first_within): 1 s.
    pub const FIRST_WITHIN: Duration = Duration::from_secs(1);
    /// The default of [`retry_after_cap`](Self::retry_after_cap): 5 min.
    pub const RETRY_AFTER_CAP: Duration = RetryAfter::CAP;

    /// Sets the longest delay after the first failed attempt. Default 1 s.
    #[must_use]
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the longest delay of all. Default 30 s: after a long outage a person notices the return
    /// within half a minute.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets within what time the first retry after a healthy connection is made. Default 1 s. A fleet of many
    /// clients of one server spreads better with 5 s ([RFC 6455, section
    /// 7.2.3](https://www.rfc-editor.org/rfc/rfc6455#section-7.2.3)).
    #[must_use]
    pub fn first_within(mut self, within: Duration) -> Self {
        self.first_within = within;
        self
    }

    /// Sets how much of a `Retry-After` is honoured. Default 5 min: without a cap a server, or
    /// whoever answers in its place, could park the client for good.
    #[must_use]
    pub fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry_after_cap = cap;
        self
    }

    /// Gives up after so many attempts in one outage. Default: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Gives up when the delay before the next attempt would end later than this after the outage
    /// began. The spacing of attempts and a shared [`Budget`](crate::Budget) are not foreseen.
    /// Default: never.
    #[must_use]
    pub fn max_outage(mut self, outage: Duration) -> Self {
        self.max_outage = Some(outage);
        self
    }

    /// The delay that every other is measured by.
    fn exponential(&self, history: &History) -> Duration {
        let Some(n) = history.attempts.checked_sub(1) else {
            return between(Duration::ZERO, self.first_within, history.sample);
        };
        let factor = 1u32.checked_shl(n).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(factor).min(self.cap);
        between(longest / 2, longest, history.sample)
    }

    fn delay(&self, cause: &Failure, history: &History) -> Option<Duration> {
        let exponential = self.exponential(history);
        let before = history.previous.as_ref().map(Failure::disposition);
        let delay = match cause.disposition() {
            Disposition::Final => return None,
            Disposition::RefreshCredentials if before == Some(Disposition::RefreshCredentials) => {
                return None;
            }
            Disposition::Immediately => Duration::ZERO,
            // Another credential is shown. Those whose connections were lost would come together.
            Disposition::RefreshCredentials if history.uptime.is_none() => Duration::ZERO,
            Disposition::Wait { least, most } => {
                // Who comes back too soon, and is told so, has drawn too short a wait.
                let sample = match before {
                    Some(Disposition::Wait { .. }) => (2.0 + history.sample) / 3.0,
                    _ => history.sample,
                };
                between(least, most, sample).max(exponential)
            }
            _ => exponential,
        };
        Some(match history.retry_after {
            Some(asked) => {
                let asked = asked.min(self.retry_after_cap);
                let least = match cause.disposition() {
                    Disposition::Wait { least, .. } => least.max(exponential),
                    _ => exponential,
                };
                stretched(asked, 1.0 + RETRY_AFTER_JITTER * history.sample).max(least)
            }
            None => delay,
        })
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Self::BASE,
            cap: Self::CAP,
            first_within: Self::FIRST_WITHIN,
            retry_after_cap: Self::RETRY_AFTER_CAP,
            max_attempts: None,
            max_outage: None,
        }
    }
}

impl Policy for Backoff {
    fn decide(&self, cause: &Failure, history: &History) -> Decision {
        if self.max_attempts.is_some_and(|most| history.attempts >= most) {
            return Decision::GiveUp;
        }
        match self.delay(cause, history) {
            Some(delay)
                if self
                    .max_outage
                    .is_none_or(|most| history.outage.saturating_add(delay) <= most) =>
            {
                Decision::RetryAfter(delay)
            }
            _ => Decision::GiveUp,
        }
    }
}

fn between(least: Duration, most: Duration, sample: f64) -> Duration {
    least.saturating_add(stretched(most.saturating_sub(least), sample))
}

fn stretched(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower_ws_core::{Close, FailureKind};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn network() -> Failure {
        Failure::new(FailureKind::Network, "refused")
    }

    fn closed(code: u16) -> Failure {
        Failure::closed(Close {
            code,
            reason: String::new(),
        })
    }

    fn status(status: u16) -> Failure {
        Failure::new(FailureKind::Handshake, "refused").with_status(status)
    }

    /// The phases of a session in which a failure can strike.
    fn phases(sample: f64) -> [History; 4] {
        let history = |attempts, uptime| History {
            attempts,
            uptime,
            sample,
            ..History::default()
        };
        [
            history(1, None),                // the first dial failed
            history(0, Some(SECOND * 3600)), // a healthy connection was lost
            history(1, Some(SECOND)),        // a connection did not last
            history(7, None),                // deep in an outage
        ]
    }

    fn delay(cause: &Failure, history: &History) -> Duration {
        match Backoff::default().decide(cause, history) {
            Decision::RetryAfter(delay) => delay,
            Decision::GiveUp => panic!("gave up on {cause} after {history:?}"),
        }
    }

    fn gives_up(cause: &Failure, history: &History) -> bool {
        Backoff::default().decide(cause, history) == Decision::GiveUp
    }

    #[test]
    fn every_close_code_in_every_phase() {
        for sample in [0.0, 0.5, 0.999] {
            for history in phases(sample) {
                for code in 1000..5000 {
                    let cause = closed(code);
                    match cause.disposition() {
                        Disposition::Final => {
                            assert!(gives_up(&cause, &history), "{code} {history:?}");
                        }
                        Disposition::Wait { least, most } => {
                            let delay = delay(&cause, &history);
                            assert!(
                                least <= delay && delay <= most.max(Backoff::CAP),
                                "{code} {history:?} {delay:?}"
                            );
                        }
                        Disposition::RefreshCredentials if history.uptime.is_none() => {
                            assert_eq!(delay(&cause, &history), Duration::ZERO, "{code} {history:?}");
                        }
                        _ => assert_eq!(
                            delay(&cause, &history),
                            delay(&network(), &history),
                            "{code} {history:?}"
                        ),
                    }
                }
            }
        }
    }

    #[test]
    fn every_status_in_every_phase() {
        for history in phases(0.5) {
            for code in 100..600 {
                let retried = matches!(code, 401 | 408 | 425 | 429 | 500..=599);
                assert_eq!(gives_up(&status(code), &history), !retried, "{code} {history:?}");
            }
        }
    }

    #[test]
    fn credentials_are_refreshed_once_in_a_row() {
        let mut history = History {
            attempts: 2,
            ..History::default()
        };
        for (refused, again) in [(status(401), closed(4401)), (closed(3000), status(401))] {
            history.previous = Some(network());
            assert!(!gives_up(&refused, &history));
            history.previous = Some(refused);
            assert!(gives_up(&again, &history));
            assert!(!gives_up(&network(), &history));
        }
    }

    #[test]
    fn a_restart_that_is_not_over_is_waited_for_longer() {
        let mut history = History {
            attempts: 2,
            ..History::default()
        };
        assert_eq!(delay(&closed(1012), &history), SECOND);
        history.previous = Some(closed(1012));
        assert!(delay(&closed(1012), &history) > SECOND * 10);
    }

    /// In the last third of the range, wherever in it the lot falls.
    #[test]
    fn who_came_back_too_soon_draws_a_longer_wait() {
        for sample in [0.0, 0.5, 0.99] {
            let history = History {
                attempts: 2,
                previous: Some(closed(1012)),
                sample,
                ..History::default()
            };
            let range = SECOND..=SECOND * 15;
            let (least, most) = (*range.start(), *range.end());
            let expected = least + (most - least).mul_f64((2.0 + sample) / 3.0);
            let waits = delay(&closed(1012), &history);
            assert!(waits.abs_diff(expected) < SECOND / 100, "{waits:?} for {sample}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_no_less_than_what_its_close_code_says() {
        let soon = closed(1013).with_retry_after(RetryAfter::Delay(SECOND));
        let history = History {
            attempts: 1,
            retry_after: Some(SECOND),
            ..History::default()
        };
        assert!(delay(&soon, &history) >= SECOND * 30, "{:?}", delay(&soon, &history));
    }

    #[test]
    fn each_setting_leaves_the_others() {
        let backoff = Backoff::default()
            .first_within(SECOND * 2)
            .cap(SECOND * 40)
            .base(SECOND * 4)
            .retry_after_cap(SECOND * 9);
        let settings = (backoff.base, backoff.cap, backoff.first_within, backoff.retry_after_cap);
        assert_eq!(settings, (SECOND * 4, SECOND * 40, SECOND * 2, SECOND * 9));
    }

    #[test]
    fn immediately_means_no_delay() {
        let cause = network().with_disposition(Disposition::Immediately);
        for history in phases(0.9) {
            assert_eq!(delay(&cause, &history), Duration::ZERO);
        }
    }

    #[test]
    fn budgets() {
        let patient = Backoff::default().max_attempts(3);
        let history = |attempts, seconds| History {
            attempts,
            outage: SECOND * seconds,
            ..History::default()
        };
        assert_ne!(patient.decide(&network(), &history(2, 1_000)), Decision::GiveUp);
        assert_eq!(patient.decide(&network(), &history(3, 0)), Decision::GiveUp);

        let brief = Backoff::default().max_outage(SECOND * 60);
        assert_ne!(brief.decide(&network(), &history(6, 45)), Decision::GiveUp);
        assert_eq!(brief.decide(&network(), &history(6, 46)), Decision::GiveUp);
    }

    proptest! {
        #[test]
        fn the_delay_is_between_half_and_whole(attempts in 1u32.., sample in 0.0..1.0f64) {
            let history = History { attempts, sample, ..History::default() };
            let longest = SECOND.saturating_mul(2u32.saturating_pow(attempts - 1)).min(SECOND * 30);
            let delay = delay(&network(), &history);
            prop_assert!(longest / 2 <= delay && delay <= longest);
        }

        #[test]
        fn the_first_retry_is_within_a_second(sample in 0.0..1.0f64) {
            let history = History { sample, ..History::default() };
            prop_assert!(delay(&network(), &history) <= SECOND);
        }

        #[test]
        fn retry_after_is_honoured_and_capped(asked: Duration, attempts in 0u32..40, sample in 0.0..1.0f64) {
            let history = History { attempts, sample, retry_after: Some(asked), ..History::default() };
            let least = asked.min(SECOND * 300);
            for cause in [network(), status(503), closed(1013)] {
                let delay = delay(&cause, &history);
                prop_assert!(least <= delay, "{delay:?}");
                prop_assert!(delay <= least.mul_f64(1.2).max(SECOND * 30), "{delay:?}");
            }
        }

        #[test]
        fn no_setting_panics(
            base: Duration, cap: Duration, first: Duration, retry_cap: Duration, outage: Duration,
            asked: Option<Duration>, least: Duration, most: Duration, attempts: u32, sample in 0.0..1.0f64,
        ) {
            let backoff = Backoff::default()
                .base(base).cap(cap).first_within(first).retry_after_cap(retry_cap).max_outage(outage);
            let history = History { attempts, outage, retry_after: asked, sample, ..History::default() };
            backoff.decide(&network().with_disposition(Disposition::Wait { least, most }), &history);
        }
    }
}
