use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::limiter::{LimitStats, Limiter};

/// Looks into the limits of a [`RateLimitLayer`](crate::RateLimitLayer), from any thread. For dashboards and tests: nothing
/// depends on it. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Hub>);

/// What the limits of a layer have done, and how they stand: of all its services and connections together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
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
    pub fn stats(&self) -> Stats {
        let limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Stats {
            dials: limits.dials.as_ref().map(Limiter::stats),
            outbound: limits.outbound.as_ref().map(Limiter::stats),
            floods: self.0.floods.load(Relaxed),
            flooded: self.0.flooded.load(Relaxed),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.stats()).finish()
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
