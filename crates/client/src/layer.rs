use std::{sync::Arc, time::Duration};

use tower_layer::Layer;
use tower_ws_core::{
    Connection,
    drive::{Lag, session_span},
    jsonrpc::{Codec, Ids},
};

use crate::{
    client::Client,
    config::{Cancel, Check, Config},
    driver::Driver,
    mailbox::{Inbound, Mailbox},
    service::MakeClient,
    shared::Shared,
};

/// The boundary between connections and calls. See the [crate docs](crate).
#[derive(Clone, Debug)]
pub struct ClientLayer<K> {
    codec: K,
    config: Config,
}

impl ClientLayer<()> {
    /// The default of [`max_calls`](ClientLayer::max_calls): 4,096.
    pub const MAX_CALLS: usize = 4096;
    /// The default of [`timeout`](ClientLayer::timeout): 60 s.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// The default of [`inbound`](ClientLayer::inbound): 256 items.
    pub const INBOUND: usize = 256;
    /// The default of [`close_grace`](ClientLayer::close_grace): 5 s.
    pub const CLOSE_GRACE: Duration = Duration::from_secs(5);
}

impl<K> ClientLayer<K> {
    /// Clients that speak JSON-RPC as `codec` puts it into messages.
    pub fn new(codec: K) -> Self {
        Self {
            codec,
            config: Config::default(),
        }
    }

    /// How many calls and notifications may be under way, at least 1. Default 4,096: more than a
    /// peer answers at once, little enough that an outage cannot fill the memory.
    ///
    /// The client is not ready while so many wait. The bytes of calls are not counted: they
    /// belong to the callers, who hold them anyway. Those of notifications are:
    /// [`notify`](Client::notify) waits while 16 MiB of them wait to leave.
    #[must_use]
    pub fn max_calls(mut self, most: usize) -> Self {
        self.config.max_calls = most.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// How long a call waits for its answer, time in queues and outages included. Default 60 s; a
    /// [request](crate::Request::timeout) can say otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How many items [`Inbound`] holds, at least 1, and what happens then. Default 256, and
    /// [`Lag::DropOldest`]. They are bounded by [size](Inbound::BYTES) too.
    #[must_use]
    pub fn inbound(mut self, room: usize, lag: Lag) -> Self {
        self.config.inbound = room;
        self.config.lag = lag;
        self
    }

    /// How long what is under way may go on after the last client was dropped. Default 5 s.
    #[must_use]
    pub fn close_grace(mut self, grace: Duration) -> Self {
        self.config.close_grace = grace;
        self
    }

    /// Names the session in logs, to tell those of one process apart: the span `session`, in which
    /// all is that its layers log, has it as `name`. Default: none.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// Names whom the session is with: the span `session` has it as `server`. Default: none. Host
    /// and port, and no more: a path or a query may hold a secret.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.config.server = Some(server.into());
        self
    }

    /// The span in which the layers of a session log.
    pub(crate) fn span(&self) -> tracing::Span {
        session_span(self.config.name.as_deref(), self.config.server.as_deref())
    }

    /// Whether a request named `ping` is answered at once with an empty result, as MCP wants it.
    /// Default true; otherwise it appears in [`Inbound`].
    #[must_use]
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.config.answer_pings = answer;
        self
    }

    /// Looks at each request and notification before it is accepted. Default: none.
    #[must_use]
    pub fn check(mut self, check: impl Check + 'static) -> Self {
        self.config.check = Some(Arc::new(check));
        self
    }

    /// How to tell the peer that nobody waits for an answer any more, because the call's future was
    /// dropped or its time is up. Default: it is not told. For MCP:
    ///
    /// ```
    /// # use tower_ws_client::{ClientLayer, Request};
    /// # fn mcp<K>(layer: ClientLayer<K>) -> ClientLayer<K> {
    /// layer.on_cancel(|id| Request::new("notifications/cancelled").raw_params(
    ///     &serde_json::value::to_raw_value(&serde_json::json!({ "requestId": id })).expect("plain JSON"),
    /// ))
    /// # }
    /// ```
    #[must_use]
    pub fn on_cancel(mut self, cancel: impl Cancel + 'static) -> Self {
        self.config.cancel = Some(Arc::new(cancel));
        self
    }

    /// Makes a client, its inbound stream and the driver of a connection, without a service and
    /// without spawning.
    pub fn pair<C>(&self, connection: C) -> (Client, Inbound, Driver<C, K>)
    where
        C: Connection,
        K: Codec<C::Message> + Clone,
    {
        self.pair_with(connection, Ids::new())
    }

    pub(crate) fn pair_with<C>(&self, connection: C, ids: Ids) -> (Client, Inbound, Driver<C, K>)
    where
        C: Connection,
        K: Codec<C::Message> + Clone,
    {
        let (mailbox, reader) = Mailbox::new(self.config.inbound, self.config.lag);
        let shared = Arc::new(Shared::new(self.config.clone(), ids));
        let client = Client::new(shared.clone());
        (
            client,
            Inbound::new(reader).cancelled_by(self.config.cancel.clone()),
            Driver::new(connection, self.codec.clone(), shared, mailbox),
        )
    }
}

impl<S, K: Clone> Layer<S> for ClientLayer<K> {
    type Service = MakeClient<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        MakeClient::new(inner, self.clone())
    }
}
