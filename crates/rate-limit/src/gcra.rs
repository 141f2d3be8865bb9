//! A rate with a burst, as one number: the moment until which it is used up (the "theoretical
//! arrival time" of the generic cell rate algorithm, ITU-T I.371, annex A). No I/O: time is passed
//! in.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Gcra {
    /// What one costs, in nanoseconds.
    every: u64,
    burst: u64,
    origin: Instant,
    /// Until then it is used up, in nanoseconds since the origin.
    busy: u64,
}

/// Debts end here: what lies further ahead (146 years) is not counted.
const FAR: u64 = 1 << 62;

impl Gcra {
    pub(crate) fn new(every: Duration, burst: NonZeroU32, now: Instant) -> Self {
        Self {
            // At most a day: it comes from a `Quota`.
            every: every.as_nanos() as u64,
            burst: burst.get().into(),
            origin: now,
            busy: 0,
        }
    }

    /// The first moment from `now` on at which this much may pass. What is larger than the burst
    /// may pass with a full one.
    pub(crate) fn earliest(&self, now: Instant, cost: u64) -> Instant {
        let saved = self.every * (self.burst - cost.clamp(1, self.burst));
        let at = Duration::from_nanos(self.busy.saturating_sub(saved));
        self.origin.checked_add(at).unwrap_or(now).max(now)
    }

    /// This much passes at this moment, which [`earliest`](Self::earliest) has allowed. What is
    /// more than the burst is owed.
    pub(crate) fn take(&mut self, at: Instant, cost: u64) {
        let paid = self.every.saturating_mul(cost.max(1));
        self.busy = self.busy.max(self.nanos(at)).saturating_add(paid).min(FAR);
    }

    /// Nothing is used up: no different from a new one.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.busy <= self.nanos(now)
    }

    fn nanos(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(FAR).min(FAR)
    }
}

#[cfg(test)]
mod tests {
    use governor::{RateLimiter, clock::FakeRelativeClock};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Asked as governor is (may this much pass now?), it says what governor says.
        #[test]
        fn it_agrees_with_governor(
            every in 1u64..2_000_000, burst in 1u32..50,
            steps in prop::collection::vec((0u64..5_000_000, 1u32..50), 1..200),
        ) {
            let (every, burst) = (Duration::from_nanos(every), NonZeroU32::new(burst).unwrap());
            let clock = FakeRelativeClock::default();
            let quota = governor::Quota::with_period(every).unwrap().allow_burst(burst);
            let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
            let mut now = Instant::now();
            let mut gcra = Gcra::new(every, burst, now);
            for (gap, cost) in steps {
                let gap = Duration::from_nanos(gap);
                clock.advance(gap);
                now += gap;
                let cost = NonZeroU32::new(cost).unwrap().min(burst);
                let passes = gcra.earliest(now, cost.get().into()) == now;
                prop_assert_eq!(passes, oracle.check_n(cost).unwrap().is_ok());
                if passes {
                    gcra.take(now, cost.get().into());
                }
            }
        }
    }
}
