use std::fmt;

use http::uri::Authority;

use hyper_util::client::legacy::connect::dns::GaiResolver;
#[cfg(feature = "tls")]
use rustls::ClientConfig;

use crate::{
    guard::{Guard, Profile},
    tcp::{BoundUnsent, Elsewhere, TcpConnector, unguarded_tcp_connector},
    url::UrlError,
};
#[cfg(feature = "tls")]
use crate::{
    proxy::{Proxies, Routed},
    tls::{Source, TlsConnector, TlsError, TlsFiles},
};

/// TCP, [guarded](crate::guard), and TLS for `wss`. [`Connect`] makes it.
#[cfg(feature = "tls")]
pub type Connector = TlsConnector<TcpConnector>;

/// The same, through [proxies](crate::proxy) where they are wanted.
#[cfg(feature = "tls")]
pub type ProxiedConnector = TlsConnector<Routed>;

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
    address: Option<Authority>,
    #[cfg(feature = "tls")]
    tls: Option<Source>,
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

    /// Sets which address is dialled, whatever the URL says: host and port, as in `10.0.0.7:8443`. The
    /// URL's host is then what the server is called: by TLS and in the header `host`
    /// (`TransportLayer::host` says another one there). Not through a proxy, which is told the URL's
    /// host. A `ws` URL of this machine is not dialled at another: see
    /// [plaintext](crate::guard#plaintext). Default: the URL's.
    ///
    /// # Errors
    ///
    /// [`UrlError::Invalid`], if it is no host with a port.
    pub fn address(mut self, address: &str) -> Result<Self, UrlError> {
        let authority: Authority = address.parse().map_err(|_| UrlError::Invalid)?;
        if authority.port_u16().is_none() || address.contains('@') {
            return Err(UrlError::Invalid);
        }
        self.address = Some(authority);
        Ok(self)
    }

    /// Sets whom to trust, and as whom to come: a [`Tls`](crate::tls::Tls), or a configuration of
    /// rustls.
    ///
    /// ALPN becomes `http/1.1` if the configuration names no protocol.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: impl Into<ClientConfig>) -> Self {
        self.tls = Some(Source::fixed(tls.into()));
        self
    }

    /// The same from files, which are read again when they change: certificates that somebody
    /// renews.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or not be used, now.
    #[cfg(feature = "tls")]
    pub fn tls_files(mut self, files: TlsFiles) -> Result<Self, TlsError> {
        self.tls = Some(Source::files(files)?);
        Ok(self)
    }

    /// A connector for plain TCP: `ws` only.
    pub fn tcp(&self) -> TcpConnector {
        let guard = Guard::new(self.profile.clone(), GaiResolver::new(), |resolver| {
            BoundUnsent::new(unguarded_tcp_connector(resolver))
        });
        Elsewhere::new(guard, self.address.clone(), self.profile.clone())
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
    pub fn over<C>(&self, connector: C) -> TlsConnector<C> {
        let tls = self.tls.clone().unwrap_or_else(Source::defaults);
        TlsConnector::new(connector, tls)
    }

    #[cfg(feature = "tls")]
    fn below_tls(&self) -> TcpConnector {
        let guard = Guard::new(self.profile.clone(), GaiResolver::new(), |resolver| {
            let mut tcp = unguarded_tcp_connector(resolver);
            // From here on `https` is not its business, but that of the layer around it.
            tcp.enforce_http(false);
            BoundUnsent::new(tcp)
        });
        Elsewhere::new(guard, self.address.clone(), self.profile.clone())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}
