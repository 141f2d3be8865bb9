use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

/// What happens when an inbox is full.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Lag {
    /// The oldest push is dropped, and a gap says so. A request of the peer's that finds no room is
    /// answered with an error.
    #[default]
    DropOldest,
    /// Nothing more is read from the peer until there is room: backpressure down to its socket.
    /// Replies, pongs and the detection of a dead link wait too. For applications that read all the
    /// time and may lose nothing.
    Wait,
    /// The session ends.
    Close,
}

/// Something that waits in an [`Inbox`].
pub trait InboxItem: Sized {
    /// How large it is, in bytes, beside the room that each takes.
    fn bytes(&self) -> usize;

    /// It may go if there is no room; what is no push (the lifecycle) is the last to.
    fn is_push(&self) -> bool;

    /// Without room it goes back to the peer, which waits for it, rather than push others out.
    /// Default: it does not.
    fn is_request(&self) -> bool {
        false
    }

    /// How many others it stands for, if it is a gap.
    fn missed(&self) -> Option<u64>;

    /// Stands for so many that are missing.
    fn gap(missed: u64) -> Self;
}

/// What comes in for an application that reads it when it likes: bounded in number and bytes, with a
/// gap where something is missing. This is the end that is filled; [`InboxReader`] is the other.
#[derive(Debug)]
pub struct Inbox<T> {
    state: Arc<Mutex<State<T>>>,
    room: usize,
    lag: Lag,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    /// How large the items in the queue are.
    bytes: usize,
    /// How many gaps are in the queue: they take no room.
    gaps: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Nobody reads any more.
    unread: bool,
    /// Nothing comes any more.
    ended: bool,
}

/// What became of an item. This list is complete.
#[derive(Debug)]
pub enum Put<T> {
    /// It waits to be read.
    Kept {
        /// It took the last room.
        last: bool,
    },
    /// Nobody reads.
    Unread(T),
    /// There was no room, so it (or the oldest pushes) had to go.
    Evicted(Vec<T>),
    /// There was no room, and the session is to end ([`Lag::Close`]).
    Overrun,
}

impl<T: InboxItem> Inbox<T> {
    /// How many bytes may wait to be read: 16 MiB, the largest message that the transport takes by
    /// default, beside the bound by number. An item is taken in while there is less, so there may be
    /// one more.
    pub const BYTES: usize = 16 * 1024 * 1024;

    /// An inbox of this many items, at least 1, and its reader.
    pub fn new(room: usize, lag: Lag) -> (Self, InboxReader<T>) {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            gaps: 0,
            reader: None,
            writer: None,
            unread: false,
            ended: false,
        };
        let inbox = Self {
            state: Arc::new(Mutex::new(state)),
            room: room.max(1),
            lag,
        };
        (inbox.clone(), InboxReader { inbox })
    }

    /// Another one with the same bounds, for what comes out of this one. Where this one is to end
    /// the session when it is full, the other is no way around that: it makes this one fill up.
    pub fn like(&self) -> (Self, InboxReader<T>) {
        let lag = match self.lag {
            Lag::DropOldest => Lag::DropOldest,
            Lag::Wait | Lag::Close => Lag::Wait,
        };
        Self::new(self.room, lag)
    }

    /// Is there somebody who reads, and no room until he does?
    pub fn is_full(&self) -> bool {
        let state = self.lock();
        !state.unread && self.lag == Lag::DropOldest && state.is_full(self.room)
    }

    /// Ready when there is room, or when the lag policy makes room.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.lag != Lag::Wait {
            return Poll::Ready(());
        }
        let mut state = self.lock();
        if state.unread || !state.is_full(self.room) {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts an item in, whatever that takes.
    pub fn put(&self, item: T) -> Put<T> {
        let mut state = self.lock();
        if state.unread {
            return Put::Unread(item);
        }
        let mut evicted = Vec::new();
        // With `Wait` this happens while the session closes, and to what does not wait for room.
        if state.is_full(self.room) {
            if self.lag == Lag::Close && item.is_push() {
                return Put::Overrun;
            }
            if item.is_request() {
                return Put::Evicted(vec![item]);
            }
            let evicts = self.lag != Lag::Wait || item.is_push();
            while evicts
                && state.is_full(self.room)
                && let Some(oldest) = state.evict()
            {
                evicted.push(oldest);
            }
        }
        state.bytes += item.bytes();
        state.gaps += usize::from(item.missed().is_some());
        state.queue.push_back(item);
        let last = state.queue.len() - 1;
        state.merge_gaps(last);
        let waker = state.reader.take();
        let last = state.is_full(self.room);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if evicted.is_empty() {
            Put::Kept { last }
        } else {
            Put::Evicted(evicted)
        }
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waker = state.reader.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Inbox<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            room: self.room,
            lag: self.lag,
        }
    }
}

impl<T: InboxItem> State<T> {
    fn is_full(&self, room: usize) -> bool {
        self.queue.len() - self.gaps >= room || self.bytes >= Inbox::<T>::BYTES
    }

    /// Takes out the oldest push, and leaves a gap in its place. The lifecycle is the last to go.
    fn evict(&mut self) -> Option<T> {
        let pushes = self.queue.iter().position(T::is_push);
        let at = pushes.or_else(|| self.queue.iter().position(|item| item.missed().is_none()))?;
        let oldest = self.queue.get_mut(at)?;
        let oldest = std::mem::replace(oldest, T::gap(1));
        self.bytes -= oldest.bytes();
        self.gaps += 1;
        self.merge_gaps(at);
        Some(oldest)
    }

    /// One gap where there are several side by side.
    fn merge_gaps(&mut self, at: usize) {
        for before in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            let missed = |at: usize| self.queue.get(at).and_then(T::missed);
            if let (Some(first), Some(second)) = (missed(before), missed(before + 1)) {
                self.queue.remove(before + 1);
                self.queue[before] = T::gap(first + second);
                self.gaps -= 1;
            }
        }
    }
}

/// The end of an [`Inbox`] that is read: a stream that ends with the session. Dropping it discards
/// what comes from then on.
#[derive(Debug)]
pub struct InboxReader<T> {
    inbox: Inbox<T>,
}

impl<T: InboxItem> InboxReader<T> {
    /// The end that is filled.
    pub fn inbox(&self) -> &Inbox<T> {
        &self.inbox
    }

    /// The next item; `None` once nothing more comes. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T: InboxItem> Stream for InboxReader<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.inbox.lock();
        let Some(item) = state.queue.pop_front() else {
            if state.ended {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.bytes -= item.bytes();
        state.gaps -= usize::from(item.missed().is_some());
        let waker = state.writer.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Some(item))
    }
}

impl<T> Drop for InboxReader<T> {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        state.unread = true;
        let left = std::mem::take(&mut state.queue);
        (state.bytes, state.gaps) = (0, 0);
        let waker = state.writer.take();
        drop(state);
        // Requests among them answer themselves as they are dropped.
        drop(left);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Eq, PartialEq)]
    enum Item {
        Push(usize),
        Request,
        Lifecycle,
        Gap(u64),
    }

    impl InboxItem for Item {
        fn bytes(&self) -> usize {
            match self {
                Self::Push(bytes) => *bytes,
                _ => 0,
            }
        }

        fn is_push(&self) -> bool {
            matches!(self, Self::Push(_) | Self::Request)
        }

        fn is_request(&self) -> bool {
            *self == Self::Request
        }

        fn missed(&self) -> Option<u64> {
            match self {
                Self::Gap(missed) => Some(*missed),
                _ => None,
            }
        }

        fn gap(missed: u64) -> Self {
            Self::Gap(missed)
        }
    }

    /// All that is there to be read.
    fn read(reader: &mut InboxReader<Item>) -> Vec<Item> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut items = Vec::new();
        while let Poll::Ready(Some(item)) = Pin::new(&mut *reader).poll_next(&mut cx) {
            items.push(item);
        }
        items
    }

    fn put(inbox: &Inbox<Item>, items: impl IntoIterator<Item = Item>) {
        for item in items {
            let _ = inbox.put(item);
        }
    }

    #[test]
    fn the_last_room_is_told_of() {
        let (inbox, mut reader) = Inbox::new(2, Lag::DropOldest);
        assert!(matches!(inbox.put(Item::Push(1)), Put::Kept { last: false }));
        assert!(!inbox.is_full());
        assert!(matches!(inbox.put(Item::Push(2)), Put::Kept { last: true }));
        assert!(inbox.is_full());
        assert_eq!(read(&mut reader), [Item::Push(1), Item::Push(2)]);
        assert!(!inbox.is_full());
        drop(reader);
        assert!(matches!(inbox.put(Item::Push(1)), Put::Unread(Item::Push(1))));
        assert!(!inbox.is_full(), "nobody reads");
    }

    #[test]
    fn the_oldest_push_goes_and_one_gap_stands_where_it_was() {
        let (inbox, mut reader) = Inbox::new(4, Lag::DropOldest);
        let pushes = |numbers: std::ops::Range<usize>| numbers.map(Item::Push);
        put(&inbox, pushes(0..2));
        put(&inbox, [Item::Lifecycle]);
        put(&inbox, pushes(2..3));
        assert!(matches!(inbox.put(Item::Push(3)), Put::Evicted(gone) if gone == [Item::Push(0)]));
        put(&inbox, pushes(4..6));
        assert_eq!(
            read(&mut reader),
            [
                Item::Gap(2),
                Item::Lifecycle,
                Item::Gap(1),
                Item::Push(3),
                Item::Push(4),
                Item::Push(5)
            ]
        );
        // What is left counts as before.
        put(&inbox, pushes(0..4));
        assert!(matches!(inbox.put(Item::Push(4)), Put::Evicted(_)));
        assert_eq!(read(&mut reader)[0], Item::Gap(1));
    }

    #[test]
    fn the_lifecycle_is_the_last_to_go_and_a_request_goes_back() {
        let (inbox, mut reader) = Inbox::new(2, Lag::DropOldest);
        put(&inbox, [Item::Lifecycle, Item::Lifecycle]);
        assert!(matches!(inbox.put(Item::Request), Put::Evicted(gone) if gone == [Item::Request]));
        assert!(matches!(inbox.put(Item::Lifecycle), Put::Evicted(gone) if gone == [Item::Lifecycle]));
        assert_eq!(read(&mut reader), [Item::Gap(1), Item::Lifecycle, Item::Lifecycle]);
    }

    #[test]
    fn bytes_are_bounded_beside_the_number() {
        assert_eq!(Inbox::<Item>::BYTES, 16 << 20);
        let (inbox, mut reader) = Inbox::new(100, Lag::DropOldest);
        let half = Inbox::<Item>::BYTES / 2;
        assert!(matches!(inbox.put(Item::Push(half)), Put::Kept { last: false }));
        assert!(matches!(inbox.put(Item::Push(half)), Put::Kept { last: true }));
        assert!(matches!(inbox.put(Item::Push(half)), Put::Evicted(gone) if gone == [Item::Push(half)]));
        assert_eq!(read(&mut reader), [Item::Gap(1), Item::Push(half), Item::Push(half)]);
        assert!(matches!(inbox.put(Item::Push(half)), Put::Kept { last: false }));
    }

    #[test]
    fn one_that_waits_has_no_room_until_it_is_read_and_pushes_nothing_out() {
        let (inbox, mut reader) = Inbox::new(1, Lag::Wait);
        let cx = Context::from_waker(Waker::noop());
        assert!(inbox.poll_room(&cx).is_ready());
        put(&inbox, [Item::Push(1)]);
        assert!(inbox.poll_room(&cx).is_pending());
        assert!(!inbox.is_full(), "it has its own way to wait");
        assert!(matches!(inbox.put(Item::Lifecycle), Put::Kept { .. }));
        assert_eq!(read(&mut reader), [Item::Push(1), Item::Lifecycle]);
        assert!(inbox.poll_room(&cx).is_ready());
        put(&inbox, [Item::Push(1)]);
        drop(reader);
        assert!(inbox.poll_room(&cx).is_ready(), "nobody reads");
        let (inbox, _reader) = Inbox::new(1, Lag::DropOldest);
        put(&inbox, [Item::Push(1)]);
        assert!(inbox.poll_room(&cx).is_ready(), "this one makes room");
    }

    #[test]
    fn one_that_is_to_end_ends_for_pushes_only_and_passes_no_way_around_on() {
        let (inbox, mut reader) = Inbox::new(1, Lag::Close);
        put(&inbox, [Item::Push(1)]);
        assert!(matches!(inbox.put(Item::Push(2)), Put::Overrun));
        assert!(matches!(inbox.put(Item::Lifecycle), Put::Evicted(_)));
        assert_eq!(read(&mut reader), [Item::Gap(1), Item::Lifecycle]);
        let (like, _reader) = inbox.like();
        put(&like, [Item::Push(1)]);
        assert!(like.poll_room(&Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn it_ends() {
        let (inbox, mut reader) = Inbox::<Item>::new(1, Lag::DropOldest);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut reader).poll_next(&mut cx).is_pending());
        inbox.end();
        assert_eq!(Pin::new(&mut reader).poll_next(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn gaps_that_are_put_side_by_side_are_one() {
        let (inbox, mut reader) = Inbox::new(4, Lag::DropOldest);
        put(&inbox, [Item::Gap(1), Item::Gap(2), Item::Push(1), Item::Gap(3)]);
        assert_eq!(read(&mut reader), [Item::Gap(3), Item::Push(1), Item::Gap(3)]);
        put(&inbox, [Item::Gap(4)]);
        assert_eq!(read(&mut reader), [Item::Gap(4)]);
    }
}
