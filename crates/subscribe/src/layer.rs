use std::{fmt, time::Duration};

use tower_layer::Layer;
use tower_ws_core::{Length, Shared};

use crate::{
    handle::{Handle, Hub},
    service::Subscribe,
    standing::Limits,
};

/// Says subscriptions again on each connection. See the [crate docs](crate).
pub struct SubscribeLayer<D, M, Me = Length> {
    pub(crate) dialect: D,
    pub(crate) measure: Me,
    pub(crate) settings: Settings,
    pub(crate) standing: Vec<M>,
    pub(crate) hub: Option<Shared<Hub<M>>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) patience: Duration,
}

impl<D, M> SubscribeLayer<D, M> {
    /// How many subscriptions may stand: 1,024. Each costs a message on each connection.
    pub const MESSAGES: usize = 1024;
    /// How many bytes the messages that begin them may have: 1 MiB. They stay in memory for the
    /// whole session, and go out at each redial.
    pub const BYTES: usize = 1024 * 1024;
    /// How long new messages wait for the standing ones: 5 s. A server that allows few messages a
    /// second, and many subscriptions, would hold up calls for minutes.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    const SETTINGS: Settings = Settings {
        limits: Limits {
            messages: Self::MESSAGES,
            bytes: Self::BYTES,
        },
        patience: Self::PATIENCE,
    };

    /// Subscriptions as `dialect` knows them.
    pub fn new(dialect: D) -> Self {
        Self {
            dialect,
            measure: Length,
            settings: Self::SETTINGS,
            standing: Vec::new(),
            hub: None,
        }
    }

    /// The same, with a [`Handle`] to watch the subscriptions of the session and to make new ones.
    ///
    /// The handle is that of [one session at a time](tower_ws_core::Shared).
    pub fn pair(dialect: D) -> (Self, Handle<M>) {
        let hub = Shared::new(Hub::new());
        let mut layer = Self::new(dialect);
        layer.hub = Some(hub.clone());
        (layer, Handle(hub))
    }
}

impl<D, M, Me> SubscribeLayer<D, M, Me> {
    /// How many subscriptions may stand, and how many bytes the messages that begin them may have:
    /// at least 1 of each. Default 1,024 and 1 MiB, whichever comes first. One more is refused, and
    /// that is told: [`Refused`](tower_ws_core::DropReason::Refused) to whoever sent it, or
    /// [`NoRoom`](crate::Ended::NoRoom).
    #[must_use]
    pub fn room(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.limits = Limits {
            messages: messages.max(1),
            bytes: bytes.max(1),
        };
        self
    }

    /// How long new messages wait for the standing ones after a connection has come up. Then they
    /// take turns. Default 5 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// A message that is said on each connection of each session, from the first on. In the order
    /// of the calls. What comes in under it goes up, as if the application had said it.
    #[must_use]
    pub fn standing(mut self, message: M) -> Self {
        self.standing.push(message);
        self
    }

    /// Sets how the size of messages is [measured](tower_ws_core::Measure). Default: [`Length`].
    #[must_use]
    pub fn measure<N>(self, measure: N) -> SubscribeLayer<D, M, N> {
        SubscribeLayer {
            dialect: self.dialect,
            measure,
            settings: self.settings,
            standing: self.standing,
            hub: self.hub,
        }
    }
}

impl<D: Clone, M: Clone, Me: Clone> Clone for SubscribeLayer<D, M, Me> {
    fn clone(&self) -> Self {
        Self {
            dialect: self.dialect.clone(),
            measure: self.measure.clone(),
            settings: self.settings,
            standing: self.standing.clone(),
            hub: self.hub.clone(),
        }
    }
}

impl<D: Clone, M: Clone, Me: Clone, In> Layer<In> for SubscribeLayer<D, M, Me> {
    type Service = Subscribe<In, D, M, Me>;

    fn layer(&self, inner: In) -> Self::Service {
        Subscribe::new(inner, self.clone())
    }
}

impl<D, M, Me> fmt::Debug for SubscribeLayer<D, M, Me> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeLayer")
            .field("settings", &self.settings)
            .field("standing", &self.standing.len())
            .finish_non_exhaustive()
    }
}
