use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::BoxError;

use super::{Proxied, Proxies, ProxyLayer};
use crate::{
    connect::Connector,
    guard::{Checked, Guard, GuardLayer, Profile},
    tcp::TcpConnector,
};

/// Goes through a proxy or directly, each with its guard.
/// [`Connect::through`](crate::Connect::through) makes it.
///
/// Directly, the guard judges the address that is dialled. Through a proxy it judges the URL above
/// the tunnel, and the proxy's address below.
#[derive(Clone, Debug)]
pub struct Routed {
    proxies: Proxies,
    direct: TcpConnector,
    tunnel: Guard<Proxied<Connector, Checked>>,
}

/// The future of [`Routed`]. Boxed: the two ways have futures of their own, and are gone once per
/// connection.
#[must_use = "futures do nothing unless polled"]
pub struct Routing(Pin<Box<dyn Future<Output = Result<Way, BoxError>> + Send>>);

/// A stream of TCP, or of TLS with a proxy by an `https` URL.
type Way = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Routed {
    pub(crate) fn new(proxies: Proxies, direct: TcpConnector, to_proxy: Connector, profile: Profile) -> Self {
        let proxied = ProxyLayer::new(proxies.clone()).resolver(Checked::system(profile.clone()));
        Self {
            proxies,
            direct,
            tunnel: GuardLayer::new(profile).layer(proxied.layer(to_proxy)),
        }
    }
}

impl Service<Uri> for Routed {
    type Response = Way;
    type Error = BoxError;
    type Future = Routing;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Which way it will be is not known yet.
        ready!(self.direct.poll_ready(cx))?;
        self.tunnel.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Routing {
        if self.proxies.are_for(&uri) {
            return Routing(Box::pin(self.tunnel.call(uri)));
        }
        let dial = self.direct.call(uri);
        Routing(Box::pin(async move { Ok(MaybeHttpsStream::Http(dial.await?)) }))
    }
}

impl Future for Routing {
    type Output = Result<Way, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routing").finish_non_exhaustive()
    }
}
