//! The thread that writes, and what it shares with the session: one short lock, never held while
//! the disk works.

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    change::{Change, Changes, Row},
    disk::Disk,
};

/// How long to leave a disk alone after it failed: long enough not to fill the log, short enough
/// not to be noticed when there is room again.
const PAUSE: Duration = Duration::from_secs(1);

/// What the session leaves for the writer, and the other way round.
///
/// While the disk works, changes gather; the next commit takes all of them. Each commit has a
/// number, so that everybody knows what to wait for.
pub(crate) struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// The last commit that is over, whether or not it succeeded.
    done: AtomicU64,
}

struct State {
    pending: Changes,
    /// The number of the commit that will take what is pending.
    next: u64,
    /// The last commit that somebody was reported to wait for.
    promised: u64,
    next_seq: u64,
    first_id: u64,
    failed: Failed,
    failure: Option<String>,
    commits: u64,
    waker: Option<Waker>,
    closers: Vec<Waker>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Open,
    /// What is pending is still written.
    Stopping,
    Stopped,
}

/// What could not be written.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    /// Records that are not there.
    pub(crate) puts: Vec<u64>,
    /// Records that are not marked as leaving.
    pub(crate) marks: Vec<u64>,
}

impl Shared {
    pub(crate) fn new(next_seq: u64, first_id: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                pending: Changes::default(),
                next: 1,
                promised: 0,
                next_seq,
                first_id,
                failed: Failed::default(),
                failure: None,
                commits: 0,
                waker: None,
                closers: Vec::new(),
                stage: Stage::Open,
            }),
            work: Condvar::new(),
            done: AtomicU64::new(0),
        })
    }

    // --- the session's side

    /// Leaves a record to be written, under the next number. Returns that, and the commit that will
    /// have it; `None` once nothing is taken any more. `first_id`: the first id that is not used.
    pub(crate) fn put(&self, first_id: u64, row: impl FnOnce(u64) -> Row) -> Option<(u64, u64)> {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return None;
        }
        let seq = state.next_seq;
        state.next_seq += 1;
        state.first_id = state.first_id.max(first_id);
        state.pending.put(row(seq));
        let commit = state.promise();
        drop(state);
        self.work.notify_one();
        Some((seq, commit))
    }

    /// Leaves marks to be written. Returns the commit that will have them.
    pub(crate) fn mark(&self, seqs: impl IntoIterator<Item = u64>, leaving: bool) -> u64 {
        self.change(seqs, |pending, seq| pending.mark(seq, leaving))
    }

    /// Leaves records to be removed.
    pub(crate) fn remove(&self, seqs: impl IntoIterator<Item = u64>) {
        self.change(seqs, Changes::remove);
    }

    fn change(&self, seqs: impl IntoIterator<Item = u64>, change: impl Fn(&mut Changes, u64)) -> u64 {
        let mut state = self.lock();
        seqs.into_iter().for_each(|seq| change(&mut state.pending, seq));
        let commit = state.promise();
        drop(state);
        self.work.notify_one();
        commit
    }

    /// Ready once this commit is over.
    pub(crate) fn poll_done(&self, commit: u64, cx: &Context<'_>) -> Poll<()> {
        if self.is_done(commit) {
            return Poll::Ready(());
        }
        let mut state = self.lock();
        // Looked at again under the lock: it may have ended in between.
        if self.is_done(commit) {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn is_done(&self, commit: u64) -> bool {
        commit <= self.done()
    }

    /// The last commit that is over.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// What could not be written since this was last asked.
    pub(crate) fn take_failed(&self) -> Failed {
        std::mem::take(&mut self.lock().failed)
    }

    pub(crate) fn first_id(&self) -> u64 {
        self.lock().first_id
    }

    /// How many commits succeeded, and why the last one did not.
    pub(crate) fn health(&self) -> (u64, Option<String>) {
        let state = self.lock();
        (state.commits, state.failure.clone())
    }

    // --- the end

    /// Nothing new; what is pending is written, then the file is closed.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        if state.stage == Stage::Open {
            state.stage = Stage::Stopping;
        }
        drop(state);
        self.work.notify_one();
    }

    /// Ready once the file is closed.
    pub(crate) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.stage == Stage::Stopped {
            return Poll::Ready(());
        }
        if !state.closers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.closers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    // --- the writer's side

    /// Waits for something to write. `None`: there will be nothing any more.
    fn next(&self) -> Option<(Changes, u64)> {
        let mut state = self.lock();
        loop {
            if !state.pending.is_empty() {
                state.next += 1;
                return Some((std::mem::take(&mut state.pending), state.first_id));
            }
            if state.promised >= state.next {
                // What was put has been taken back before it was written: there is nothing to wait
                // for.
                state.next += 1;
                self.over(state);
                state = self.lock();
                continue;
            }
            if state.stage != Stage::Open {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What makes room, if there is any.
    fn relief(&self) -> (Changes, u64) {
        let mut state = self.lock();
        (state.pending.take_relief(), state.first_id)
    }

    fn succeeded(&self) {
        let mut state = self.lock();
        state.commits += 1;
        if state.failure.take().is_some() {
            tracing::info!("the spool can be written again");
        }
        self.over(state);
    }

    fn failed(&self, changes: Changes, error: &rusqlite::Error) {
        let mut state = self.lock();
        let (puts, marks) = state.pending.take_back(changes);
        let refused = puts.len();
        state.failed.puts.extend(puts);
        state.failed.marks.extend(marks);
        let text = error.to_string();
        if state.failure.as_ref() != Some(&text) {
            tracing::error!(error = %text, refused, "the spool cannot be written; new messages come back as refused");
            state.failure = Some(text);
        }
        self.over(state);
    }

    /// The commit is over: whoever waits for it may go on.
    fn over(&self, mut state: MutexGuard<'_, State>) {
        self.done.store(state.next - 1, Ordering::Release);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Leaves the disk alone for a while, unless it is the end.
    fn pause(&self) {
        let state = self.lock();
        let open = |state: &mut State| state.stage == Stage::Open;
        drop(self.work.wait_timeout_while(state, PAUSE, open));
    }

    fn is_stopping(&self) -> bool {
        self.lock().stage != Stage::Open
    }

    fn ended(&self) {
        let mut state = self.lock();
        state.stage = Stage::Stopped;
        let left = std::mem::take(&mut state.pending);
        let puts = left.iter().filter(|(_, change)| matches!(change, Change::Put(_)));
        let puts: Vec<_> = puts.map(|(seq, _)| seq).collect();
        state.failed.puts.extend(puts);
        // Nothing is waited for any more.
        state.next = u64::MAX;
        let closers = std::mem::take(&mut state.closers);
        self.over(state);
        closers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn promise(&mut self) -> u64 {
        self.promised = self.next;
        self.next
    }
}

/// The writer's thread. It ends when it is reported to, and everything has been written.
pub(crate) fn run(mut disk: Disk, shared: Arc<Shared>) {
    // However it ends, nobody waits for it in vain.
    let guard = Ended(shared.clone());
    while let Some((changes, first_id)) = shared.next() {
        let Err(error) = disk.commit(&changes, first_id) else {
            shared.succeeded();
            continue;
        };
        shared.failed(changes, &error);
        shared.pause();
        let (relief, first_id) = shared.relief();
        if let Err(error) = disk.commit(&relief, first_id) {
            shared.failed(relief, &error);
            if shared.is_stopping() {
                break;
            }
        }
    }
    // Closed before anybody is reported.
    drop(disk);
    drop(guard);
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (commits, failure) = self.health();
        f.debug_struct("Shared")
            .field("commits", &commits)
            .field("failure", &failure)
            .finish_non_exhaustive()
    }
}
