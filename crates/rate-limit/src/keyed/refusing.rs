//! The keys of a layer whose requests never wait: governor's keyed limiter, over a table that can
//! be bounded, with the time of tokio's clock.

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use tokio::time::Instant;

/// Takes one number for each key, where a schedule takes some hundred bytes.
#[derive(Debug)]
pub(super) struct Refusing<K: Clone + Eq + Hash> {
    limiter: RateLimiter<K, Cells<K>, TokioClock, NoOpMiddleware<Duration>>,
    cells: Cells<K>,
    clock: TokioClock,
}

/// Until when each key's quota is used up. Of governor's own tables nobody can ask whether a key is
/// there.
#[derive(Clone, Debug)]
struct Cells<K>(Arc<Mutex<HashMap<K, Nanos>>>);

/// The time since then.
#[derive(Clone, Debug)]
struct TokioClock(Instant);

impl<K: Clone + Eq + Hash> Refusing<K> {
    pub(super) fn new(every: Duration, burst: NonZeroU32) -> Self {
        // `every` is at most a day, and not zero: it comes from a `Quota`.
        let quota = governor::Quota::with_period(every)
            .unwrap_or(governor::Quota::per_second(burst))
            .allow_burst(burst);
        let (cells, clock) = (Cells(Arc::default()), TokioClock(Instant::now()));
        Self {
            limiter: RateLimiter::new(quota, cells.clone(), clock.clone()),
            cells,
            clock,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.limiter.len()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.cells.lock().contains_key(key)
    }

    /// Forgets each key whose quota is whole.
    pub(super) fn forget_idle(&self) {
        self.limiter.retain_recent();
    }

    /// One request passes now.
    ///
    /// # Errors
    ///
    /// How long it would have had to wait.
    pub(super) fn pass(&self, key: &K) -> Result<(), Duration> {
        let passed = self.limiter.check_key(key);
        passed.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

impl<K> Cells<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Nanos>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> StateStore for Cells<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut cells = self.lock();
        let (outcome, busy) = decide(cells.get(key).copied())?;
        match cells.get_mut(key) {
            Some(cell) => *cell = busy,
            None => drop(cells.insert(key.clone(), busy)),
        }
        Ok(outcome)
    }
}

impl<K: Clone + Eq + Hash> ShrinkableKeyedStateStore<K> for Cells<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, busy| *busy > drop_below);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
