use std::{
    fmt,
    task::{Context, Poll},
};

use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_ws_ack::{Ack, AckLayer, JsonRpc};
use tower_ws_client::{Client, ClientLayer, Inbound, MakeClient, MakeFuture};
use tower_ws_connector::WsUrl;
use tower_ws_core::{BoxError, Connection, Failure};
use tower_ws_health::{Health, HealthLayer};
use tower_ws_messages::{MakeMessages, MessagesLayer};
use tower_ws_queue::{Queue, QueueLayer};
use tower_ws_reconnect::{Reconnect, ReconnectLayer};
use tower_ws_transport::{JsonText, Message};

#[cfg(not(feature = "metrics"))]
use self::uncounted::{Metrics, MetricsLayer};
use crate::error::ConnectError;
#[cfg(feature = "metrics")]
use tower_ws_metrics::{Metrics, MetricsLayer};

/// In the place of the metrics where they are turned off.
#[cfg(not(feature = "metrics"))]
mod uncounted {
    pub(crate) type Metrics<S> = S;

    #[derive(Clone, Debug)]
    pub(crate) struct MetricsLayer;

    impl MetricsLayer {
        pub(crate) fn session() -> Self {
            Self
        }

        pub(crate) fn connection() -> Self {
            Self
        }
    }

    impl<S> tower::Layer<S> for MetricsLayer {
        type Service = S;

        fn layer(&self, inner: S) -> S {
            inner
        }
    }
}

/// The recommended stack over connections of your own: another connector, another transport, layers
/// between.
///
/// `transport` is a service whose response is a [`Connection`](tower_ws_core::Connection) of
/// WebSocket [`Message`](crate::Message)s; its target has to be `Clone`, to be dialled again. The
/// stack is a service from that target to a [`Client`](crate::Client) and its
/// [`Inbound`](crate::Inbound).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
/// # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::json_rpc()).await?;
/// # let url = server.url();
/// use tower::{ServiceBuilder, ServiceExt};
/// use tower_ws::connector::tcp_connector;
/// use tower_ws::transport::TransportLayer;
///
/// // Plain TCP: a `wss` address is refused.
/// let transport = ServiceBuilder::new().layer(TransportLayer::new()).service(tcp_connector());
/// let (client, _inbound) = tower_ws::stack(transport).oneshot(http::Request::get(url).body(())?).await?;
/// let echoed: u32 = client.request("echo", &7).await?;
/// assert_eq!(echoed, 7);
/// # Ok(()) }
/// ```
pub fn stack<S>(transport: S) -> RecommendedStack<S> {
    let layers = Layers::default();
    let connections = layers.health.layer(transport);
    RecommendedStack(layers.calls(layers.links(connections)))
}

/// Connects by a stack that is spelled out, to a URL: what its top layer makes, such as a
/// [`Client`](crate::Client) and its [`Inbound`](crate::Inbound).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
/// # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::json_rpc()).await?;
/// # let url = server.url();
/// use tower_ws::prelude::*;
///
/// let stack = ServiceBuilder::new()
///     .layer(ClientLayer::new(JsonText))
///     .layer(ReconnectLayer::new())
///     .layer(HealthLayer::new())
///     .layer(TransportLayer::new())
///     .service(connector());
/// let (client, _inbound) = connect_by(stack, url).await?;
/// let echoed: u32 = client.request("echo", &7).await?;
/// assert_eq!(echoed, 7);
/// # Ok(()) }
/// ```
///
/// For headers, call the stack with an `http::Request<()>` of your own (`stack.oneshot(request)`).
/// Dropping the future ends the attempt.
///
/// # Errors
///
/// [`ConnectError`]: the address is none, the layers stand in an order that cannot work, or what the
/// stack says.
pub async fn connect_by<S>(stack: S, url: impl AsRef<str>) -> Result<S::Response, ConnectError>
where
    S: Service<http::Request<()>, Error: Into<BoxError>>,
{
    let url = WsUrl::parse(url.as_ref()).map_err(|error| ConnectError(Failure::from(error).into()))?;
    let mut request = http::Request::new(());
    *request.uri_mut() = url.uri().clone();
    stack.oneshot(request).await.map_err(|error| ConnectError(error.into()))
}

/// The service that [`stack`] gives, over the service of connections `S`. Which layers it is made
/// of is not part of its type.
#[derive(Clone)]
pub struct RecommendedStack<S>(Calls<Links<Health<S>>>);

impl<S, T> Service<T> for RecommendedStack<S>
where
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    S::Response: Connection<Message = Message> + Send + 'static,
    T: Clone + Send + 'static,
{
    type Response = (Client, Inbound);
    type Error = BoxError;
    type Future = MakeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> MakeFuture {
        self.0.call(target)
    }
}

impl<S> fmt::Debug for RecommendedStack<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecommendedStack").finish_non_exhaustive()
    }
}

/// Many connections below, one session above.
pub(crate) type Links<S> = Reconnect<Metrics<S>>;

/// Calls over a session.
pub(crate) type Calls<S> = MakeClient<Metrics<Queue<Ack<S, JsonRpc<JsonText>>>>, JsonText>;

/// The layers of the recommended stack.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    pub(crate) client: ClientLayer<JsonText>,
    pub(crate) session_metrics: MetricsLayer,
    pub(crate) queue: QueueLayer,
    pub(crate) ack: AckLayer<JsonRpc<JsonText>>,
    pub(crate) reconnect: ReconnectLayer,
    pub(crate) connection_metrics: MetricsLayer,
    pub(crate) health: HealthLayer,
}

/// Each place with its reason; which orders cannot work is in [`WrongOrder`](tower_ws_core::WrongOrder).
impl Layers {
    /// JSON-RPC calls.
    pub(crate) fn calls<S>(&self, session: S) -> Calls<S> {
        ServiceBuilder::new()
            // calls in, replies out; on top, so that it sees the whole session
            .layer(&self.client)
            // counts what the application sees; right below it, so that it sees what queue and ack
            // give up
            .layer(&self.session_metrics)
            // holds what was accepted while the link is down; above ack, so that what is sent again
            // goes first
            .layer(&self.queue)
            // keeps what was sent until it is answered; above reconnect, since it outlives
            // connections
            .layer(&self.ack)
            // what stands is said by a layer here, if there is one: before what ack sends again
            .service(session)
    }

    /// Plain messages. Nothing is acknowledged, so nothing is kept to be sent again.
    pub(crate) fn messages<S>(
        &self,
        messages: MessagesLayer<Message>,
        session: S,
    ) -> MakeMessages<Metrics<Queue<S>>, Message> {
        ServiceBuilder::new()
            .layer(messages)
            .layer(&self.session_metrics)
            .layer(&self.queue)
            .service(session)
    }

    /// What makes a session of connections.
    pub(crate) fn links<S>(&self, connections: S) -> Links<S> {
        ServiceBuilder::new()
            // above it a session lives across drops, below it everything is per connection
            .layer(&self.reconnect)
            // counts what the network sees; below reconnect, so that each dial counts
            .layer(&self.connection_metrics)
            // here, of those that are there: failover, which passes over endpoints that failed, above all
            // that an endpoint can be blamed for; then a rate limit, above health, so that probes wait
            // for no turn; then health, which ends a connection whose peer is dead; then what each
            // connection begins with, the transport and its connector
            .service(connections)
    }
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            client: ClientLayer::new(JsonText),
            session_metrics: MetricsLayer::session(),
            queue: QueueLayer::new(),
            ack: AckLayer::new(JsonRpc::new(JsonText)),
            reconnect: ReconnectLayer::new(),
            connection_metrics: MetricsLayer::connection(),
            health: HealthLayer::new(),
        }
    }
}
