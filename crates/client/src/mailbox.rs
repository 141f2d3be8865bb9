use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use serde_json::value::RawValue;
use tower_ws_core::{Down, DropReason, Up, jsonrpc::RpcError};

use crate::{
    config::Cancel,
    peer::{Notification, ServerRequest},
    request::Request,
};

/// What comes in beside the replies: a stream, bounded, that ends with the session.
///
/// Somebody who does not read it can never stop replies, timers and pongs (unless [`Lag::Wait`]
/// asks for just that). Dropping it discards what comes from then on; the peer's requests are
/// answered with an error.
pub struct Inbound {
    mailbox: Mailbox,
    cancel: Option<Arc<dyn Cancel>>,
}

impl Inbound {
    /// How much text may wait to be read: 16 MiB, the largest message that the transport takes,
    /// beside the bound by number. A text is taken in while there is less, so there may be one
    /// more.
    pub const BYTES: usize = 16 * 1024 * 1024;

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The request that the peer takes back, by its id.
    pub(crate) fn cancelled(&self, told: &Notification) -> Option<Box<RawValue>> {
        self.cancel.as_ref()?.cancelled(told)
    }

    pub(crate) fn cancelled_by(mut self, cancel: Option<Arc<dyn Cancel>>) -> Self {
        self.cancel = cancel;
        self
    }

    /// The next item; `None` once the session has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Incoming> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

/// One thing that came in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// A connection is ready. The first item of each session.
    Up(Up),
    /// The connection is gone; whether there may be another, it says. If there may and then there
    /// is none after all, a second one says so, and why, as the last item.
    Down(Down),
    /// The peer tells something.
    Notification(Notification),
    /// The peer asks something, and wants an answer.
    Request(ServerRequest),
    /// The peer reports an error under no id, or under one that no call of ours has: it could not
    /// read something of ours, say. Which call it is about, nobody knows.
    Error(RpcError),
    /// A notification or an answer of ours was given up on.
    Undelivered {
        /// What it was; `None` for an answer to a request of the peer's.
        request: Option<Request>,
        /// Why.
        reason: DropReason,
    },
    /// Here something is missing, because it came in faster than it was read.
    Gap {
        /// How many items.
        missed: u64,
    },
}

/// What happens when [`Inbound`] is full.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Lag {
    /// The oldest push is dropped, and a [`Gap`](Incoming::Gap) says so. A request of the peer's
    /// that finds no room is answered with an error.
    #[default]
    DropOldest,
    /// Nothing more is read from the peer until there is room: backpressure down to its socket.
    /// Replies, pongs and the detection of a dead link wait too. For applications that read all the
    /// time and may lose nothing.
    Wait,
    /// The session ends.
    Close,
}

impl Stream for Inbound {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let mut state = self.mailbox.lock();
        let Some(item) = state.queue.pop_front() else {
            if state.ended {
                return Poll::Ready(None);
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.bytes -= item.bytes();
        state.gaps -= usize::from(item.is_gap());
        let waker = state.writer.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Some(item))
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("mailbox", &self.mailbox)
            .finish_non_exhaustive()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
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

/// The driver's end of [`Inbound`].
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    state: Arc<Mutex<State>>,
    room: usize,
    lag: Lag,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Incoming>,
    /// How large the texts in the queue are.
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

/// What became of an item.
#[derive(Debug)]
pub(crate) enum Put {
    /// Whether it took the last room.
    Kept { last: bool },
    /// Nobody reads.
    Unread(Incoming),
    /// There was no room, so it (or the oldest pushes) had to go.
    Evicted(Vec<Incoming>),
    /// There was no room, and the session is to end.
    Overrun,
}

impl Mailbox {
    pub(crate) fn new(room: usize, lag: Lag) -> (Self, Inbound) {
        let mailbox = Self {
            state: Arc::default(),
            room: room.max(1),
            lag,
        };
        let inbound = Inbound {
            mailbox: mailbox.clone(),
            cancel: None,
        };
        (mailbox, inbound)
    }

    /// Another one with the same bounds, for what comes out of this one. Where this one is to end
    /// the session when it is full, the other is no way around that: it makes this one fill up.
    pub(crate) fn like(&self) -> (Self, Inbound) {
        let lag = match self.lag {
            Lag::DropOldest => Lag::DropOldest,
            Lag::Wait | Lag::Close => Lag::Wait,
        };
        Self::new(self.room, lag)
    }

    /// Is there somebody who reads, and no room until he does?
    pub(crate) fn is_full(&self) -> bool {
        let state = self.lock();
        !state.unread && self.lag == Lag::DropOldest && state.is_full(self.room)
    }

    /// Ready when there is room, or when the lag policy makes room.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
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

    pub(crate) fn put(&self, item: Incoming) -> Put {
        let mut state = self.lock();
        if state.unread {
            return Put::Unread(item);
        }
        let mut evicted = Vec::new();
        // With `Wait` this happens only while the session closes: whoever closes reads on.
        if state.is_full(self.room) {
            if self.lag == Lag::Close && item.is_push() {
                return Put::Overrun;
            }
            if matches!(item, Incoming::Request(_)) {
                return Put::Evicted(vec![item]);
            }
            while state.is_full(self.room)
                && let Some(oldest) = state.evict()
            {
                evicted.push(oldest);
            }
        }
        state.bytes += item.bytes();
        state.gaps += usize::from(item.is_gap());
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
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waker = state.reader.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_full(&self, room: usize) -> bool {
        self.queue.len() - self.gaps >= room || self.bytes >= Inbound::BYTES
    }

    /// Takes out the oldest push, and leaves a gap in its place. The lifecycle is the last to go.
    fn evict(&mut self) -> Option<Incoming> {
        let pushes = self.queue.iter().position(Incoming::is_push);
        let at = pushes.or_else(|| self.queue.iter().position(|item| !item.is_gap()))?;
        let oldest = self.queue.get_mut(at)?;
        let oldest = std::mem::replace(oldest, Incoming::Gap { missed: 1 });
        self.bytes -= oldest.bytes();
        self.gaps += 1;
        self.merge_gaps(at);
        Some(oldest)
    }

    /// One gap where there are several side by side.
    fn merge_gaps(&mut self, at: usize) {
        for before in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            if let (Some(Incoming::Gap { missed: first }), Some(Incoming::Gap { missed: second })) =
                (self.queue.get(before), self.queue.get(before + 1))
            {
                let missed = first + second;
                self.queue.remove(before + 1);
                self.queue[before] = Incoming::Gap { missed };
                self.gaps -= 1;
            }
        }
    }
}

impl Incoming {
    /// How much text it holds.
    fn bytes(&self) -> usize {
        match self {
            Self::Notification(said) => said.text().len(),
            Self::Request(request) => request.bytes(),
            _ => 0,
        }
    }

    fn is_gap(&self) -> bool {
        matches!(self, Self::Gap { .. })
    }

    fn is_push(&self) -> bool {
        matches!(
            self,
            Self::Notification(_) | Self::Request(_) | Self::Undelivered { .. }
        )
    }
}
