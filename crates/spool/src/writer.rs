//! The thread that writes, and what it shares with the session: one short lock, never held while
//! the disk works.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower_ws_core::Causes;

use crate::{
    journal::{Batch, Journal, JournalError},
    ledger::Ledger,
};

/// How long to leave a disk alone after it failed: long enough not to fill the log, short enough
/// not to be noticed when there is room again.
const PAUSE: Duration = Duration::from_secs(1);

/// The ledger, and who waits for it.
///
/// While the disk works, changes gather; the next commit takes all of them.
pub(crate) struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    ledger: Ledger,
    /// The writer waits for work.
    idle: bool,
    waker: Option<Waker>,
    closers: Vec<Waker>,
}

impl Shared {
    pub(crate) fn new(ledger: Ledger) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                ledger,
                idle: false,
                waker: None,
                closers: Vec::new(),
            }),
            work: Condvar::new(),
        })
    }

    /// Asks or tells the ledger, and lets the writer know if there is something to write.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Ledger) -> R) -> R {
        self.ask(|state| f(&mut state.ledger))
    }

    /// The same for what may have to wait for the writer.
    pub(crate) fn poll<R>(&self, cx: &Context<'_>, f: impl FnOnce(&mut Ledger) -> Poll<R>) -> Poll<R> {
        self.ask(|state| {
            let answer = f(&mut state.ledger);
            if answer.is_pending() {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
            }
            answer
        })
    }

    /// Takes nothing new. What is pending is still written, then the file is closed.
    pub(crate) fn stop(&self) {
        self.with(Ledger::stop);
        self.work.notify_all();
    }

    /// What is recorded is another's by now: nothing leaves, and nothing is to be written any more.
    pub(crate) fn lose(&self) {
        self.tell(Ledger::ended);
        self.work.notify_all();
    }

    /// Ready once nothing will be written any more, and the file is closed.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.ask(|state| {
            if state.ledger.is_ended() {
                return Poll::Ready(());
            }
            if !state.closers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.closers.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    fn ask<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let answer = f(&mut state);
        let wake = state.idle && state.ledger.has_work();
        state.idle &= !wake;
        drop(state);
        if wake {
            self.work.notify_all();
        }
        answer
    }

    // --- the writer's side

    /// Waits for something to write. `None`: there will be nothing any more.
    fn batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.ledger.has_work() {
                return Some(state.ledger.batch());
            }
            if state.ledger.is_shut() {
                return None;
            }
            state.idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells the ledger of an outcome: whoever waits for it may go on.
    fn tell<R>(&self, f: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut state = self.lock();
        let answer = f(&mut state.ledger);
        let waker = state.waker.take();
        let closers = match state.ledger.is_ended() {
            true => std::mem::take(&mut state.closers),
            false => Vec::new(),
        };
        drop(state);
        waker.into_iter().chain(closers).for_each(Waker::wake);
        answer
    }

    fn tell_failed(&self, batch: Batch, error: &JournalError) {
        let messages = batch.changes.puts();
        if self.tell(|ledger| ledger.failed(batch, error)) {
            tracing::error!(error = %Causes(error), messages, "the spool cannot be written; new messages come back");
        }
    }

    /// Leaves the disk alone for a while, unless it is the end.
    fn pause(&self) {
        let state = self.lock();
        let open = |state: &mut State| !state.ledger.is_shut();
        drop(self.work.wait_timeout_while(state, PAUSE, open));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's thread. It ends when the ledger is shut, and everything has been written.
pub(crate) fn run(mut journal: impl Journal, shared: Arc<Shared>) {
    // However it ends, nobody waits for it in vain.
    let guard = Ended(shared.clone());
    while let Some(batch) = shared.batch() {
        if write(&mut journal, &shared, batch).is_break() {
            break;
        }
    }
    // Closed before anybody is told.
    drop(journal);
    drop(guard);
}

fn write(journal: &mut impl Journal, shared: &Shared, batch: Batch) -> ControlFlow<()> {
    tracing::trace!(batch = batch.number, "commits");
    let outcome = journal.commit(&batch);
    // A process that is killed here has written what nobody knows of.
    tracing::trace!(batch = batch.number, "the commit is over");
    let Err(error) = outcome else {
        if shared.tell(|ledger| ledger.committed(&batch)) {
            tracing::info!("the spool can be written again");
        }
        return ControlFlow::Continue(());
    };
    shared.tell_failed(batch, &error);
    if let JournalError::Lost(_) = error {
        return ControlFlow::Break(());
    }
    shared.pause();
    let relief = shared.with(Ledger::relief);
    if !relief.changes.is_empty()
        && let Err(error) = journal.commit(&relief)
    {
        shared.tell_failed(relief, &error);
        if shared.with(|ledger| ledger.is_shut()) {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.tell(Ledger::ended);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared")
            .field(&self.with(|ledger| ledger.health()))
            .finish()
    }
}

#[cfg(test)]
mod tests;
