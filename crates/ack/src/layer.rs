use std::time::Duration;

use tower_layer::Layer;
use tower_ws_core::{Length, Shared};

use crate::{
    handle::{Handle, Hub},
    service::Ack,
    window::Limits,
};

/// Keeps what was sent until it is acknowledged, and sends again what is safe to. See the [crate
/// docs](crate).
#[derive(Clone, Debug)]
pub struct AckLayer<S, Me = Length> {
    pub(crate) strategy: S,
    pub(crate) measure: Me,
    pub(crate) limits: Limits,
    pub(crate) hub: Option<Shared<Hub>>,
}

impl<S> AckLayer<S> {
    /// Acknowledgements as `strategy` knows them.
    pub fn new(strategy: S) -> Self {
        Self {
            strategy,
            measure: Length,
            limits: Limits {
                messages: Self::MESSAGES,
                bytes: Self::BYTES,
                timeout: Self::TIMEOUT,
                suspicions: Self::SUSPICIONS,
                recorded_too: false,
            },
            hub: None,
        }
    }

    /// The same, with a [`Handle`] to watch the session.
    ///
    /// The handle is that of [one session at a time](tower_ws_core::Shared).
    pub fn pair(strategy: S) -> (Self, Handle) {
        let hub = Shared::new(Hub::default());
        let mut layer = Self::new(strategy);
        layer.hub = Some(hub.clone());
        (layer, Handle(hub))
    }
}

impl<S, Me> AckLayer<S, Me> {
    /// How many messages may be unacknowledged by default: 4,096, as many as a client has calls under
    /// way.
    pub const MESSAGES: usize = 4096;
    /// How many bytes they may have by default: 16 MiB, the largest message that the transport
    /// takes. With messages that share their bytes, as those of a WebSocket do, a kept message
    /// costs no copy.
    pub const BYTES: usize = 16 * 1024 * 1024;
    /// How long a message may wait for its acknowledgement by default: 60 s, as long as a client
    /// waits for a reply.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// How many connections may end upon a message by default: 3.
    pub const SUSPICIONS: u32 = 3;

    /// How many messages, and how many bytes of them, may be unacknowledged: at least 1 of each.
    /// Default [4,096](Self::MESSAGES) and [16 MiB](Self::BYTES), whichever comes first.
    ///
    /// Keys that rise from message to message, as ids and sequence numbers do, cost the same in any
    /// window; keys in no order cost the more the larger it is.
    ///
    /// When the window is full the sink is not ready. It learns of a message's size only when it
    /// gets it, so the bytes may go over the limit by one message.
    #[must_use]
    pub fn window(mut self, messages: usize, bytes: usize) -> Self {
        self.limits.messages = messages;
        self.limits.bytes = bytes;
        self
    }

    /// How long a message may wait for its acknowledgement, outages included, from when it was
    /// first handed down. Default [60 s](Self::TIMEOUT). A message whose own
    /// [`deadline`](tower_ws_core::Outgoing::deadline) is later, as that of a call may be, is kept
    /// until then.
    ///
    /// Then it comes back as `Dropped`: [`Expired`](tower_ws_core::DropReason::Expired) if it was
    /// never sent, [`Interrupted`](tower_ws_core::DropReason::Interrupted) if its outcome is
    /// unknown.
    ///
    /// So this is also the horizon of sending again: what a [peer has to
    /// remember](crate#how-long-does-the-peer-have-to-remember) for an effect that is had once.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// How many connections may end right after the same message, with not a byte heard since it was
    /// sent, before it is sent no more: a peer may die of it. At least 1. Default
    /// [3](Self::SUSPICIONS).
    ///
    /// Then it comes back as [`Interrupted`](tower_ws_core::DropReason::Interrupted), with a WARN
    /// that names it. One that a store [keeps](tower_ws_core::Outgoing::record) goes on being sent,
    /// with the delays of the redials, and the WARN names its record: its promise is to arrive.
    /// [Unless](Self::give_up_recorded) that is to end, too.
    #[must_use]
    pub fn suspicions(mut self, connections: u32) -> Self {
        self.limits.suspicions = connections.max(1);
        self
    }

    /// Gives up what a store keeps, too, once it has been [suspected](Self::suspicions) often
    /// enough. Default: it is sent for ever.
    #[must_use]
    pub fn give_up_recorded(mut self) -> Self {
        self.limits.recorded_too = true;
        self
    }

    /// Sets how the size of messages is [measured](tower_ws_core::Measure). Default: [`Length`].
    #[must_use]
    pub fn measure<N>(self, measure: N) -> AckLayer<S, N> {
        AckLayer {
            strategy: self.strategy,
            measure,
            limits: self.limits,
            hub: self.hub,
        }
    }
}

impl<S: Clone, Me: Clone, In> Layer<In> for AckLayer<S, Me> {
    type Service = Ack<In, S, Me>;

    fn layer(&self, inner: In) -> Self::Service {
        Ack::new(inner, self.clone())
    }
}
