//! The WebSocket handshake, as a service over any connector.

mod answer;
mod dial;
mod error;
mod request;
mod secrets;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::rt;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_connector::Trace;
use tower_ws_core::BoxError;

pub(crate) use self::secrets::Secrets;
pub use self::{
    answer::Subprotocols,
    error::{Refusal, UpgradeError},
};
use crate::{
    framing::{Framing, Tungstenite},
    limits::Limits,
};

/// Layers [`Upgrade`] over a connector.
///
/// See the [crate docs](crate) for an example.
#[derive(Clone, Debug)]
pub struct UpgradeLayer<F = Tungstenite> {
    settings: Arc<Settings<F>>,
}

/// Opens WebSockets over the byte streams of a connector: [RFC 6455, section
/// 4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1).
///
/// The connector is any `Service<Uri>` in the manner of hyper-util, whose streams implement hyper's
/// `Read` and `Write`; [`TokioIo`](hyper_util::rt::TokioIo) makes them of tokio's. It sees `http`
/// for `ws` and `https` for `wss`.
///
/// The request is a `GET` for a `ws` or `wss` URL. Its headers go along, and so do the subprotocols
/// in its `sec-websocket-protocol`, after the layer's own. The headers that make the handshake
/// (`host`, `connection`, `upgrade`, and the other `sec-websocket-*`) are set here; a request that
/// has one of them is an error, as is one whose URL holds credentials. The answer is checked in
/// full; what tungstenite's own client lets pass is not: an extension that nobody asked for, a
/// second `sec-websocket-accept`.
///
/// # Cancellation
///
/// Dropping the future drops the connection.
#[derive(Clone, Debug)]
pub struct Upgrade<C, F = Tungstenite> {
    connector: C,
    settings: Arc<Settings<F>>,
}

#[derive(Clone)]
struct Settings<F> {
    framing: F,
    host: Option<String>,
    subprotocols: Vec<String>,
    mode: Subprotocols,
    timeout: Duration,
    limits: Limits,
}

/// Subprotocols by number only: some peers take a token for one.
impl<F: fmt::Debug> fmt::Debug for Settings<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("framing", &self.framing)
            .field("host", &self.host)
            .field("subprotocols", &self.subprotocols.len())
            .field("mode", &self.mode)
            .field("timeout", &self.timeout)
            .field("limits", &self.limits)
            .finish()
    }
}

// === impl UpgradeLayer ===

impl UpgradeLayer {
    /// The default of [`timeout`](Self::timeout): 10 s, which is name, TCP, TLS and handshake over
    /// a bad mobile link, and not longer than a person waits.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The defaults: framing by tungstenite, no subprotocol, strict, [`TIMEOUT`](Self::TIMEOUT),
    /// the default [`Limits`].
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                framing: Tungstenite,
                host: None,
                subprotocols: Vec::new(),
                mode: Subprotocols::default(),
                timeout: Self::TIMEOUT,
                limits: Limits::default(),
            }),
        }
    }
}

impl<F: Clone> UpgradeLayer<F> {
    /// Sets what frames. Default [`Tungstenite`].
    #[must_use]
    pub fn framing<G>(self, framing: G) -> UpgradeLayer<G> {
        let settings = Arc::unwrap_or_clone(self.settings);
        UpgradeLayer {
            settings: Arc::new(Settings {
                framing,
                host: settings.host,
                subprotocols: settings.subprotocols,
                mode: settings.mode,
                timeout: settings.timeout,
                limits: settings.limits,
            }),
        }
    }

    /// Offers these subprotocols, the preferred one first.
    #[must_use]
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.edit().subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the header `host`, for a server that is known by another name than the URL's: that one is
    /// still what TLS checks, and what is dialled unless the connector has an
    /// [address](tower_ws_connector::Connect::address) of its own. Default: the URL's host, and its
    /// port if that is not the default one.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.edit().host = Some(host.into());
        self
    }

    /// Sets how the server's choice is judged. Default [`Subprotocols::Strict`].
    #[must_use]
    pub fn subprotocol_mode(mut self, mode: Subprotocols) -> Self {
        self.edit().mode = mode;
        self
    }

    /// Sets how long one dial may take in all, from the name to the last byte of the answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.edit().timeout = timeout;
        self
    }

    /// Sets the limits of the sockets.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.edit().limits = limits;
        self
    }

    fn edit(&mut self) -> &mut Settings<F> {
        Arc::make_mut(&mut self.settings)
    }
}

impl Default for UpgradeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, F> Layer<C> for UpgradeLayer<F> {
    type Service = Upgrade<C, F>;

    fn layer(&self, connector: C) -> Upgrade<C, F> {
        Upgrade {
            connector,
            settings: self.settings.clone(),
        }
    }
}

// === impl Upgrade ===

impl<C, F> Service<Request<()>> for Upgrade<C, F>
where
    C: Service<Uri>,
    C::Response: rt::Read + rt::Write + Unpin + Send + 'static,
    C::Error: Into<BoxError> + 'static,
    C::Future: Send + 'static,
    F: Framing + Send + Sync + 'static,
{
    type Response = Response<F::Socket<C::Response>>;
    type Error = UpgradeError;
    type Future = UpgradeFuture<F::Socket<C::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpgradeError>> {
        self.connector
            .poll_ready(cx)
            .map_err(|error| UpgradeError::connect(error.into(), "the server"))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let prepared = match request::prepare(
            request,
            self.settings.host.as_deref(),
            &self.settings.subprotocols,
            self.settings.framing.offer(),
        ) {
            Ok(prepared) => prepared,
            Err(failure) => {
                let error = Err(UpgradeError::Request(failure));
                return UpgradeFuture {
                    dial: Box::pin(std::future::ready(error)),
                };
            }
        };
        let deadline = Instant::now() + self.settings.timeout.min(LONGEST);
        // The connector that is ready is the one that is called; nothing of it has to outlive this.
        let trace = Trace::begin();
        let connecting = trace.enter(|| self.connector.call(prepared.dial.clone()));
        let dial = dial::dial(connecting, prepared, self.settings.clone(), deadline, trace);
        UpgradeFuture { dial: Box::pin(dial) }
    }
}

/// Far enough for "for ever", and no overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The future of [`Upgrade`], for sockets of type `W`.
///
/// It is boxed inside: a dial is a sequence of awaits over hyper's unnamed futures, and happens
/// once per connection.
#[must_use = "futures do nothing unless polled"]
pub struct UpgradeFuture<W> {
    dial: Pin<Box<dyn Future<Output = Result<Response<W>, UpgradeError>> + Send>>,
}

impl<W> Future for UpgradeFuture<W> {
    type Output = Result<Response<W>, UpgradeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.dial.as_mut().poll(cx)
    }
}

impl<W> fmt::Debug for UpgradeFuture<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeFuture").finish_non_exhaustive()
    }
}
