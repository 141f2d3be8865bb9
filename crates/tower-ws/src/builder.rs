use std::{fmt, sync::Once, time::Duration};

use tokio::runtime::Handle;
use tower::{
    Layer, Service, ServiceExt,
    layer::util::{Identity, Stack},
};
use tower_ws_ack::{AckLayer, JsonRpc};
use tower_ws_auth::{AuthLayer, Credentials};
use tower_ws_client::{Client, ClientLayer, Inbound, Lag};
use tower_ws_connector::{
    Connect, Connector, ProxiedConnector, WsUrl, connector,
    proxy::{Proxies, ProxySettingError},
};
use tower_ws_core::{BoxError, Connection, DispositionTable, Failure, FailureKind, Length, find};
use tower_ws_health::{Health, HealthLayer};
use tower_ws_messages::{Events, MessagesLayer, Sender};
use tower_ws_queue::QueueLayer;
use tower_ws_rate_limit::RateLimitLayer;
use tower_ws_reconnect::{FailoverLayer, ReconnectLayer, Targets};
use tower_ws_transport::{JsonText, Message, Refusal, Transport, TransportLayer};

use crate::stack::Layers;

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
        layers: Layers::default(),
        below: Identity::new(),
        rate_limit: Identity::new(),
        transport: TransportLayer::new(),
        connector: connector(),
        is_direct: true,
        dispositions: None,
        credentials: Vec::new(),
        label: None,
    }
}

/// The recommended stack, before it connects. See [`builder`].
#[must_use = "a builder does nothing until it connects"]
pub struct Builder<L = Identity, C = Connector, R = Identity> {
    url: String,
    request: http::request::Builder,
    fallbacks: Vec<String>,
    layers: Layers,
    below: L,
    rate_limit: R,
    transport: TransportLayer,
    connector: C,
    /// The connector is the default one, which uses no proxy.
    is_direct: bool,
    dispositions: Option<DispositionTable>,
    credentials: Vec<Credentials>,
    label: Option<String>,
}

impl<L, C, R> Builder<L, C, R> {
    /// Adds an endpoint of the same service, to be dialled when those before it fail
    /// ([`FailoverLayer`]).
    ///
    /// The [headers](Self::header) go to each of them: all have to be trusted alike. So do
    /// [credentials](Self::auth), unless they are made [per endpoint](Credentials::per_endpoint).
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.fallbacks.push(url.into());
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

    /// Names the session in logs: every event of its layers stands in a span `session` with this
    /// `label`, and with `server`, the host and port of its addresses. Default: none.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a label to every metric of this session, to tell sessions of one process apart:
    /// `("server", "orders")`. Take the value from the configuration, never from an address or an
    /// id ([`MetricsLayer::label`](tower_ws_metrics::MetricsLayer::label)).
    ///
    /// The stack counts and measures in any case; the numbers go to the recorder of the
    /// [`metrics`](tower_ws_metrics) facade that is installed when it connects, or nowhere.
    pub fn metrics_label(mut self, key: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.layers.session_metrics = self.layers.session_metrics.label(key, value.clone());
        self.layers.connection_metrics = self.layers.connection_metrics.label(key, value);
        self
    }

    /// Replaces the layer that holds messages while the link is down or slow.
    pub fn queue(mut self, queue: QueueLayer) -> Self {
        self.layers.queue = queue;
        self
    }

    /// Replaces the layer that sends again what is safe to. The default takes the reading methods
    /// of MCP for safe ([`JsonRpc::SAFE_METHODS`]), and what a
    /// [`Request`](tower_ws_client::Request) declares to be.
    pub fn ack(mut self, ack: AckLayer<JsonRpc<JsonText>>) -> Self {
        self.layers.ack = ack;
        self
    }

    /// Replaces the layer that redials.
    pub fn reconnect(mut self, reconnect: ReconnectLayer) -> Self {
        self.layers.reconnect = reconnect;
        self
    }

    /// Judges each failure by this table, wherever one is judged: by reconnect, by failover between
    /// [fallbacks](Self::fallback), and by [auth](Self::auth), which throws refused credentials
    /// away. Default: [the documented one](tower_ws_core::Disposition).
    ///
    /// It counts also where a [reconnect layer](Self::reconnect) has a table of its own.
    pub fn dispositions(mut self, table: DispositionTable) -> Self {
        self.dispositions = Some(table);
        self
    }

    /// Shows credentials in each handshake. The [table](Self::dispositions) of this builder becomes
    /// that of the layer's [`Credentials`], and so of all their clones.
    pub fn auth(mut self, auth: AuthLayer) -> Builder<Stack<AuthLayer, L>, C, R> {
        self.credentials.push(auth.credentials().clone());
        self.layer(auth)
    }

    /// Shows a token in each handshake: `Authorization: Bearer …`. The short form of
    /// [`auth`](Self::auth).
    pub fn bearer(self, credentials: Credentials) -> Builder<Stack<AuthLayer, L>, C, R> {
        self.auth(AuthLayer::bearer(credentials))
    }

    /// Replaces the layer that notices dead peers.
    pub fn health(mut self, health: HealthLayer) -> Self {
        self.layers.health = health;
        self
    }

    /// Replaces the transport.
    pub fn transport(mut self, transport: TransportLayer) -> Self {
        self.transport = transport;
        self
    }

    /// Adds a layer below reconnect: it acts on each connection anew. The one added first is the
    /// outermost.
    ///
    /// This is the place of a dialogue that opens each connection
    /// ([`OpeningLayer`](tower_ws_core::OpeningLayer)).
    pub fn layer<N>(self, layer: N) -> Builder<Stack<N, L>, C, R> {
        self.below(|below| Stack::new(layer, below))
    }

    /// The same, around those that were added before.
    pub(crate) fn outermost<N>(self, layer: N) -> Builder<Stack<L, N>, C, R> {
        self.below(|below| Stack::new(below, layer))
    }

    fn below<M>(self, change: impl FnOnce(L) -> M) -> Builder<M, C, R> {
        Builder {
            url: self.url,
            request: self.request,
            fallbacks: self.fallbacks,
            layers: self.layers,
            below: change(self.below),
            rate_limit: self.rate_limit,
            transport: self.transport,
            connector: self.connector,
            is_direct: self.is_direct,
            dispositions: self.dispositions,
            credentials: self.credentials,
            label: self.label,
        }
    }

    /// Replaces what dials: other roots, a client certificate, pins, a proxy, another guard of
    /// addresses ([`Connect`](tower_ws_connector::Connect)); or a connector of your own, with the
    /// guard that you put around it.
    pub fn connector<D>(self, connector: D) -> Builder<L, D, R> {
        Builder {
            url: self.url,
            request: self.request,
            fallbacks: self.fallbacks,
            layers: self.layers,
            below: self.below,
            rate_limit: self.rate_limit,
            transport: self.transport,
            connector,
            is_direct: false,
            dispositions: self.dispositions,
            credentials: self.credentials,
            label: self.label,
        }
    }

    /// Dials through the proxies that the environment names: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`
    /// and so on ([`Proxies::from_env`]). For other settings: [`connector`](Self::connector).
    ///
    /// # Errors
    ///
    /// [`ProxySettingError`]: a variable that would be used is no proxy's URL.
    pub fn proxy_from_env(self) -> Result<Builder<L, ProxiedConnector, R>, ProxySettingError> {
        let proxies = Proxies::from_env()?;
        Ok(self.connector(Connect::new().through(proxies)))
    }

    /// Holds back dials, messages and bytes, and ends floods: in its right place, above health, so
    /// that no probe waits for a turn. Default: nothing is held back.
    pub fn rate_limit<G>(self, rate_limit: RateLimitLayer<Length, G>) -> Builder<L, C, RateLimitLayer<Length, G>> {
        Builder {
            url: self.url,
            request: self.request,
            fallbacks: self.fallbacks,
            layers: self.layers,
            below: self.below,
            rate_limit,
            transport: self.transport,
            connector: self.connector,
            is_direct: self.is_direct,
            dispositions: self.dispositions,
            credentials: self.credentials,
            label: self.label,
        }
    }

    /// Connects. See [`connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<(Client, Inbound), ConnectError>
    where
        L: Layer<Transport<C>>,
        R: Layer<Health<L::Service>>,
        R::Service: Service<http::Request<()>, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
        <R::Service as Service<http::Request<()>>>::Response: Connection<Message = Message> + Send + 'static,
    {
        let label = self.label.clone();
        let ready = self.prepare()?;
        let mut layers = ready.layers;
        layers.client = layers.client.server(ready.server);
        if let Some(label) = label {
            layers.client = layers.client.label(label);
        }
        let connected = match ready.fallbacks.is_empty() {
            true => {
                let stack = layers.calls(Identity::new(), ready.rate_limit, ready.transport);
                stack.oneshot(ready.request).await
            }
            false => {
                let targets = Targets::new(ready.request, ready.fallbacks);
                let stack = layers.calls(ready.failover, ready.rate_limit, ready.transport);
                stack.oneshot(targets).await
            }
        };
        connected.map_err(ConnectError)
    }

    /// Connects for plain messages.
    pub(crate) async fn connect_messages(
        self,
        mut messages: MessagesLayer<Message>,
    ) -> Result<(Sender<Message>, Events<Message>), ConnectError>
    where
        L: Layer<Transport<C>>,
        R: Layer<Health<L::Service>>,
        R::Service: Service<http::Request<()>, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
        <R::Service as Service<http::Request<()>>>::Response: Connection<Message = Message> + Send + 'static,
    {
        let label = self.label.clone();
        let ready = self.prepare()?;
        let layers = ready.layers;
        messages = messages.server(ready.server);
        if let Some(label) = label {
            messages = messages.label(label);
        }
        let connected = match ready.fallbacks.is_empty() {
            true => {
                let stack = layers.messages(messages, Identity::new(), ready.rate_limit, ready.transport);
                stack.oneshot(ready.request).await
            }
            false => {
                let targets = Targets::new(ready.request, ready.fallbacks);
                let stack = layers.messages(messages, ready.failover, ready.rate_limit, ready.transport);
                stack.oneshot(targets).await
            }
        };
        connected.map_err(ConnectError)
    }

    /// All that is the same for each kind of session.
    fn prepare(mut self) -> Result<Ready<L::Service, R>, ConnectError>
    where
        L: Layer<Transport<C>>,
    {
        if Handle::try_current().is_err() {
            let failure = Failure::new(
                FailureKind::Usage,
                "there is no tokio runtime: call `connect` within one, as under `#[tokio::main]`",
            );
            return Err(ConnectError(failure.into()));
        }
        let mut failover = FailoverLayer::new();
        if let Some(table) = self.dispositions {
            self.layers.reconnect = self.layers.reconnect.dispositions(table.clone());
            failover = failover.dispositions(table.clone());
            for credentials in self.credentials {
                let _ = credentials.dispositions(table.clone());
            }
        }
        let blank = self.request.body(()).map_err(|error| ConnectError(error.into()))?;
        let to = |url: &String| {
            let mut request = blank.clone();
            let url = WsUrl::parse(url).map_err(|error| ConnectError(Failure::from(error).into()))?;
            *request.uri_mut() = url.uri().clone();
            Ok(request)
        };
        let request = to(&self.url)?;
        if self.is_direct {
            warn_of_unused_proxy(request.uri());
        }
        let fallbacks: Vec<_> = self.fallbacks.iter().map(to).collect::<Result<_, _>>()?;
        let hosts = std::iter::once(&request).chain(&fallbacks);
        let hosts: Vec<_> = hosts.filter_map(|to| Some(to.uri().authority()?.as_str())).collect();
        Ok(Ready {
            server: hosts.join(", "),
            transport: self.below.layer(self.transport.layer(self.connector)),
            layers: self.layers,
            failover,
            rate_limit: self.rate_limit,
            request,
            fallbacks,
        })
    }
}

/// A builder whose settings are checked.
struct Ready<S, R> {
    layers: Layers,
    failover: FailoverLayer,
    rate_limit: R,
    /// What is below health.
    transport: S,
    /// Host and port of each endpoint.
    server: String,
    request: http::Request<()>,
    fallbacks: Vec<http::Request<()>>,
}

impl<L, C, R> fmt::Debug for Builder<L, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address nor the headers: both can hold secrets.
        f.debug_struct("Builder")
            .field("layers", &self.layers)
            .field("fallbacks", &self.fallbacks.len())
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// Somebody set a proxy for this address and may take it for used. Said once.
fn warn_of_unused_proxy(address: &http::Uri) {
    static SAID: Once = Once::new();
    // What cannot be read is no proxy either.
    if Proxies::from_env().is_ok_and(|proxies| proxies.are_for(address)) {
        SAID.call_once(|| {
            tracing::warn!(
                "the environment names a proxy, which is not used: give the builder \
                 `Connect::new().through(Proxies::from_env()?)` to use it, or `connector()` to say that it is meant"
            );
        });
    }
}

/// No session could be had, and what [`failure`](Self::failure) says of it. The sources say where it
/// happened, from the outermost layer inwards.
#[derive(Debug, thiserror::Error)]
#[error("could not connect: {}", self.failure())]
pub struct ConnectError(#[source] BoxError);

impl ConnectError {
    /// What the server answered, if it refused: status, headers, the beginning of the body.
    pub fn refusal(&self) -> Option<&Refusal> {
        find(&*self.0)
    }

    /// Why, classified.
    pub fn failure(&self) -> Failure {
        find::<Failure>(&*self.0)
            .cloned()
            .unwrap_or_else(|| Failure::new(FailureKind::Local, "the cause has no classification"))
    }
}
