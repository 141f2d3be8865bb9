use std::fmt;

use tower::{
    Layer, Service, ServiceExt,
    layer::util::{Identity, Stack},
};
use tower_ws_ack::{AckLayer, JsonRpc};
use tower_ws_client::{Client, ClientLayer, Inbound};
use tower_ws_core::{BoxError, Connection, Failure, FailureKind, find};
use tower_ws_health::HealthLayer;
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::{Connector, Frames, JsonText, Message, Transport, TransportLayer, connector};

/// Connects by the recommended stack with its defaults. See the [crate docs](crate).
///
/// Resolves when the first connection is up. A server that is not there yet is waited for, as long as it takes: put a
/// `tokio::time::timeout` around it, or use [`Builder::reconnect`] with
/// [`fail_fast`](ReconnectLayer::fail_fast), if that is too long. Dropping the future ends the attempt.
///
/// # Errors
///
/// [`ConnectError`], when the address is none, or when trying again would not help: a certificate that is wrong, a
/// refusal for good.
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
    let url = url.as_ref();
    Builder {
        request: http::Request::get(url),
        client: ClientLayer::new(JsonText),
        queue: QueueLayer::new().measure(Frames),
        ack: AckLayer::new(JsonRpc::new(JsonText)).measure(Frames),
        reconnect: ReconnectLayer::new(),
        health: HealthLayer::new(Frames),
        below: Identity::new(),
        transport: TransportLayer::new(),
    }
}

/// The recommended stack, before it connects. See [`builder`].
#[must_use = "a builder does nothing until it connects"]
pub struct Builder<L = Identity> {
    request: http::request::Builder,
    client: ClientLayer<JsonText>,
    queue: QueueLayer<Frames>,
    ack: AckLayer<JsonRpc<JsonText>, Frames>,
    reconnect: ReconnectLayer,
    health: HealthLayer<Frames>,
    below: L,
    transport: TransportLayer,
}

impl<L> Builder<L> {
    /// Adds a header to each handshake.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Replaces the layer on top, which makes calls of messages.
    pub fn client(mut self, client: ClientLayer<JsonText>) -> Self {
        self.client = client;
        self
    }

    /// Replaces the layer that holds messages while the link is down or slow.
    pub fn queue(mut self, queue: QueueLayer<Frames>) -> Self {
        self.queue = queue;
        self
    }

    /// Replaces the layer that sends again what is safe to. The default takes the reading methods of MCP for safe
    /// ([`JsonRpc::SAFE_METHODS`]), and what a [`Request`](tower_ws_client::Request) declares to be.
    pub fn ack(mut self, ack: AckLayer<JsonRpc<JsonText>, Frames>) -> Self {
        self.ack = ack;
        self
    }

    /// Replaces the layer that redials.
    pub fn reconnect(mut self, reconnect: ReconnectLayer) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Replaces the layer that notices dead peers.
    pub fn health(mut self, health: HealthLayer<Frames>) -> Self {
        self.health = health;
        self
    }

    /// Replaces the transport.
    pub fn transport(mut self, transport: TransportLayer) -> Self {
        self.transport = transport;
        self
    }

    /// Adds a layer below reconnect: it acts on each connection anew. The one added first is the outermost.
    ///
    /// This is the place of a dialogue that opens each connection
    /// ([`ExchangeLayer`](tower_ws_core::ExchangeLayer)).
    pub fn layer<N>(self, layer: N) -> Builder<Stack<N, L>> {
        Builder {
            request: self.request,
            client: self.client,
            queue: self.queue,
            ack: self.ack,
            reconnect: self.reconnect,
            health: self.health,
            below: Stack::new(layer, self.below),
            transport: self.transport,
        }
    }

    /// Connects. See [`connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<(Client, Inbound), ConnectError>
    where
        L: Layer<Transport<Connector>>,
        L::Service: Service<http::Request<()>, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
        <L::Service as Service<http::Request<()>>>::Response: Connection<Message = Message> + Send + 'static,
    {
        let request = self.request.body(()).map_err(|error| ConnectError(error.into()))?;
        // Each place with its reason:
        let stack = tower::ServiceBuilder::new()
            // calls in, replies out; on top, so that it sees the whole session
            .layer(self.client)
            // holds what was accepted while the link is down; above ack, so that what is sent again goes first
            .layer(self.queue)
            // keeps what was sent until it is answered; above reconnect, since it outlives connections
            .layer(self.ack)
            // above it a connection lives across drops, below it everything is per connection
            .layer(self.reconnect)
            // ends a connection whose peer is dead; below reconnect, which does the rest
            .layer(self.health)
            // what each connection begins with, before anything that waits above may go
            .layer(self.below)
            // WebSocket, with its limits and deadlines
            .layer(self.transport)
            // TCP and TLS
            .service(connector());
        stack.oneshot(request).await.map_err(ConnectError)
    }
}

impl<L> fmt::Debug for Builder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address nor the headers: both can hold secrets.
        f.debug_struct("Builder")
            .field("client", &self.client)
            .field("reconnect", &self.reconnect)
            .field("health", &self.health)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// No session could be had. The sources say why, from the outermost layer inwards.
#[derive(Debug, thiserror::Error)]
#[error("could not connect")]
pub struct ConnectError(#[source] BoxError);

impl ConnectError {
    /// Why, classified.
    pub fn failure(&self) -> Failure {
        find::<Failure>(&*self.0)
            .cloned()
            .unwrap_or_else(|| Failure::new(FailureKind::Local, "the cause has no classification"))
    }
}
