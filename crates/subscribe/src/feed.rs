//! What one subscription hears, for one who reads: a bounded queue between the layer and a stream.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

pub use tower_ws_core::drive::Lag;

use crate::update::{Ended, Update};

/// One thing that a subscription hears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Heard<T> {
    /// What it is for.
    Item(T),
    /// What becomes of the subscription itself, in order with the items. The last is
    /// [`Ended`](Update::Ended).
    Update(Update),
    /// Here so many items are missing: they came in faster than they were read.
    Skipped(u64),
    /// An item that is not of the type asked for. What is wrong, never what it says.
    Malformed(Arc<tower_ws_core::jsonrpc::Malformed>),
}

/// Both ends of a queue. Clones share it.
pub(crate) struct Feed<M> {
    state: Arc<Mutex<State<M>>>,
    pub(crate) id: u64,
    pub(crate) lag: Lag,
    room: usize,
}

struct State<M> {
    queue: VecDeque<(Heard<M>, usize)>,
    /// Without what is skipped.
    items: usize,
    bytes: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    ended: bool,
}

/// How many bytes of messages may wait, beside the bound by number: 16 MiB, the largest message
/// that the transport takes.
const BYTES: usize = 16 * 1024 * 1024;

impl<M> Feed<M> {
    pub(crate) fn new(id: u64, room: usize, lag: Lag) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                queue: VecDeque::new(),
                items: 0,
                bytes: 0,
                reader: None,
                writer: None,
                ended: false,
            })),
            id,
            lag,
            room: room.max(1),
        }
    }

    /// False if the subscription is to end for it.
    pub(crate) fn put(&self, message: M, bytes: usize) -> bool {
        let mut state = self.lock();
        if state.is_full(self.room) && !state.ended {
            match self.lag {
                Lag::Close => return false,
                Lag::DropOldest => state.make_room(self.room),
                // Whoever puts waits for room first.
                _ => {}
            }
        }
        let reader = state.push(Heard::Item(message), bytes);
        drop(state);
        wake(reader);
        true
    }

    pub(crate) fn tell(&self, update: Update) {
        let mut state = self.lock();
        let ends = matches!(update, Update::Ended(_));
        // Of one that is not read at all, the number of outages is no bound.
        if state.is_full(self.room) && self.lag != Lag::Wait {
            state.make_room(self.room);
        }
        let reader = state.push(Heard::Update(update), 0);
        state.ended |= ends;
        drop(state);
        wake(reader);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full(self.room)
    }

    /// For the layer: ready once there is room.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.ended || !state.is_full(self.room) {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Heard<M>>> {
        let mut state = self.lock();
        let Some((item, bytes)) = state.queue.pop_front() else {
            if state.ended {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.bytes -= bytes;
        state.items -= usize::from(!matches!(item, Heard::Skipped(_)));
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Some(item))
    }

    /// Nobody reads any more. True if the subscription was not over.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.lock();
        let was_open = !std::mem::replace(&mut state.ended, true);
        let left = std::mem::take(&mut state.queue);
        (state.items, state.bytes) = (0, 0);
        let writer = state.writer.take();
        drop(state);
        drop(left);
        wake(writer);
        was_open
    }

    /// Ends it, unless it has ended.
    pub(crate) fn end(&self, why: Ended) {
        if !self.lock().ended {
            self.tell(Update::Ended(why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> State<M> {
    fn is_full(&self, room: usize) -> bool {
        self.items >= room || self.bytes >= BYTES
    }

    /// Gives the reader, who is to be woken.
    fn push(&mut self, item: Heard<M>, bytes: usize) -> Option<Waker> {
        if self.ended {
            return None;
        }
        self.queue.push_back((item, bytes));
        self.items += 1;
        self.bytes += bytes;
        self.reader.take()
    }

    /// Takes out the oldest messages, or else the oldest of all, and says how many are missing
    /// where they stood.
    fn make_room(&mut self, room: usize) {
        while self.is_full(room) {
            let is_item = |(item, _): &(Heard<M>, usize)| matches!(item, Heard::Item(_));
            let at = self.queue.iter().position(is_item);
            let is_counted = |(item, _): &(Heard<M>, usize)| !matches!(item, Heard::Skipped(_));
            let Some(at) = at.or_else(|| self.queue.iter().position(is_counted)) else {
                return;
            };
            self.items -= 1;
            self.bytes -= self.queue[at].1;
            self.queue[at] = (Heard::Skipped(1), 0);
            self.merge(at);
            if let Some(before) = at.checked_sub(1) {
                self.merge(before);
            }
        }
    }

    /// One gap where there are two side by side.
    fn merge(&mut self, at: usize) {
        if let (Some((Heard::Skipped(first), _)), Some((Heard::Skipped(second), _))) =
            (self.queue.get(at), self.queue.get(at + 1))
        {
            let missed = first + second;
            self.queue.remove(at + 1);
            self.queue[at] = (Heard::Skipped(missed), 0);
        }
    }
}

/// Not under the lock: a waker is somebody else's code.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<M> Clone for Feed<M> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            ..*self
        }
    }
}

impl<M> fmt::Debug for Feed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn read(feed: &Feed<u32>) -> Vec<String> {
        let cx = Context::from_waker(Waker::noop());
        let next = || match feed.poll_next(&cx) {
            Poll::Ready(Some(item)) => Some(format!("{item:?}")),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn the_oldest_goes_and_its_place_says_so() {
        let feed = Feed::new(1, 3, Lag::DropOldest);
        for n in 0..5 {
            assert!(feed.put(n, 1));
        }
        assert_eq!(read(&feed), ["Skipped(2)", "Item(2)", "Item(3)", "Item(4)"]);
        feed.put(5, 1);
        feed.tell(Update::Active);
        for n in 6..9 {
            feed.put(n, 1);
        }
        assert_eq!(
            read(&feed),
            ["Skipped(1)", "Update(Active)", "Skipped(1)", "Item(7)", "Item(8)"]
        );
    }

    #[test]
    fn an_outage_after_the_other_fills_no_memory() {
        let feed = Feed::<u32>::new(1, 2, Lag::DropOldest);
        for _ in 0..1000 {
            feed.tell(Update::Active);
        }
        assert_eq!(read(&feed), ["Skipped(998)", "Update(Active)", "Update(Active)"]);
    }

    #[test]
    fn gaps_side_by_side_are_one() {
        let feed = Feed::<u32>::new(1, 2, Lag::DropOldest);
        for n in 0..100 {
            feed.put(n, 1);
            feed.tell(Update::Active);
        }
        assert!(read(&feed).len() <= 5);
    }

    #[test]
    fn bytes_are_a_bound_too() {
        let feed = Feed::new(1, 100, Lag::DropOldest);
        for n in 0..3 {
            feed.put(n, BYTES / 2);
        }
        assert_eq!(read(&feed), ["Skipped(1)", "Item(1)", "Item(2)"]);
    }

    #[test]
    fn who_is_too_slow_may_end_it_or_wait() {
        let cx = Context::from_waker(Waker::noop());
        let feed = Feed::new(1, 1, Lag::Close);
        assert!(feed.put(1, 1));
        assert!(!feed.put(2, 1));
        let feed = Feed::new(1, 1, Lag::Wait);
        assert!(feed.put(1, 1));
        assert!(feed.poll_room(&cx).is_pending());
        read(&feed);
        assert!(feed.poll_room(&cx).is_ready());
    }

    #[test]
    fn the_end_is_the_last_and_nothing_follows() {
        let feed = Feed::new(1, 8, Lag::DropOldest);
        feed.put(1, 1);
        feed.end(Ended::TakenBack);
        feed.end(Ended::Lagged);
        feed.put(2, 1);
        assert_eq!(read(&feed), ["Item(1)", "Update(Ended(TakenBack))"]);
        assert!(matches!(
            feed.poll_next(&Context::from_waker(Waker::noop())),
            Poll::Ready(None)
        ));
        assert!(!feed.close());
    }
}
