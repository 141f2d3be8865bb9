use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper_util::client::legacy::connect::{
    HttpConnector,
    dns::{GaiResolver, Name},
};
use pin_project::pin_project;
use tower_service::Service;
use tower_ws_core::{BoxError, Excerpt, Failure, FailureKind};

use crate::{
    connect::Connect,
    guard::{Checked, Guard},
};

pub use self::{
    elsewhere::Elsewhere,
    unsent::{BoundUnsent, Bounding},
};

mod elsewhere;
mod unsent;

/// How long IPv6 may take before IPv4 is tried beside it: 250 ms, the recommendation of
/// [RFC 8305, section 5](https://www.rfc-editor.org/rfc/rfc8305#section-5).
const HAPPY_EYEBALLS: Duration = Duration::from_millis(250);

/// How long all addresses of one family may take together: half of the default for a whole dial.
/// hyper-util gives each its share, so one that swallows packets does not use up the time of the
/// others.
const CONNECT: Duration = Duration::from_secs(5);

/// After so much silence the system asks whether the peer's machine is still there: less than what
/// common NATs forget connections after.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// TCP, [guarded](crate::guard), with little that is [unsent](BoundUnsent).
pub type TcpConnector = Elsewhere<Guard<BoundUnsent<HttpConnector<Checked>>>>;

/// A connector for plain TCP: `ws` only.
///
/// Guarded for URLs that the operator chose
/// ([`Profile::operator`](crate::guard::Profile::operator)): `ws` to loopback only, and nothing to
/// metadata services. Happy eyeballs after 250 ms, TCP within 5 s, `TCP_NODELAY` (batching is the
/// business of those above), keep-alive after 60 s, at most 16 KiB [unsent](BoundUnsent); names are resolved by the system, anew on each
/// dial. It refuses `wss` rather than speak plaintext.
pub fn tcp_connector() -> TcpConnector {
    Connect::new().tcp()
}

/// What is innermost in [`tcp_connector`], **without its guard**: to be changed before
/// [`BoundUnsent`] and [`Guard::new`] are put around it, or for a resolver of your own.
///
/// ```
/// use hyper_util::client::legacy::connect::dns::GaiResolver;
/// use tower_ws_connector::{BoundUnsent, guard::{Guard, Profile}, unguarded_tcp_connector};
///
/// let connector = Guard::new(Profile::operator(), GaiResolver::new(), |resolver| {
///     let mut tcp = unguarded_tcp_connector(resolver);
///     tcp.set_keepalive(None);
///     BoundUnsent::new(tcp)
/// });
/// ```
pub fn unguarded_tcp_connector<R>(resolver: R) -> HttpConnector<R> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS));
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE));
    connector
}

/// The default connector: [`tcp_connector`] with its guard, and for `wss` TLS 1.2 and 1.3 with
/// Mozilla's roots and ALPN `http/1.1`. [`Connect`](crate::Connect) makes others.
///
/// All of them share one TLS configuration, and so the sessions: a redial resumes.
#[cfg(feature = "tls")]
pub fn connector() -> crate::Connector {
    crate::Connect::new().connector()
}

/// A resolver whose errors are classified as [`FailureKind::Dns`]; by default around the system's.
#[derive(Clone, Debug)]
pub struct Resolver<R = GaiResolver> {
    inner: R,
}

impl<R> Resolver<R> {
    /// Classifies the errors of `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(GaiResolver::new())
    }
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Error: Into<BoxError>>,
{
    type Response = R::Response;
    type Error = Failure;
    type Future = Resolving<R::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner
            .poll_ready(cx)
            .map_err(|error| Failure::new(FailureKind::Dns, "the resolver is not available").with_source(error))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let text = name.as_str().to_owned();
        Resolving {
            inner: self.inner.call(name),
            name: text,
        }
    }
}

/// The future of [`Resolver`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Resolving<F> {
    #[pin]
    inner: F,
    name: String,
}

impl<F, A, E> Future for Resolving<F>
where
    F: Future<Output = Result<A, E>>,
    E: Into<BoxError>,
{
    type Output = Result<A, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(ready!(this.inner.poll(cx)).map_err(|error| {
            let message = format!("could not resolve the name {}", Excerpt::new(this.name));
            Failure::new(FailureKind::Dns, message).with_source(error)
        }))
    }
}
