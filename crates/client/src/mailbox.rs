use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use serde_json::value::RawValue;
use tower_ws_core::{
    Down, DropReason, Up,
    drive::{Inbox, InboxItem, InboxReader},
    jsonrpc::RpcError,
};

use crate::{
    config::Cancel,
    peer::{Notification, ServerRequest},
    request::Request,
};

/// What comes in beside the replies: a stream, bounded, that ends with the session.
///
/// Somebody who does not read it can never stop replies, timers and pongs (unless [`Lag::Wait`](crate::Lag::Wait)
/// asks for just that). Dropping it discards what comes from then on; the peer's requests are
/// answered with an error.
pub struct Inbound {
    reader: InboxReader<Incoming>,
    cancel: Option<Arc<dyn Cancel>>,
}

impl Inbound {
    /// How much text may wait to be read: 16 MiB, the largest message that the transport takes,
    /// beside the bound by number. A text is taken in while there is less, so there may be one
    /// more.
    pub const BYTES: usize = Mailbox::BYTES;

    pub(crate) fn new(reader: InboxReader<Incoming>) -> Self {
        Self { reader, cancel: None }
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        self.reader.inbox()
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

impl Stream for Inbound {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        Pin::new(&mut self.get_mut().reader).poll_next(cx)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

/// The driver's end of [`Inbound`].
pub(crate) type Mailbox = Inbox<Incoming>;

impl InboxItem for Incoming {
    fn bytes(&self) -> usize {
        match self {
            Self::Notification(said) => said.text().len(),
            Self::Request(request) => request.bytes(),
            _ => 0,
        }
    }

    fn is_push(&self) -> bool {
        matches!(
            self,
            Self::Notification(_) | Self::Request(_) | Self::Undelivered { .. }
        )
    }

    fn is_request(&self) -> bool {
        matches!(self, Self::Request(_))
    }

    fn missed(&self) -> Option<u64> {
        match self {
            Self::Gap { missed } => Some(*missed),
            _ => None,
        }
    }

    fn gap(missed: u64) -> Self {
        Self::Gap { missed }
    }
}
