use hyper_rustls::HttpsConnector;
use rustls::ClientConfig;
use tower_layer::Layer;

use super::{Proxied, Proxies, ProxyLayer};
use crate::{Connector, connector as tls, connector::mozilla};

/// TCP, through a proxy or not, and TLS for `wss`.
pub type ProxiedConnector = HttpsConnector<Proxied<Connector>>;

/// [`connector`](crate::connector()) through proxies: with Mozilla's roots for the targets, and for a proxy by an `https` URL.
pub fn connector(proxies: Proxies) -> ProxiedConnector {
    connector_with(ProxyLayer::new(proxies).layer(tls()), mozilla())
}

/// TLS for `wss` over a [`Proxied`], with a configuration of your own.
///
/// It is for the targets. What a proxy by an `https` URL is met with is in the connector below the [`ProxyLayer`], so that the
/// client certificate for one is never shown to the other.
///
/// ALPN becomes `http/1.1` if the configuration names no protocol.
pub fn connector_with<C, R>(proxied: Proxied<C, R>, mut config: ClientConfig) -> HttpsConnector<Proxied<C, R>> {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    HttpsConnector::from((proxied, config))
}
