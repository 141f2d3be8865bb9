use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Reading, Readings,
    source::{Export, Exported, Source},
};

/// What one session at a time writes into, and any number of handles read.
///
/// `pair()` of a layer hands out the layer and a handle before there is a session. The first
/// session takes the state that the two share ([`Lease::of`]); when it ends, the next may. A
/// session that begins while another has it gets a state of its own, which its own handle in
/// [`Up`](crate::Up) shows. So a handle never mixes the numbers of two sessions that live at the
/// same time, and counters only rise, from one session to the next.
///
/// Clones share the state. A clone never keeps a session alive.
///
/// ```
/// use tower_ws_core::{Lease, Shared};
///
/// let pair = Some(Shared::new("the pair's"));
/// let first = Lease::of(pair.as_ref(), || "its own");
/// let second = Lease::of(pair.as_ref(), || "its own");
/// assert_eq!((*first, *second), ("the pair's", "its own"));
/// drop(first);
/// assert_eq!(*Lease::of(pair.as_ref(), || "its own"), "the pair's");
/// ```
pub struct Shared<T>(Arc<Slot<T>>);

struct Slot<T> {
    state: T,
    taken: AtomicBool,
    exported: Exported,
}

impl<T> Shared<T> {
    /// A state that no session has taken.
    pub fn new(state: T) -> Self {
        Self(Arc::new(Slot {
            state,
            taken: AtomicBool::new(false),
            exported: Exported::default(),
        }))
    }
}

impl<T: Readings + 'static> Shared<T> {
    /// The state as an exporter sees it.
    pub fn source(&self) -> Source {
        Source::new(self.0.clone())
    }
}

impl<T: Readings> Readings for Slot<T> {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        self.state.read(show);
    }
}

impl<T: Readings> Export for Slot<T> {
    fn exported(&self) -> &Exported {
        &self.exported
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.state
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.0.state).finish()
    }
}

/// A session's right to write into a [`Shared`] state. Dropping it leaves the state to the next
/// session.
pub struct Lease<T>(Shared<T>);

impl<T> Lease<T> {
    /// The state of a `pair` for a session that begins; one of its own if there is no pair, or if
    /// another session has its state.
    pub fn of(pair: Option<&Shared<T>>, own: impl FnOnce() -> T) -> Self {
        match pair {
            Some(pair) if !pair.0.taken.swap(true, Ordering::AcqRel) => Self(pair.clone()),
            _ => Self(Shared::new(own())),
        }
    }

    /// The state, for a handle.
    pub fn shared(&self) -> Shared<T> {
        self.0.clone()
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.0.0.taken.store(false, Ordering::Release);
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&**self).finish()
    }
}
