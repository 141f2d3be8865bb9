use std::fmt;

#[cfg(feature = "tls")]
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
#[cfg(feature = "tls")]
use rustls::ClientConfig;

use crate::{
    guard::{Guard, Profile},
    tcp::{BoundUnsent, TcpConnector, unguarded_tcp_connector},
};
#[cfg(feature = "tls")]
use crate::{
    proxy::{Proxies, Routed},
    tls::Tls,
};

/// TCP, [guarded](crate::guard), and TLS for `wss`. [`Connect`] makes it.
#[cfg(feature = "tls")]
pub type Connector = HttpsConnector<TcpConnector>;

/// The same, through [proxies](crate::proxy) where they are wanted.
#[cfg(feature = "tls")]
pub type ProxiedConnector = HttpsConnector<Routed>;

/// Makes connectors: where may be dialled, whom to trust, through which proxy.
///
/// ```
/// # #[cfg(feature = "tls")]
/// # fn connector() -> Result<(), tower_ws_core::BoxError> {
/// use tower_ws_connector::{Connect, guard::Profile, proxy::Proxies, tls::{Tls, Version}};
///
/// // A server of our own, behind the proxy that the environment names.
/// let connector = Connect::new()
///     .guard(Profile::untrusted().allow_host("tools.corp.example").allow_port(8443))
///     .tls(Tls::new().min_version(Version::V1_3))
///     .through(Proxies::from_env()?);
/// # drop(connector); Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Connect {
    profile: Profile,
    #[cfg(feature = "tls")]
    tls: Option<ClientConfig>,
}

impl Connect {
    /// The defaults: guarded for a URL that the operator chose ([`Profile::operator`]), Mozilla's
    /// roots, TLS 1.2 and 1.3.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where may be dialled.
    #[must_use]
    pub fn guard(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Sets whom to trust, and as whom to come: a [`Tls`](crate::tls::Tls), or a configuration of
    /// rustls.
    ///
    /// ALPN becomes `http/1.1` if the configuration names no protocol.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: impl Into<ClientConfig>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// A connector for plain TCP: `ws` only.
    pub fn tcp(&self) -> TcpConnector {
        Guard::new(self.profile.clone(), GaiResolver::new(), |resolver| {
            BoundUnsent::new(unguarded_tcp_connector(resolver))
        })
    }

    /// A connector for `ws` and `wss` that dials directly.
    #[cfg(feature = "tls")]
    pub fn connector(&self) -> Connector {
        self.over(self.below_tls())
    }

    /// A connector for `ws` and `wss` that goes through proxies where these say so.
    ///
    /// The guard judges the target before the proxy hears of it, but not what a name resolves to:
    /// that only the proxy knows. The proxy's own address is judged as one that the operator chose.
    /// A proxy by an `https` URL is met with the default TLS, so that a client certificate for the
    /// target is never shown to it; for others, put [`ProxyLayer`](crate::proxy::ProxyLayer) over a
    /// connector of your own, and [`over`](Self::over) on top.
    #[cfg(feature = "tls")]
    pub fn through(&self, proxies: Proxies) -> ProxiedConnector {
        let to_proxy = Self::new().guard(Profile::operator().allow_plaintext()).connector();
        self.over(Routed::new(proxies, self.below_tls(), to_proxy, self.profile.clone()))
    }

    /// TLS for `wss` over a connector of your own, which has the guard that you put around it.
    #[cfg(feature = "tls")]
    pub fn over<C>(&self, connector: C) -> HttpsConnector<C> {
        let mut tls = self.tls.clone().unwrap_or_else(|| Tls::new().config());
        if tls.alpn_protocols.is_empty() {
            tls.alpn_protocols.push(b"http/1.1".to_vec());
        }
        HttpsConnector::from((connector, tls))
    }

    #[cfg(feature = "tls")]
    fn below_tls(&self) -> TcpConnector {
        Guard::new(self.profile.clone(), GaiResolver::new(), |resolver| {
            let mut tcp = unguarded_tcp_connector(resolver);
            // From here on `https` is not its business, but that of the layer around it.
            tcp.enforce_http(false);
            BoundUnsent::new(tcp)
        })
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}
