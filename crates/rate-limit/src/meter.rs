//! One quota, and how much of it is used. No I/O: time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    gcra::Gcra,
    quota::{Kind, Quota},
    window::Window,
};

#[derive(Debug)]
pub(crate) struct Meter {
    counts: Counts,
    grace: Duration,
}

#[derive(Debug)]
enum Counts {
    Rate(Gcra),
    Strict(Window),
}

/// How late a task may be for its turn: more than a busy runtime is late as a rule.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

impl Meter {
    pub(crate) fn new(quota: Quota, now: Instant) -> Self {
        match quota.kind() {
            Kind::Rate { every, burst } => Self {
                counts: Counts::Rate(Gcra::new(every, burst, now)),
                // One that comes later than that takes no more than the place of one on top.
                grace: GRACE.max(every),
            },
            Kind::Strict { most, window } => {
                let grace = Quota::grace(window);
                Self {
                    // Whoever is late by the grace, and whoever comes after that one in time, are a
                    // window apart.
                    counts: Counts::Strict(Window::new(most, window + grace)),
                    grace,
                }
            }
        }
    }

    /// What can never pass, however long it waits: more than this at once.
    pub(crate) fn limit(&self) -> u64 {
        match &self.counts {
            Counts::Rate(_) => u64::MAX,
            Counts::Strict(window) => window.most(),
        }
    }

    /// How late it may be used after the moment that was booked.
    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    /// The first moment from `now` on at which this much may pass, behind all that is booked.
    pub(crate) fn earliest(&self, now: Instant, cost: u64) -> Instant {
        match &self.counts {
            Counts::Rate(gcra) => gcra.earliest(now, cost),
            Counts::Strict(window) => window.earliest(now, cost),
        }
    }

    /// Books that moment, or one after it.
    pub(crate) fn take(&mut self, now: Instant, at: Instant, cost: u64) {
        match &mut self.counts {
            Counts::Rate(gcra) => gcra.take(at, cost),
            Counts::Strict(window) => window.take(now, at, cost),
        }
    }

    /// The moment that was booked has been missed: it is not used. A rate goes on from what was
    /// booked after it.
    pub(crate) fn untake(&mut self, at: Instant, cost: u64) {
        if let Counts::Strict(window) = &mut self.counts {
            window.untake(at, cost);
        }
    }

    /// Nothing of the quota is used: no different from a new one.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        match &self.counts {
            Counts::Rate(gcra) => gcra.is_idle(now),
            Counts::Strict(window) => window.is_idle(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    /// Books as soon as it can, and says when.
    fn book(meter: &mut Meter, now: Instant, cost: u64) -> Instant {
        let at = meter.earliest(now, cost);
        assert_eq!(meter.earliest(at, cost), at, "what is booked may pass");
        meter.take(now, at, cost);
        at
    }

    #[test]
    fn a_burst_then_the_rate() {
        let now = Instant::now();
        let mut meter = Meter::new(Quota::per_second(n(10)).burst(n(3)), now);
        let waits: Vec<_> = (0..6).map(|_| (book(&mut meter, now, 1) - now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        assert!(!meter.is_idle(now + SECOND / 2));
        assert!(meter.is_idle(now + SECOND));
    }

    #[test]
    fn what_is_larger_than_the_burst_goes_with_a_full_one_and_is_paid_for_after() {
        let now = Instant::now();
        let mut meter = Meter::new(Quota::per_second(n(100)), now);
        assert_eq!(book(&mut meter, now, 1_000), now);
        assert_eq!(book(&mut meter, now, 100), now + SECOND * 10);
        assert_eq!(book(&mut meter, now, u64::MAX), now + SECOND * 11);
        // For ever, as far as anybody will see, and nothing overflows.
        assert!(book(&mut meter, now, u64::MAX) > now + SECOND * 3600 * 24 * 365 * 100);
        book(&mut meter, now, u64::MAX);
    }

    #[test]
    fn the_burst_of_a_rate_breaks_a_window_and_a_strict_quota_does_not() {
        let start = Instant::now();
        let most_in_a_second = |quota| {
            let mut meter = Meter::new(quota, start);
            let times: Vec<_> = (0..100).map(|_| book(&mut meter, start, 1)).collect();
            densest(&times.iter().map(|at| (*at, 1)).collect::<Vec<_>>(), SECOND)
        };
        assert_eq!(most_in_a_second(Quota::per_second(n(5))), 9);
        assert_eq!(most_in_a_second(Quota::strict(n(5), SECOND).unwrap()), 5);
    }

    #[test]
    fn a_window_of_many_is_counted_in_little_memory() {
        let start = Instant::now();
        let mut meter = Meter::new(Quota::strict(n(1_000_000), SECOND).unwrap(), start);
        let mut taken = Vec::new();
        for step in 0..200_000_u32 {
            let now = start + Duration::from_micros(10) * step;
            taken.push((book(&mut meter, now, 7), 7));
        }
        let Counts::Strict(window) = &meter.counts else {
            panic!("a window")
        };
        assert!(format!("{window:?}").matches("Entry").count() <= 2_100);
        assert!(densest(&taken, SECOND) <= 1_000_000);
        // Nor does it cost much of the quota: 200,000 x 7 in 2 s is below it, but for the grace.
        let last = taken.last().unwrap().0 - start;
        assert!(last <= SECOND * 2 + SECOND / 5, "{last:?}");
    }

    /// The most within any window of this length. What was taken is in order, but for the grace.
    fn densest(taken: &[(Instant, u64)], window: Duration) -> u64 {
        let mut taken = taken.to_vec();
        taken.sort();
        let (mut first, mut within, mut most) = (0, 0, 0);
        for (at, cost) in &taken {
            within += cost;
            while taken[first].0 + window <= *at {
                within -= taken[first].1;
                first += 1;
            }
            most = most.max(within);
        }
        most
    }

    proptest! {
        /// Whoever comes when, and however late within the grace: no window has more than it may.
        /// And nobody waits longer than those ahead need.
        #[test]
        fn no_window_has_more_than_it_may(
            most in 1u32..50, window in 1u64..3_000,
            steps in prop::collection::vec((0u64..400, 1u64..60, 0.0..=1.0_f64), 1..200),
        ) {
            let (window, start) = (Duration::from_millis(window), Instant::now());
            let mut meter = Meter::new(Quota::strict(n(most), window).unwrap(), start);
            let (mut now, mut used, mut total) = (start, Vec::new(), 0);
            for (gap, cost, late) in steps {
                now += Duration::from_millis(gap);
                let cost = cost.min(u64::from(most));
                total += cost;
                let at = book(&mut meter, now, cost);
                used.push((at + meter.grace().mul_f64(late), cost));
                // At worst each window is left half empty, since the next did not fit.
                let windows = 2 * total.div_ceil(u64::from(most)) as u32 + 1;
                prop_assert!(at <= now + (window + meter.grace()) * windows);
            }
            prop_assert!(densest(&used, window) <= u64::from(most));
        }

        #[test]
        fn a_rate_passes_the_burst_and_the_rate(
            most in 1u32..50, burst in 1u32..50, per in 1u64..3_000,
            steps in prop::collection::vec((0u64..400, 1u64..100), 1..200),
        ) {
            let (per, start) = (Duration::from_millis(per), Instant::now());
            let mut meter = Meter::new(Quota::try_new(n(most), per).unwrap().burst(n(burst)), start);
            let (mut now, mut used) = (start, Vec::<(Instant, u64)>::new());
            for (gap, cost) in steps {
                now += Duration::from_millis(gap);
                let at = book(&mut meter, now, cost);
                prop_assert!(used.last().is_none_or(|(last, _)| *last <= at), "somebody has overtaken");
                used.push((at, cost));
            }
            for (first, (from, _)) in used.iter().enumerate() {
                let mut passed = 0;
                for (at, cost) in &used[first..] {
                    // What is larger than the burst goes with a full one; the rest is owed.
                    let ahead = passed + (*cost).min(u64::from(burst));
                    let earned = (*at - *from).as_secs_f64() / per.as_secs_f64() * f64::from(most);
                    prop_assert!(ahead as f64 <= f64::from(burst) + earned + 0.001);
                    passed += cost;
                }
            }
        }
    }
}
