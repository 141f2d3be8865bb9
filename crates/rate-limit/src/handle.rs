use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tower_ws_core::{Reading, Readings, Shared, Value};

use crate::limiter::{LimitStats, Limiter};

/// Looks into the limits of a [`RateLimitLayer`](crate::RateLimitLayer), from any thread. For
/// dashboards and tests: nothing depends on it. Cheap to clone. It is also in the extensions of
/// each [`Up`](tower_ws_core::Up).
///
/// It is that of the layer, and so of all its sessions together: limits are shared, and a redial
/// fills no burst again.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

/// What the limits of a layer have done, and how they stand: of all its services and connections
/// together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The dials; of all who share the [`Limiter`]. `None` if they are not limited.
    pub dials: Option<LimitStats>,
    /// What goes out, messages and bytes together. `None` if it is not limited.
    pub outbound: Option<LimitStats>,
    /// How often so much came in that this side stopped reading.
    pub floods: u64,
    /// How many connections were ended because that went on.
    pub flooded: u64,
}

impl Handle {
    /// How the limits stand now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let now = self.snapshot();
        for (limit, stats) in [("dials", now.dials), ("messages", now.outbound)] {
            let stats = stats.unwrap_or_default();
            for (name, text, count) in [
                (
                    "rate_limit_waited_total",
                    "dials and messages that had to wait",
                    stats.waited,
                ),
                (
                    "rate_limit_refused_total",
                    "dials and messages for which there was no room",
                    stats.refused,
                ),
                (
                    "rate_limit_pauses_total",
                    "pauses because the server said that it is too much",
                    stats.pauses,
                ),
            ] {
                show(Reading::new(name, text, Value::Counter(count)).label("limit", limit));
            }
        }
        show(Reading::new(
            "rate_limit_floods_total",
            "times that so much came in that this side stopped reading",
            Value::Counter(now.floods),
        ));
        show(Reading::new(
            "rate_limit_flooded_total",
            "connections ended because too much came in for too long",
            Value::Counter(now.flooded),
        ));
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}

/// What a layer and its handles share.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    limits: Mutex<Limits>,
    floods: AtomicU64,
    flooded: AtomicU64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) dials: Option<Limiter>,
    pub(crate) outbound: Option<Limiter>,
}

impl Hub {
    fn snapshot(&self) -> Snapshot {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot {
            dials: limits.dials.as_ref().map(Limiter::stats),
            outbound: limits.outbound.as_ref().map(Limiter::stats),
            floods: self.floods.load(Relaxed),
            flooded: self.flooded.load(Relaxed),
        }
    }

    /// The layer has these limits now.
    pub(crate) fn show(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn flood_begins(&self) {
        self.floods.fetch_add(1, Relaxed);
    }

    pub(crate) fn flood_ends_connection(&self) {
        self.flooded.fetch_add(1, Relaxed);
    }
}
