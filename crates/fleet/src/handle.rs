use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tower_ws_core::{Causes, Reading, Readings, Shared, Value};

use crate::error::FleetError;

/// Looks into a fleet as this process sees it, from any thread. Cheap to clone. It keeps nothing
/// open.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

/// A fleet at one moment, as this process sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Why the last statement failed, if it did. `None` before the first one.
    pub failure: Option<String>,
    /// How many statements have failed.
    pub failures: u64,
    /// How many lanes this process owns.
    pub lanes: u64,
    /// How many lanes it waits for.
    pub standing_by: u64,
    /// How many lanes it has lost: another process has taken them, or the database was away for too
    /// long.
    pub lost: u64,
    /// How many turns of limits wait for a database that is away.
    pub waiting: u64,
}

/// What a fleet and its handles share.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    failure: Mutex<Option<String>>,
    failures: AtomicU64,
    pub(crate) lanes: Count,
    pub(crate) standing_by: Count,
    pub(crate) lost: AtomicU64,
    pub(crate) waiting: Count,
}

/// How many there are now.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// One of them, until it is dropped.
pub(crate) struct Counted(Shared<Hub>, fn(&Hub) -> &Count);

impl Counted {
    pub(crate) fn new(hub: &Shared<Hub>, which: fn(&Hub) -> &Count) -> Self {
        which(hub).0.fetch_add(1, Relaxed);
        Self(hub.clone(), which)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).0.fetch_sub(1, Relaxed);
    }
}

impl Hub {
    pub(crate) fn answered(&self) {
        if self.failure().take().is_some() {
            tracing::info!("the fleet's database answers again");
        }
    }

    /// Logged when it begins to fail, or fails otherwise than before.
    pub(crate) fn failed(&self, error: &FleetError) {
        self.failures.fetch_add(1, Relaxed);
        let text = Causes(error).to_string();
        let begins = {
            let mut failure = self.failure();
            let begins = failure.is_none();
            *failure = Some(text.clone());
            begins
        };
        match begins {
            true => tracing::error!(error = %text, "the fleet's database fails"),
            false => tracing::debug!(error = %text, "the fleet's database still fails"),
        }
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Snapshot {
        let count = |count: &Count| count.0.load(Relaxed);
        Snapshot {
            failure: self.failure().clone(),
            failures: self.failures.load(Relaxed),
            lanes: count(&self.lanes),
            standing_by: count(&self.standing_by),
            lost: self.lost.load(Relaxed),
            waiting: count(&self.waiting),
        }
    }
}

impl Handle {
    /// The fleet now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let now = self.snapshot();
        let failing = f64::from(u8::from(now.failure.is_some()));
        for (name, text, value) in [
            (
                "fleet_failing",
                "fleets whose database failed last",
                Value::Gauge(failing),
            ),
            (
                "fleet_failures_total",
                "statements that failed",
                Value::Counter(now.failures),
            ),
            ("fleet_lanes", "lanes that are owned", Value::Gauge(now.lanes as f64)),
            (
                "fleet_standing_by",
                "lanes that are waited for",
                Value::Gauge(now.standing_by as f64),
            ),
            ("fleet_lost_total", "lanes that were lost", Value::Counter(now.lost)),
            (
                "fleet_waiting",
                "turns that wait for a database that is away",
                Value::Gauge(now.waiting as f64),
            ),
        ] {
            show(Reading::new(name, text, value));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}
