use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;
use tower_ws_core::{
    Connection, Length, Measure,
    drive::{Lag, session_span},
};
use tracing::Span;

use crate::{
    driver::Driver,
    events::{EventInbox, Events},
    sender::Sender,
    service::MakeMessages,
    shared::Shared,
};

/// The boundary between connections and plain messages. See the [crate docs](crate).
pub struct MessagesLayer<M> {
    pub(crate) name: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) room: usize,
    pub(crate) timeout: Duration,
    pub(crate) inbox: (usize, Lag),
    pub(crate) close_grace: Duration,
    pub(crate) acknowledged: bool,
    pub(crate) only: Option<Only<M>>,
    measure: fn(&M) -> usize,
}

type Only<M> = Arc<dyn Fn(&M) -> bool + Send + Sync>;

impl<M> MessagesLayer<M> {
    /// The default of [`room`](Self::room): 1,024 messages.
    pub const ROOM: usize = 1024;
    /// How large those that wait in that room may be in all: 16 MiB, beside one that may be larger.
    pub const BYTES: usize = 16 * 1024 * 1024;
    /// The default of [`timeout`](Self::timeout): 60 s.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// The default of [`inbox`](Self::inbox): 256 events.
    pub const INBOX: usize = 256;
    /// The default of [`close_grace`](Self::close_grace): 5 s.
    pub const CLOSE_GRACE: Duration = Duration::from_secs(5);

    /// With the defaults.
    pub fn new() -> Self
    where
        Length: Measure<M>,
    {
        Self {
            name: None,
            server: None,
            room: Self::ROOM,
            timeout: Self::TIMEOUT,
            inbox: (Self::INBOX, Lag::DropOldest),
            close_grace: Self::CLOSE_GRACE,
            acknowledged: false,
            only: None,
            measure: |message| Length.bytes(message),
        }
    }

    /// How many messages of [`try_send`](Sender::try_send) may wait for the stack, at least 1.
    /// Default 1,024; they are bounded by [size](Self::BYTES) too. Whoever waits for a send holds its
    /// message anyway, so those are not counted.
    #[must_use]
    pub fn room(mut self, messages: usize) -> Self {
        self.room = messages.max(1);
        self
    }

    /// How long a send may wait: for the stack to take the message, or for its outcome if that is
    /// [asked for](Sender::send_confirmed). Default 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many events wait to be read, at least 1, and what happens then. Default 256, and
    /// [`Lag::DropOldest`]. They are bounded by size too: 16 MiB.
    #[must_use]
    pub fn inbox(mut self, room: usize, lag: Lag) -> Self {
        self.inbox = (room, lag);
        self
    }

    /// How long what is under way may go on when both ends of the session were dropped. Default 5 s.
    #[must_use]
    pub fn close_grace(mut self, grace: Duration) -> Self {
        self.close_grace = grace;
        self
    }

    /// [`send_confirmed`](Sender::send_confirmed) waits until the peer has acknowledged the message,
    /// and not only until it is written. For a stack with a layer that knows when: a message that
    /// awaits no acknowledgement there is never confirmed.
    #[must_use]
    pub fn acknowledged(mut self) -> Self {
        self.acknowledged = true;
        self
    }

    /// Only messages for which this is true are told of: a transport hands up what belongs to its own
    /// protocol as well, such as pings. Default: all are.
    #[must_use]
    pub fn only(mut self, only: impl Fn(&M) -> bool + Send + Sync + 'static) -> Self {
        self.only = Some(Arc::new(only));
        self
    }

    /// Names the session in logs, to tell those of one process apart. Default: none.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names whom the session is with, in logs: host and port, and no more. Default: none.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Makes a sender, the events and the driver of a connection, without a service and without
    /// spawning.
    pub fn pair<C: Connection<Message = M>>(&self, connection: C) -> (Sender<M>, Events<M>, Driver<C>) {
        let (inbox, reader) = EventInbox::new(self.inbox.0, self.inbox.1);
        let shared = Shared::new(self.clone());
        let sender = Sender::new(shared.clone());
        let events = Events::new(reader, shared.clone());
        (sender, events, Driver::new(connection, shared, inbox))
    }

    pub(crate) fn span(&self) -> Span {
        session_span(self.name.as_deref(), self.server.as_deref())
    }

    pub(crate) fn bytes(&self, message: &M) -> usize {
        (self.measure)(message)
    }
}

impl<M> Clone for MessagesLayer<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            server: self.server.clone(),
            room: self.room,
            timeout: self.timeout,
            inbox: self.inbox,
            close_grace: self.close_grace,
            acknowledged: self.acknowledged,
            only: self.only.clone(),
            measure: self.measure,
        }
    }
}

impl<M> Default for MessagesLayer<M>
where
    Length: Measure<M>,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<S, M> Layer<S> for MessagesLayer<M> {
    type Service = MakeMessages<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        MakeMessages::new(inner, self.clone())
    }
}

impl<M> fmt::Debug for MessagesLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagesLayer")
            .field("name", &self.name)
            .field("server", &self.server)
            .field("room", &self.room)
            .field("timeout", &self.timeout)
            .field("inbox", &self.inbox)
            .field("acknowledged", &self.acknowledged)
            .finish_non_exhaustive()
    }
}
