use std::{
    fmt, iter,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;
use tower_ws_core::Failure;

use super::attempt::{CoolDowns, SharedCoolDowns, lock};

/// The endpoints of a service, the preferred ones first, and how each fared. See
/// [`FailoverLayer`](super::FailoverLayer).
///
/// Cheap to clone; clones share what is known of the endpoints.
pub struct Targets<T> {
    endpoints: Arc<[T]>,
    cool_downs: Arc<SharedCoolDowns>,
}

impl<T> Targets<T> {
    /// The endpoint that is preferred, and the others in the order of preference.
    pub fn new(first: T, others: impl IntoIterator<Item = T>) -> Self {
        let endpoints: Arc<[T]> = iter::once(first).chain(others).collect();
        let cool_downs = Arc::new(Mutex::new(CoolDowns::new(endpoints.len())));
        Self { endpoints, cool_downs }
    }

    pub(super) fn shared(&self) -> &Arc<SharedCoolDowns> {
        &self.cool_downs
    }
}

impl<T: Clone> Targets<T> {
    /// How the endpoints stand now, in the order of preference.
    pub fn endpoints(&self) -> Vec<Endpoint<T>> {
        let now = Instant::now();
        let cool_downs = lock(&self.cool_downs);
        let endpoint = |(index, target): (usize, &T)| Endpoint {
            index,
            target: target.clone(),
            state: match cool_downs.cooling(index, now) {
                Some(until) => EndpointState::CoolingDown { until },
                None => EndpointState::Ready,
            },
            last_failure: cool_downs.last_failure(index).cloned(),
        };
        self.endpoints.iter().enumerate().map(endpoint).collect()
    }

    pub(super) fn get(&self, index: usize) -> T {
        self.endpoints[index].clone()
    }
}

impl<T> Clone for Targets<T> {
    fn clone(&self) -> Self {
        Self {
            endpoints: self.endpoints.clone(),
            cool_downs: self.cool_downs.clone(),
        }
    }
}

/// Without the targets themselves: they may hold secrets.
impl<T> fmt::Debug for Targets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets")
            .field("endpoints", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}

/// How an endpoint stands, in a snapshot by [`Targets::endpoints`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoint<T> {
    /// Its place in the order of preference, from 0.
    pub index: usize,
    /// What is dialled.
    pub target: T,
    /// Whether it would be dialled now.
    pub state: EndpointState,
    /// Why it last cooled down. Kept when it is well again.
    pub last_failure: Option<Failure>,
}

/// Whether an endpoint would be dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndpointState {
    /// It has not failed, or its time is over.
    Ready,
    /// It failed, and is passed over while there is another.
    CoolingDown {
        /// When it is ready again, unless a connection comes up before.
        until: Instant,
    },
}

/// Which endpoint a connection is to: its place in the order of preference, from 0. In the
/// extensions of each [`Up`](tower_ws_core::Up).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EndpointIndex(pub usize);
