use std::{
    fmt,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt;
use hyper_util::{client::legacy::connect::dns::Name, rt::TokioIo};
use pin_project::pin_project;
use tokio::time::{Instant, timeout_at};
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Failure, FailureKind};

use super::{
    Proxies, ProxyError, Resolve, Server, Target, connect,
    server::Scheme,
    socks::{self, Place},
};
use crate::{tcp::Resolver, trace::Stage};

/// Layers [`Proxied`] over a connector.
///
/// See the [module docs](super) for examples.
#[derive(Clone, Debug)]
pub struct ProxyLayer<R = Resolver> {
    proxies: Proxies,
    timeout: Duration,
    resolver: R,
}

/// A connector that goes through proxies where its [`Proxies`] say so.
///
/// The connector below is asked for the way to the proxy, or else, if there is none for the target,
/// for the way to the target. Either way it gets the scheme `http`, an explicit port, and no path:
/// TLS with the target is made above, through the tunnel. Only for a proxy by an `https` URL it
/// gets `https`, and has to make TLS with the *proxy*, or refuse.
///
/// # Cancellation
///
/// Dropping the future drops the connection.
#[derive(Clone, Debug)]
pub struct Proxied<C, R = Resolver> {
    connector: C,
    proxies: Proxies,
    timeout: Duration,
    resolver: R,
}

// === impl ProxyLayer ===

impl ProxyLayer {
    /// The default of [`timeout`](Self::timeout): 8 s, which is less than the 10 s that the
    /// transport allows for a whole dial, so that a proxy that hangs is told from a server that
    /// does.
    pub const TIMEOUT: Duration = Duration::from_secs(8);

    /// Goes through these proxies, with the defaults: [`TIMEOUT`](Self::TIMEOUT), names for
    /// `socks5` resolved by the system.
    pub fn new(proxies: Proxies) -> Self {
        Self {
            proxies,
            timeout: Self::TIMEOUT,
            resolver: Resolver::default(),
        }
    }
}

impl<R> ProxyLayer<R> {
    /// Sets how long it may take until there is a tunnel, from the name of the proxy to its yes.
    ///
    /// What is not less than the time for the whole dial never shows.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets who resolves the targets' names for `socks5` proxies. No other proxy needs it: they are
    /// told the name.
    #[must_use]
    pub fn resolver<S>(self, resolver: S) -> ProxyLayer<S> {
        ProxyLayer {
            proxies: self.proxies,
            timeout: self.timeout,
            resolver,
        }
    }
}

impl<C, R: Clone> Layer<C> for ProxyLayer<R> {
    type Service = Proxied<C, R>;

    fn layer(&self, connector: C) -> Proxied<C, R> {
        Proxied {
            connector,
            proxies: self.proxies.clone(),
            timeout: self.timeout,
            resolver: self.resolver.clone(),
        }
    }
}

// === impl Proxied ===

impl<C, R> Service<Uri> for Proxied<C, R>
where
    C: Service<Uri>,
    C::Response: rt::Read + rt::Write + Unpin + Send + 'static,
    C::Error: Into<BoxError> + 'static,
    C::Future: Send + 'static,
    R: Resolve,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Proxying<C::Future, C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // What is no absolute URL, the connector may refuse in its own words.
        let Some(target) = Target::of(&uri) else {
            return Proxying::direct(self.connector.call(uri));
        };
        let Some(server) = self.proxies.choose(&uri, &target) else {
            return Proxying::direct(self.connector.call(target.plain().unwrap_or(uri)));
        };
        let connecting = self.connector.call(server.dial().clone());
        let deadline = Instant::now() + self.timeout.min(LONGEST);
        let dial = dial(connecting, server, target, self.resolver.clone(), deadline);
        Proxying {
            state: State::Tunnel(Box::pin(dial)),
        }
    }
}

/// Far enough for "for ever", and no overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

async fn dial<F, IO, E, R>(
    connecting: F,
    server: Arc<Server>,
    target: Target,
    resolver: R,
    deadline: Instant,
) -> Result<IO, BoxError>
where
    F: Future<Output = Result<IO, E>>,
    IO: rt::Read + rt::Write + Unpin + Send + 'static,
    E: Into<BoxError>,
    R: Resolve,
{
    let failed = |error: ProxyError| error.on_the_way(server.name(), &target);
    let tunnel = async {
        let place = place(&server, &target, resolver).await?;
        let io = connecting
            .await
            .map_err(|error| failed(ProxyError::unreachable(error.into(), server.name())))?;
        Stage::Proxy.note();
        let io = match place {
            None => connect::tunnel(io, &target, server.authorization()).await,
            Some(place) => {
                let mut io = TokioIo::new(io);
                socks::tunnel(&mut io, place, target.port(), server.user_and_password())
                    .await
                    .map(|()| io.into_inner())
            }
        }
        .map_err(failed)?;
        Stage::Tunnel.note();
        Ok(io)
    };
    let tunnel = timeout_at(deadline, tunnel).await;
    Ok(tunnel.unwrap_or_else(|_| Err(failed(ProxyError::Timeout)))?)
}

/// What a SOCKS proxy is told; nothing for an HTTP proxy, which is told the URL's host as it is.
async fn place<'a, R: Resolve>(server: &Server, target: &'a Target, resolver: R) -> Result<Option<Place<'a>>, Failure> {
    Ok(match (server.scheme(), target.address()) {
        (Scheme::Http | Scheme::Https, _) => None,
        (_, Some(address)) => Some(Place::Address(address)),
        (Scheme::Socks5h, None) => Some(Place::Name(target.host())),
        (Scheme::Socks5, None) => Some(resolve(target, resolver).await?),
    })
}

async fn resolve<R: Resolve>(target: &Target, mut resolver: R) -> Result<Place<'static>, Failure> {
    let unknown = || {
        Failure::new(
            FailureKind::Dns,
            format!("there is no address for the name in {target}"),
        )
    };
    let name: Name = target.host().parse().map_err(|error| unknown().with_source(error))?;
    poll_fn(|cx| resolver.poll_ready(cx)).await.map_err(Failure::of)?;
    let mut addresses: Vec<_> = resolver
        .call(name)
        .await
        .map_err(Failure::of)?
        .map(|address| address.ip())
        .collect();
    // One is all that a proxy can be told, and one without IPv6 is more common than one without
    // IPv4.
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.into_iter().next().map(Place::Address).ok_or_else(unknown)
}

/// The future of [`Proxied`].
///
/// The way through a proxy is boxed: it is a sequence of awaits over hyper's unnamed futures, and
/// happens once per connection.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Proxying<F, IO> {
    #[pin]
    state: State<F, IO>,
}

#[pin_project(project = StateProjection)]
enum State<F, IO> {
    Direct(#[pin] F),
    Tunnel(Pin<Box<dyn Future<Output = Result<IO, BoxError>> + Send>>),
}

impl<F, IO> Proxying<F, IO> {
    fn direct(connecting: F) -> Self {
        Self {
            state: State::Direct(connecting),
        }
    }
}

impl<F, IO, E> Future for Proxying<F, IO>
where
    F: Future<Output = Result<IO, E>>,
    E: Into<BoxError>,
{
    type Output = Result<IO, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Direct(connecting) => connecting.poll(cx).map_err(Into::into),
            StateProjection::Tunnel(dial) => dial.as_mut().poll(cx),
        }
    }
}

impl<F, IO> fmt::Debug for Proxying<F, IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxying").finish_non_exhaustive()
    }
}
