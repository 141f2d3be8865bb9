use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How whoever waits for a peer's answers says that none come, to a layer below that can ask the
/// peer, and leave it.
///
/// A peer may talk and be deaf: a front that speaks for an application which has died, a server
/// stuck between reading and answering. Bytes that come in say nothing of that; calls that ran to
/// their limits do. The layer that judges leaves a clone in [`Up`](crate::Up)'s extensions. Clones
/// are one, and it is about one connection.
#[derive(Clone, Debug, Default)]
pub struct Suspicion(Arc<Raised>);

#[derive(Debug, Default)]
struct Raised {
    unanswered_since: Mutex<Option<Instant>>,
    /// When the peer last told how far it has come with something that it was asked.
    progress: Mutex<Option<Instant>>,
    judge: AtomicWaker,
}

impl Suspicion {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing has been answered since, though it should have been. The peer is asked; if it
    /// answers, nothing comes of it.
    pub fn raise(&self, unanswered_since: Instant) {
        *self.lock() = Some(unanswered_since);
        self.0.judge.wake();
    }

    /// Something has been answered after all.
    pub fn withdraw(&self) {
        *self.lock() = None;
    }

    /// The peer tells how far it has come with something that it was asked, at this moment: as good
    /// as an answer. For layers that know the word for it in their protocol.
    pub fn progress(&self, at: Instant) {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.withdraw();
    }

    /// When it last told so.
    pub fn last_progress(&self) -> Option<Instant> {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nothing has been answered, while that is held against the peer. Leaves word whom
    /// to wake when it begins to be: one task at a time.
    pub fn look(&self, cx: &Context<'_>) -> Option<Instant> {
        self.0.judge.register(cx.waker());
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing in it is left half done.
        self.0.unanswered_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
