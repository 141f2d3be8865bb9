use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use tower_ws_core::Failure;
use tower_ws_core::later;

use crate::policy::History;

/// What became of a session's attempts, and when the next may begin. No I/O: time is passed in.
#[derive(Debug)]
pub(crate) struct Outage {
    healthy_after: Duration,
    since: Instant,
    attempts: u32,
    last_delay: Duration,
    previous: Option<Failure>,
    spacing: Spacing,
}

impl Outage {
    pub(crate) fn new(now: Instant, healthy_after: Duration, min_spacing: Duration) -> Self {
        Self {
            healthy_after,
            since: now,
            attempts: 0,
            last_delay: Duration::ZERO,
            previous: None,
            spacing: Spacing {
                least: min_spacing,
                starts: VecDeque::new(),
            },
        }
    }

    /// The number of the next attempt in this outage, from 1.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    /// How many attempts have failed or did not last.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Why the last attempt failed, or did not last.
    pub(crate) fn previous(&self) -> Option<&Failure> {
        self.previous.as_ref()
    }

    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.spacing.begin(now);
    }

    /// The attempt that has begun dials only now: readiness had to be waited for.
    pub(crate) fn dial(&mut self, now: Instant) {
        if let Some(last) = self.spacing.starts.back_mut() {
            *last = now;
        }
    }

    /// A dial failed.
    pub(crate) fn failed(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// A connection was lost. Only a healthy one ends the outage.
    pub(crate) fn lost(&mut self, now: Instant, uptime: Duration) {
        if uptime >= self.healthy_after.max(self.last_delay) {
            self.since = now;
            self.attempts = 0;
            self.last_delay = Duration::ZERO;
            self.previous = None;
        } else {
            if uptime >= self.healthy_after {
                // Not long after so long a delay; but what failed before has worked since.
                self.previous = None;
            }
            self.failed();
        }
    }

    /// A connection was left on request: that is no failure.
    pub(crate) fn left(&mut self, now: Instant, uptime: Duration) {
        if uptime >= self.healthy_after.max(self.last_delay) {
            self.lost(now, uptime);
        }
    }

    /// There will be another attempt, `delay` from now.
    pub(crate) fn retry(&mut self, cause: Failure, delay: Duration) {
        self.previous = Some(cause);
        self.last_delay = delay;
    }

    /// No attempt may begin before this.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.spacing.earliest()
    }

    pub(crate) fn history(
        &self,
        now: Instant,
        uptime: Option<Duration>,
        retry_after: Option<Duration>,
        sample: f64,
    ) -> History {
        History {
            attempts: self.attempts,
            outage: self.elapsed(now),
            uptime,
            last_delay: self.last_delay,
            previous: self.previous.clone(),
            retry_after,
            sample,
        }
    }
}

/// The distance that attempts keep, whoever asks for them: one in each `least`, [`BURST`] in ten
/// times that.
#[derive(Debug)]
struct Spacing {
    least: Duration,
    /// When the last attempts began.
    starts: VecDeque<Instant>,
}

/// So many attempts in quick succession serve a person who presses "reconnect"; a program that
/// keeps asking is held to half that rate.
const BURST: usize = 5;

impl Spacing {
    fn begin(&mut self, now: Instant) {
        if self.starts.len() == BURST {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
    }

    fn earliest(&self) -> Option<Instant> {
        let next = later(*self.starts.back()?, self.least);
        match self.starts.front() {
            Some(first) if self.starts.len() == BURST => {
                Some(next.max(later(*first, self.least.saturating_mul(2 * BURST as u32))))
            }
            _ => Some(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower_ws_core::FailureKind;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn outage(now: Instant) -> Outage {
        Outage::new(now, SECOND * 5, SECOND)
    }

    fn cause() -> Failure {
        Failure::new(FailureKind::Network, "refused")
    }

    #[test]
    fn leaving_a_healthy_connection_on_request_ends_the_outage_and_is_no_failure() {
        let now = Instant::now();
        for (uptime, attempts) in [(4, 2), (6, 0)] {
            let mut outage = outage(now);
            outage.failed();
            outage.failed();
            outage.left(now, SECOND * uptime);
            assert_eq!(outage.attempts(), attempts, "up for {uptime} s");
        }
    }

    #[test]
    fn what_has_worked_since_is_not_held_against_the_next_failure() {
        let now = Instant::now();
        let mut outage = outage(now);
        for (uptime, remembered) in [(4, true), (6, false)] {
            outage.retry(cause(), SECOND * 10);
            outage.lost(now, SECOND * uptime);
            assert_eq!(outage.previous().is_some(), remembered, "up for {uptime} s");
            assert!(outage.attempts() > 0, "the outage goes on");
        }
    }

    #[test]
    fn a_burst_of_five_then_half_the_rate() {
        let start = Instant::now();
        let mut outage = outage(start);
        let mut begun = Vec::new();
        for _ in 0..11 {
            let at = outage.earliest().unwrap_or(start);
            outage.begin(at);
            begun.push((at - start).as_secs());
        }
        assert_eq!(begun, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20]);
    }

    #[test]
    fn a_dial_that_waited_for_readiness_counts_from_the_dial() {
        let start = Instant::now();
        let mut outage = outage(start);
        outage.begin(start);
        outage.dial(start + SECOND * 7);
        assert_eq!(outage.earliest(), Some(start + SECOND * 8));
    }

    #[test]
    fn the_absurd_is_a_year() {
        let mut outage = Outage::new(Instant::now(), Duration::MAX, Duration::MAX);
        for _ in 0..2 * BURST {
            outage.begin(Instant::now());
            assert!(outage.earliest().is_some());
        }
    }

    proptest! {
        #[test]
        fn only_a_healthy_connection_ends_an_outage(uptimes in prop::collection::vec((0u32..60, 0u32..60), 1..50)) {
            let mut now = Instant::now();
            let mut outage = outage(now);
            let (mut began, mut attempts, mut last_delay) = (now, 0, Duration::ZERO);
            for (uptime, delay) in uptimes {
                let (uptime, delay) = (SECOND * uptime, SECOND * delay);
                now += uptime;
                outage.lost(now, uptime);
                if uptime >= SECOND * 5 && uptime >= last_delay {
                    (began, attempts, last_delay) = (now, 0, Duration::ZERO);
                } else {
                    attempts += 1;
                }
                let history = outage.history(now, Some(uptime), None, 0.0);
                prop_assert_eq!((history.attempts, history.last_delay), (attempts, last_delay));
                prop_assert_eq!(history.outage, now - began);
                prop_assert!(attempts > 0 || history.previous.is_none());
                outage.retry(cause(), delay);
                last_delay = delay;
                now += delay;
            }
        }

        #[test]
        fn never_closer_than_the_spacing(gaps in prop::collection::vec(0u64..5_000, 1..100)) {
            let mut now = Instant::now();
            let mut outage = outage(now);
            let mut begun: Vec<Instant> = Vec::new();
            for gap in gaps {
                now = outage.earliest().unwrap_or(now).max(now + Duration::from_millis(gap));
                outage.begin(now);
                begun.push(now);
            }
            prop_assert!(begun.windows(2).all(|pair| pair[1] - pair[0] >= SECOND));
            prop_assert!(begun.windows(6).all(|six| six[5] - six[0] >= SECOND * 10));
        }
    }
}
