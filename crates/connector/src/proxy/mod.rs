//! Proxies: HTTP CONNECT and SOCKS5.
//!
//! A layer between TCP and TLS. Both `ws` and `wss` go through a tunnel ([RFC 6455, section
//! 4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)); TLS with the server is made inside of it, so that the proxy of a
//! `wss` connection sees nothing but the server's name, and the server nothing of the proxy's.
//!
//! ```text
//!   TransportLayer
//!   TLS               with the server, for `wss`
//!   (a guard here sees the server's URL)
//!   ProxyLayer        a tunnel, or nothing if the target needs no proxy
//!   (a guard here, or in the resolver of TCP, sees the proxy's address)
//!   TLS               with the proxy, for one by an `https` URL
//!   TCP
//! ```
//!
//! Without it everything is dialled directly, whatever the environment says.
//!
//! # Example
//!
//! As the environment says, with the defaults of [`connector()`](crate::connector()) otherwise:
//!
//! ```
//! # #[cfg(feature = "tls")] {
//! use tower::Layer;
//! use tower_ws_connector::{Connect, proxy::Proxies};
//! use tower_ws_transport::TransportLayer;
//!
//! # fn transport() -> Result<(), tower_ws_core::BoxError> {
//! let transport = TransportLayer::new().layer(Connect::new().through(Proxies::from_env()?));
//! # drop(transport); Ok(()) }
//! # // In an odd environment it is an error, as it should be.
//! # drop(transport());
//! # }
//! ```
//!
//! Configured, over a connector of one's own choice:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::time::Duration;
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_ws_core::{Failure, FailureKind, find};
//! use tower_ws_connector::{Connect, guard::Profile, proxy::{Proxies, ProxyError, ProxyLayer}};
//! use tower_ws_transport::TransportLayer;
//! # let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
//! # let url = format!("socks5h://user:p%40ss@{closed}");
//!
//! // let url = "socks5h://user:p%40ss@proxy.example.com:1080";
//! let proxies = Proxies::socks5(&url)?.except("intranet.example.com, 10.0.0.0/8");
//! let layer = ProxyLayer::new(proxies).timeout(Duration::from_secs(5));
//! // The way to the proxy is plain TCP, which the guard allows to this machine only unless it is told.
//! let tcp = Connect::new().guard(Profile::operator().allow_plaintext()).tcp();
//! let transport = TransportLayer::new().layer(layer.layer(tcp));
//!
//! // Nobody listens there.
//! let dialled = transport.oneshot(Request::get("ws://server.example.com/").body(())?).await;
//! let failure = Failure::of(dialled.err().ok_or("no proxy, no tunnel")?);
//! assert_eq!(failure.kind(), FailureKind::Proxy);
//! assert!(matches!(find(&failure), Some(ProxyError::Unreachable(_))));
//! # Ok(()) }
//! ```
//!
//! # Which proxy for what
//!
//! [`Proxies`] says it: [one for everything](Proxies::all), or [what the environment
//! says](Proxies::from_env), with [exceptions](Proxies::except). This machine itself is always
//! dialled directly, unless [wanted otherwise](Proxies::loopback).
//!
//! | URL | spoken to it | the server's name is resolved |
//! |---|---|---|
//! | `http://` | CONNECT | by the proxy |
//! | `https://` | CONNECT, over TLS with the proxy | by the proxy |
//! | `socks5h://` | SOCKS5 | by the proxy |
//! | `socks5://` | SOCKS5 | here, by [the layer's resolver](ProxyLayer::resolver) |
//!
//! # Errors
//!
//! A dial that fails at the proxy fails as
//! [`FailureKind::Proxy`](tower_ws_core::FailureKind::Proxy), or as a timeout that names the proxy,
//! with a [`ProxyError`] as the source. It is never taken for the server's doing: a 401 or 407 of a
//! proxy is final, and refreshes no credentials of the server's. What is above the tunnel, TLS and
//! the upgrade, fails as it does without one.
//!
//! # Secrets
//!
//! User name and password go to the proxy and to nobody else, and into no `Debug`, error or log.
//! With `http://` and `socks5://` they cross the network up to the proxy in the clear, as both
//! protocols have it.
//!
//! # A guard of addresses
//!
//! Where the proxy resolves names, nobody on this side learns the server's address. A guard can
//! check, above this layer, the names and literal addresses in the server's URL, and below it, or
//! in the resolver of the connector, the address of the *proxy*, which in a company's network is
//! often a private one, and of what is dialled directly. What a name stands for is up to the
//! proxy's own rules. If it has to be checked here, take a `socks5://` proxy, and give the guarded
//! resolver to [`ProxyLayer::resolver`] too. A guard that judges schemes stands above: below it,
//! `wss` and `ws` look the same, and both look like plaintext.
//! [`Connect::through`](crate::Connect::through) has all of this in its place; with a layer of your
//! own, put a [`GuardLayer`](crate::guard::GuardLayer) above, and allow plaintext below.
//!
//! # What it does not do
//!
//! - No SOCKS4, and no authentication but user name and password ("Basic" with HTTP): no NTLM,
//!   Kerberos, Digest.
//! - No automatic configuration (PAC, WPAD), and no settings of the operating system: only URLs and
//!   the environment.
//! - No chains of proxies. One layer over another is no way to it: the lower one would take the
//!   upper one's `https` proxy for a target, with which TLS is made above, and there is nobody
//!   above who does.
//! - It does not try a second proxy, nor a direct dial, when one fails.
//! - The environment is read when [`Proxies::from_env`] is called, not at each dial.

mod bypass;
mod connect;
mod error;
mod problem;
mod resolve;
#[cfg(feature = "tls")]
mod routed;
mod server;
mod service;
mod settings;
mod socks;
mod target;

#[cfg(feature = "tls")]
pub use self::routed::{Routed, Routing};
use self::{bypass::Bypass, server::Server, target::Target};
pub use self::{
    error::ProxyError,
    problem::ProxySettingError,
    resolve::Resolve,
    service::{Proxied, ProxyLayer, Proxying},
    settings::Proxies,
    socks::Reply,
};
