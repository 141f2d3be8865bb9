//! Governor's algorithm, with the time passed in.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use tokio::time::Instant;

/// A rate with a burst.
///
/// Governor asks a clock and keeps its state in a store. Both are a [`Cell`] here: it says the time
/// that we give it, also one that is yet to come (so that a place ahead can be booked), and it can
/// be told to forget (so that we can ask first).
pub(crate) struct Gcra {
    limiter: RateLimiter<NotKeyed, Cell, Cell, NoOpMiddleware<Nanos>>,
    cell: Cell,
    every: u64,
    burst: NonZeroU32,
    origin: Instant,
}

/// Debts end here: what lies further ahead (146 years) is not counted. It keeps governor's sums
/// from overflowing.
const FAR: u64 = 1 << 62;

impl Gcra {
    pub(crate) fn new(every: Duration, burst: NonZeroU32, now: Instant) -> Self {
        let cell = Cell::default();
        // `every` is at most a day, and not zero: it comes from a `Quota`.
        let quota = governor::Quota::with_period(every)
            .unwrap_or(governor::Quota::per_second(burst))
            .allow_burst(burst);
        Self {
            limiter: RateLimiter::new(quota, cell.clone(), cell.clone()),
            cell,
            every: every.as_nanos() as u64,
            burst,
            origin: now,
        }
    }

    /// The first moment from `now` on at which this much may pass. What is larger than the burst
    /// may pass with a full one.
    pub(crate) fn earliest(&self, now: Instant, cost: u64) -> Instant {
        self.cell.0.now.store(self.nanos(now), Relaxed);
        self.cell.0.only_asks.store(true, Relaxed);
        match self.limiter.check_n(self.within_burst(cost)) {
            Ok(Err(not_until)) => self.instant(not_until.earliest_possible()).max(now),
            // It is not more than the burst, so that it may pass some time.
            Ok(Ok(())) | Err(_) => now,
        }
    }

    /// This much passes at this moment, which [`earliest`](Self::earliest) has allowed. What is
    /// more than the burst is owed.
    pub(crate) fn take(&self, at: Instant, cost: u64) {
        self.cell.0.now.store(self.nanos(at), Relaxed);
        self.cell.0.only_asks.store(false, Relaxed);
        let paid = self.within_burst(cost);
        // Whether there is enough, the caller has asked.
        let _ = self.limiter.check_n(paid);
        let owed = cost.saturating_sub(u64::from(paid.get()));
        let busy = self.cell.0.busy.load(Relaxed);
        let busy = busy.saturating_add(owed.saturating_mul(self.every));
        self.cell.0.busy.store(busy.min(FAR), Relaxed);
    }

    /// Nothing is used up: no different from a new one.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.cell.0.busy.load(Relaxed) <= self.nanos(now)
    }

    fn within_burst(&self, cost: u64) -> NonZeroU32 {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX).min(self.burst.get());
        NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN)
    }

    fn nanos(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(FAR).min(FAR)
    }

    fn instant(&self, nanos: Nanos) -> Instant {
        let since = Duration::from(nanos);
        self.origin.checked_add(since).unwrap_or(self.origin)
    }
}

impl fmt::Debug for Gcra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gcra")
            .field("every", &self.every)
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

/// Governor's clock and its store.
#[derive(Clone, Debug, Default)]
struct Cell(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    /// The time, as far as governor knows. Nanoseconds from the origin, as all times.
    now: AtomicU64,
    /// Governor's theoretical arrival time: until then the rate is used up.
    busy: AtomicU64,
    only_asks: AtomicBool,
}

impl Clock for Cell {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.now.load(Relaxed))
    }
}

impl StateStore for Cell {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let busy = Nanos::new(self.0.busy.load(Relaxed));
        let (outcome, busy) = decide(Some(busy))?;
        if !self.0.only_asks.load(Relaxed) {
            self.0.busy.store(busy.as_u64(), Relaxed);
        }
        Ok(outcome)
    }
}
