use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tower_ws_core::{
    Down, DropReason, Up,
    drive::{Inbox, InboxItem, InboxReader},
};

use crate::{json::Unreadable, shared::Shared};

/// One thing that came in, or that became of a message. `T` is what messages are read as.
///
/// Its `Debug` does not show messages.
#[derive(Clone)]
#[non_exhaustive]
pub enum Event<T, M = T> {
    /// A connection is ready. The first event.
    Up(Up),
    /// The connection is gone; whether there may be another, it says. If there may and then there
    /// is none after all, a second one says so, and why, as the last event but for what was not
    /// delivered.
    Down(Down),
    /// The peer says this.
    Message(T),
    /// The peer says something that is no `T`.
    Unreadable(Unreadable<M>),
    /// The stack has given up on a message that it had taken, and nobody waits for its outcome.
    Undelivered {
        /// The message.
        message: M,
        /// Why. [`Interrupted`](DropReason::Interrupted): the peer may have seen it.
        reason: DropReason,
    },
    /// Here something is missing, because it came in faster than it was read.
    Gap {
        /// How many events.
        missed: u64,
    },
}

impl<T, M> fmt::Debug for Event<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(up) => f.debug_tuple("Up").field(up).finish(),
            Self::Down(down) => f.debug_tuple("Down").field(down).finish(),
            Self::Message(_) => f.write_str("Message(..)"),
            Self::Unreadable(unreadable) => f.debug_tuple("Unreadable").field(unreadable).finish(),
            Self::Undelivered { reason, .. } => f
                .debug_struct("Undelivered")
                .field("reason", reason)
                .finish_non_exhaustive(),
            Self::Gap { missed } => f.debug_struct("Gap").field("missed", missed).finish(),
        }
    }
}

/// What comes in: a bounded stream that ends with the session.
///
/// Dropping it discards what comes from then on; the session goes on as long as there is a
/// [`Sender`](crate::Sender).
pub struct Events<M> {
    reader: InboxReader<Weighed<M>>,
    shared: Arc<Shared<M>>,
}

impl<M> Events<M> {
    pub(crate) fn new(reader: InboxReader<Weighed<M>>, shared: Arc<Shared<M>>) -> Self {
        Self { reader, shared }
    }

    /// The next event; `None` once the session has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<M>> {
        Some(self.reader.next().await?.event)
    }
}

impl<M> Stream for Events<M> {
    type Item = Event<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<M>>> {
        let item = ready!(Pin::new(&mut self.reader).poll_next(cx));
        Poll::Ready(item.map(|weighed| weighed.event))
    }
}

impl<M> Drop for Events<M> {
    fn drop(&mut self) {
        self.shared.reader_dropped();
    }
}

impl<M> fmt::Debug for Events<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// An event, and how large its message is.
pub(crate) struct Weighed<M> {
    pub(crate) event: Event<M>,
    pub(crate) bytes: usize,
}

pub(crate) type EventInbox<M> = Inbox<Weighed<M>>;

impl<M> InboxItem for Weighed<M> {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_push(&self) -> bool {
        matches!(self.event, Event::Message(_) | Event::Undelivered { .. })
    }

    fn missed(&self) -> Option<u64> {
        match self.event {
            Event::Gap { missed } => Some(missed),
            _ => None,
        }
    }

    fn gap(missed: u64) -> Self {
        let event = Event::Gap { missed };
        Self { event, bytes: 0 }
    }
}
