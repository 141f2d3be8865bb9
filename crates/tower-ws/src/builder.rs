use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use http::Uri;
use tower::{Layer, Service};
use tower_ws_ack::{AckLayer, JsonRpc};
#[cfg(feature = "auth")]
use tower_ws_auth::{AuthLayer, Credentials};
use tower_ws_client::{Client, ClientLayer, Inbound, Lag};
#[cfg(feature = "tls")]
use tower_ws_connector::{
    Connect,
    proxy::{Proxies, ProxySettingError},
};
use tower_ws_core::{BoxError, Connection, DispositionTable, Measure, Probe};
use tower_ws_health::HealthLayer;
use tower_ws_queue::{MakeStore, QueueLayer};
#[cfg(feature = "rate-limit")]
use tower_ws_rate_limit::{RateLimitLayer, ThrottleSignal};
use tower_ws_reconnect::{FailoverLayer, Policy, ReconnectLayer};
use tower_ws_subscribe::{Dialect, SubscribeLayer};
use tower_ws_transport::{Framing, JsonText, Message, TransportLayer};

use crate::{
    error::ConnectError,
    slot::{BoxConnector, Dial, Part, Slot, erase, erase_connector, slot},
    stack::Layers,
};

/// Connects by the recommended stack with its defaults. See the [crate docs](crate).
///
/// Resolves when the first connection is up. A server that is not there yet is waited for, as long
/// as it takes: put a `tokio::time::timeout` around it, or use [`Builder::reconnect`] with
/// [`fail_fast`](ReconnectLayer::fail_fast), if that is too long. Dropping the future ends the
/// attempt.
///
/// # Errors
///
/// [`ConnectError`], when the address is none, or when trying again would not help: a certificate
/// that is wrong, a refusal for good.
pub async fn connect(url: impl AsRef<str>) -> Result<(Client, Inbound), ConnectError> {
    builder(url).connect().await
}

/// The recommended stack, to be changed before it connects.
///
/// ```no_run
/// # async fn run() -> Result<(), tower_ws::ConnectError> {
/// use std::time::Duration;
/// use tower_ws::{reconnect::ReconnectLayer, transport::TransportLayer};
///
/// let (client, inbound) = tower_ws::builder("wss://example.com/mcp")
///     .transport(TransportLayer::new().subprotocols(["mcp"]).timeout(Duration::from_secs(5)))
///     .reconnect(ReconnectLayer::new().fail_fast())
///     .header("x-tenant", "blue")
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
pub fn builder(url: impl AsRef<str>) -> Builder {
    Builder {
        url: url.as_ref().to_owned(),
        request: http::Request::builder(),
        fallbacks: Vec::new(),
        name: None,
        layers: Layers::default(),
        transport: TransportLayer::new(),
        failover: FailoverLayer::new(),
        dispositions: None,
        #[cfg(feature = "auth")]
        credentials: Vec::new(),
        own: Own::default(),
    }
}

/// The recommended stack, before it connects. See [`builder`].
///
/// It has one type, whatever it is given, so it can be passed around and kept. For that the parts
/// that are given to it, and what is below them, are called through pointers. With the default parts
/// nothing is. [`stack`](crate::stack()), and a stack spelled out, have each
/// layer in their type.
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    pub(crate) url: String,
    pub(crate) request: http::request::Builder,
    pub(crate) fallbacks: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) layers: Layers,
    pub(crate) transport: TransportLayer,
    pub(crate) failover: FailoverLayer,
    pub(crate) dispositions: Option<DispositionTable>,
    #[cfg(feature = "auth")]
    pub(crate) credentials: Vec<Credentials>,
    pub(crate) own: Own,
}

/// Parts of the application's own, of any type, each for its place.
#[derive(Default)]
pub(crate) struct Own {
    /// Replaces what the queue keeps its messages in.
    pub(crate) store: Option<Part<QueueLayer, ()>>,
    /// Between ack and reconnect.
    pub(crate) subscribe: Option<Slot<()>>,
    /// Replaces the policy of reconnect.
    pub(crate) policy: Option<Arc<dyn Policy + Send + Sync>>,
    /// Right above health.
    pub(crate) rate_limit: Option<Slot>,
    /// Replaces the question that health asks.
    pub(crate) probe: Option<Part<HealthLayer>>,
    /// Below health, the outermost first.
    pub(crate) below: VecDeque<Slot>,
    /// Replaces what frames.
    pub(crate) framing: Option<Framed>,
    /// Replaces what dials.
    pub(crate) connector: Option<BoxConnector>,
}

/// A transport with a framing of any type over a connector.
pub(crate) type Framed = Box<dyn FnOnce(TransportLayer, BoxConnector) -> Dial + Send>;

impl Builder {
    /// Names the session: in logs every event of its layers stands in a span `session` with this
    /// `name`, and with `server`, the host and port of its addresses; every metric of it has the
    /// label `name`. Take it from the configuration, never from an address or an id, of which there
    /// may be any number. Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.name = Some(name.clone());
        #[cfg(feature = "metrics")]
        return self.metrics_label("name", name);
        #[cfg(not(feature = "metrics"))]
        self
    }

    /// Adds another label to every metric of this session
    /// ([`MetricsLayer::label`](tower_ws_metrics::MetricsLayer::label)).
    ///
    /// The stack counts and measures in any case; the numbers go to the recorder of the
    /// [`metrics`](tower_ws_metrics) facade that is installed when it connects, or nowhere.
    #[cfg(feature = "metrics")]
    pub fn metrics_label(mut self, key: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.layers.session_metrics = self.layers.session_metrics.label(key, value.clone());
        self.layers.connection_metrics = self.layers.connection_metrics.label(key, value);
        self
    }

    /// Adds an endpoint of the same service, to be dialled when those before it fail
    /// ([`FailoverLayer`]).
    ///
    /// The [headers](Self::header) go to each of them: all have to be trusted alike. So do
    /// [credentials](Self::auth), unless they are made [per endpoint](Credentials::per_endpoint).
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.fallbacks.push(url.into());
        self
    }

    /// Replaces the layer that chooses among the endpoints. It is there if there is a
    /// [fallback](Self::fallback).
    pub fn failover(mut self, failover: FailoverLayer) -> Self {
        self.failover = failover;
        self
    }

    /// Adds a header to each handshake.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets how long a call may take from the moment it is made, waiting in queues, outages and
    /// being sent again included. Default [60 s](ClientLayer::TIMEOUT); a
    /// [request](tower_ws_client::Request::timeout) can say otherwise. Each layer of the stack
    /// keeps a call for as long, and no longer.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.layers.client = self.layers.client.timeout(timeout);
        self
    }

    /// Replaces the layer on top, which makes calls of messages.
    pub fn client(mut self, client: ClientLayer<JsonText>) -> Self {
        self.layers.client = client;
        self
    }

    /// Sets how many pushes wait to be read, and what happens when there are more. Default:
    /// [256](ClientLayer::INBOUND), and the oldest is dropped.
    pub fn inbound(mut self, room: usize, lag: Lag) -> Self {
        self.layers.client = self.layers.client.inbound(room, lag);
        self
    }

    /// Replaces the layer that holds messages while the link is down or slow.
    pub fn queue(mut self, queue: QueueLayer) -> Self {
        self.layers.queue = queue;
        self
    }

    /// Has the queue keep its messages in a store of your own, or in a
    /// [`Spool`](https://docs.rs/tower-ws-spool), in which they survive the process. Default: memory.
    ///
    /// The layer that sends calls again has to know the same [strategy](Self::ack).
    pub fn store<S>(mut self, store: S) -> Self
    where
        S: MakeStore<Message, Store: Send + 'static> + Clone + Send + 'static,
    {
        self.own.store = Some(Box::new(|queue, below| erase(queue.store(store).layer(below))));
        self
    }

    /// Replaces the layer that sends again what is safe to. The default takes the reading methods
    /// of MCP for safe ([`JsonRpc::SAFE_METHODS`]), and what a
    /// [`Request`](tower_ws_client::Request) declares to be.
    pub fn ack(mut self, ack: AckLayer<JsonRpc<JsonText>>) -> Self {
        self.layers.ack = ack;
        self
    }

    /// Says subscriptions again on each connection: between ack and reconnect, so that what stands
    /// goes before what is sent again. Default: there is no such layer, and what the server was
    /// told is forgotten with each connection.
    pub fn subscribe<D, Me>(mut self, subscribe: SubscribeLayer<D, Message, Me>) -> Self
    where
        D: Dialect<Message> + Clone + Send + 'static,
        Me: Measure<Message> + Clone + Send + 'static,
    {
        self.own.subscribe = Some(slot(subscribe));
        self
    }

    /// Replaces the layer that redials.
    pub fn reconnect(mut self, reconnect: ReconnectLayer) -> Self {
        self.layers.reconnect = reconnect;
        self
    }

    /// A handle of the [layer that redials](Self::reconnect), as it is set now: it watches and
    /// commands the session before that is up, which [`Up`](tower_ws_core::Up) tells of only then.
    pub fn handle(&mut self) -> tower_ws_reconnect::Handle {
        self.layers.reconnect.handle()
    }

    /// Decides what follows when a dial failed or a connection was lost, in place of the
    /// [backoff](tower_ws_reconnect::Backoff) of the [layer that redials](Self::reconnect).
    pub fn policy(mut self, policy: impl Policy + Send + Sync + 'static) -> Self {
        self.own.policy = Some(Arc::new(policy));
        self
    }

    /// Judges each failure by this table, wherever one is judged: by reconnect, by failover between
    /// [fallbacks](Self::fallback), and by [auth](Self::auth), which throws refused credentials
    /// away. Default: [the documented one](tower_ws_core::Disposition).
    ///
    /// It counts also where a layer has a table of its own.
    pub fn dispositions(mut self, table: DispositionTable) -> Self {
        self.dispositions = Some(table);
        self
    }

    /// Holds back dials, messages and bytes, and ends floods: in its right place, above health, so
    /// that no probe waits for a turn. Default: nothing is held back.
    #[cfg(feature = "rate-limit")]
    pub fn rate_limit<Me, G>(mut self, rate_limit: RateLimitLayer<Me, G>) -> Self
    where
        Me: Measure<Message> + Clone + Send + 'static,
        G: ThrottleSignal<Message> + Clone + Send + 'static,
    {
        self.own.rate_limit = Some(slot(rate_limit));
        self
    }

    /// Replaces the layer that notices dead peers.
    pub fn health(mut self, health: HealthLayer) -> Self {
        self.layers.health = health;
        self
    }

    /// Has health ask a question of your protocol's, such as a ping in JSON, rather than by a
    /// WebSocket ping: one that reaches the application behind the server's front.
    pub fn probe<P>(mut self, probe: P) -> Self
    where
        P: Probe<Message> + Clone + Send + 'static,
    {
        self.own.probe = Some(Box::new(|health, below| erase(health.probe(probe).layer(below))));
        self
    }

    /// Adds a layer below health: it acts on each connection anew. The one added first is the
    /// outermost.
    ///
    /// This is the place of a dialogue that opens each connection
    /// ([`OpeningLayer`](tower_ws_core::OpeningLayer)).
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Dial> + Send + 'static,
        L::Service: Service<http::Request<()>, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
        <L::Service as Service<http::Request<()>>>::Response: Connection<Message = Message> + Send + 'static,
    {
        self.own.below.push_back(slot(layer));
        self
    }

    /// The same, around those that were added before.
    #[cfg(feature = "mcp")]
    pub(crate) fn outermost<L>(mut self, layer: L) -> Self
    where
        L: Layer<Dial> + Send + 'static,
        L::Service: Service<http::Request<()>, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
        <L::Service as Service<http::Request<()>>>::Response: Connection<Message = Message> + Send + 'static,
    {
        self.own.below.push_front(slot(layer));
        self
    }

    /// Shows credentials in each handshake. The [table](Self::dispositions) of this builder becomes
    /// that of the layer's [`Credentials`], and so of all their clones.
    #[cfg(feature = "auth")]
    pub fn auth(mut self, auth: AuthLayer) -> Self {
        self.credentials.push(auth.credentials().clone());
        self.layer(auth)
    }

    /// Shows a token in each handshake: `Authorization: Bearer …`. The short form of
    /// [`auth`](Self::auth).
    #[cfg(feature = "auth")]
    pub fn bearer(self, credentials: Credentials) -> Self {
        self.auth(AuthLayer::bearer(credentials))
    }

    /// Replaces the transport.
    pub fn transport(mut self, transport: TransportLayer) -> Self {
        self.transport = transport;
        self
    }

    /// Replaces what frames below the [transport](Self::transport): `sockudo::Sockudo`, behind a
    /// feature, can compress. Default [`Tungstenite`](tower_ws_transport::Tungstenite).
    pub fn framing<F>(mut self, framing: F) -> Self
    where
        F: Framing + Clone + Send + Sync + 'static,
    {
        self.own.framing = Some(Box::new(|transport, connector| {
            erase(transport.framing(framing).layer(connector))
        }));
        self
    }

    /// Replaces what dials: other roots, a client certificate, pins, a proxy, another guard of
    /// addresses ([`Connect`](tower_ws_connector::Connect)); or a connector of your own, with the
    /// guard that you put around it.
    pub fn connector<C>(mut self, connector: C) -> Self
    where
        C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
        C::Response: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        self.own.connector = Some(erase_connector(connector));
        self
    }

    /// Dials through the proxies that the environment names: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`
    /// and so on ([`Proxies::from_env`]). For other settings: [`connector`](Self::connector).
    ///
    /// # Errors
    ///
    /// [`ProxySettingError`]: a variable that would be used is no proxy's URL.
    #[cfg(feature = "tls")]
    pub fn proxy_from_env(self) -> Result<Self, ProxySettingError> {
        let proxies = Proxies::from_env()?;
        Ok(self.connector(Connect::new().through(proxies)))
    }

    /// Whether each handshake has something in it that says who we are.
    pub(crate) fn shows_credentials(&self) -> bool {
        let headers = self.request.headers_ref();
        let header = headers.is_some_and(|headers| headers.contains_key("authorization"));
        #[cfg(feature = "auth")]
        let header = header || !self.credentials.is_empty();
        header
    }

    /// Connects. See [`connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<(Client, Inbound), ConnectError> {
        crate::assemble::calls(self)?.await.map_err(ConnectError)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address nor the headers: both can hold secrets.
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("layers", &self.layers)
            .field("fallbacks", &self.fallbacks.len())
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
