use std::{fmt, time::Duration};

use tower_layer::Layer;
use tower_ws_core::{Connection, Length, Shared, Wrap};

use crate::{
    buffer::Bounds,
    connection::QueueConnection,
    handle::{Handle, Hub},
    overflow::Overflow,
    service::Queue,
    store::{MakeStore, MemoryStore},
};

/// Holds messages while the link is down or slow, within bounds. See the [crate docs](crate).
#[derive(Clone)]
pub struct QueueLayer<Me = Length, S = MemoryStore> {
    measure: Me,
    store: S,
    settings: Settings,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) bounds: Bounds,
    pub(crate) drain: Duration,
    pub(crate) hub: Option<Shared<Hub>>,
}

impl QueueLayer {
    /// A queue in memory, with the default bounds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a [`Handle`] to look into the queue.
    ///
    /// The handle is that of [one session at a time](tower_ws_core::Shared).
    pub fn pair() -> (Self, Handle) {
        let hub = Shared::new(Hub::new());
        let mut layer = Self::default();
        layer.settings.hub = Some(hub.clone());
        (layer, Handle(hub))
    }
}

impl<Me, S> QueueLayer<Me, S> {
    /// The default of [`messages`](Self::messages): 1,024.
    pub const MESSAGES: usize = 1024;
    /// The default of [`bytes`](Self::bytes): 8 MiB.
    pub const BYTES: usize = 8 << 20;
    /// The default of [`age`](Self::age): 60 s.
    pub const AGE: Duration = Duration::from_secs(60);
    /// The default of [`drain`](Self::drain): 5 s.
    pub const DRAIN: Duration = Duration::from_secs(5);

    /// Sets how many messages may be held. Default 1,024: half a minute of a busy client, a
    /// moment's work for a server that comes back. 0 counts as 1.
    #[must_use]
    pub fn messages(mut self, messages: usize) -> Self {
        self.settings.bounds.messages = messages.max(1);
        self
    }

    /// Sets how many bytes of payload may be held. Default 8 MiB, so that 1,024 large messages do
    /// not fill the memory of a small machine. A message that is larger is held only while nothing
    /// else is. 0 counts as 1.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.settings.bounds.bytes = bytes.max(1);
        self
    }

    /// Sets how long a message may be held that has no
    /// [`deadline`](tower_ws_core::Outgoing::deadline) of its own; one that has, as each call, is
    /// held until then. Default 60 s: a server that comes back after an hour is not flooded with
    /// what is stale. [`Duration::MAX`]: for ever.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.settings.bounds.age = age;
        self
    }

    /// Sets what happens to a message for which there is no room. Default [`Overflow::Wait`]:
    /// nothing is lost, and the sender learns to slow down.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.bounds.overflow = overflow;
        self
    }

    /// Sets how long closing may wait for what is held to go out over a slow link. Default 5 s,
    /// short enough for a person who waits for a program to end. Zero: what cannot go at once comes
    /// back at once. While the link is down closing does not wait.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.settings.drain = drain;
        self
    }

    /// Sets how the size of a message is [measured](tower_ws_core::Measure). Default: [`Length`].
    #[must_use]
    pub fn measure<Y>(self, measure: Y) -> QueueLayer<Y, S> {
        QueueLayer {
            measure,
            store: self.store,
            settings: self.settings,
        }
    }

    /// Replaces what holds the messages, by a [`MakeStore`](crate::MakeStore). Default
    /// [`MemoryStore`].
    #[must_use]
    pub fn store<T>(self, store: T) -> QueueLayer<Me, T> {
        QueueLayer {
            measure: self.measure,
            store,
            settings: self.settings,
        }
    }
}

impl<Me: Default, S: Default> Default for QueueLayer<Me, S> {
    fn default() -> Self {
        Self {
            measure: Me::default(),
            store: S::default(),
            settings: Settings {
                bounds: Bounds {
                    messages: Self::MESSAGES,
                    bytes: Self::BYTES,
                    age: Self::AGE,
                    overflow: Overflow::default(),
                },
                drain: Self::DRAIN,
                hub: None,
            },
        }
    }
}

impl<I, Me: Clone, S: Clone> Layer<I> for QueueLayer<Me, S> {
    type Service = Queue<I, Me, S>;

    fn layer(&self, inner: I) -> Self::Service {
        Queue::new(inner, self.clone())
    }
}

impl<C, Me, S> Wrap<C> for QueueLayer<Me, S>
where
    C: Connection,
    S: MakeStore<C::Message>,
{
    type Connection = QueueConnection<C, Me, S::Store>;

    fn wrap(self, inner: C) -> Self::Connection {
        QueueConnection::new(inner, self.measure, self.store.make_store(), &self.settings)
    }
}

impl<Me, S> fmt::Debug for QueueLayer<Me, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLayer")
            .field("bounds", &self.settings.bounds)
            .field("drain", &self.settings.drain)
            .finish_non_exhaustive()
    }
}
