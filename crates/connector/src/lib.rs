//! What dials for a WebSocket: guarded addresses, TLS, proxies; from a [`Uri`](http::Uri) to a byte
//! stream.
//!
//! ```text
//!   Connect            makes any of these, with its parts in the right places
//!   TlsConnector       TLS for wss, as tls::Tls configures it
//!   proxy::ProxyLayer  through an HTTP or SOCKS5 proxy
//!   guard::Guard       judges the target and each address that its name resolves to
//!   TCP                happy eyeballs, TCP_NODELAY, keep-alive
//! ```
//!
//! All of them are services in the manner of hyper-util, `Service<Uri>` with a response that
//! implements hyper's `Read` and `Write`, so that each can be replaced. What speaks WebSocket over
//! them is [`tower-ws-transport`](https://docs.rs/tower-ws-transport).
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), tower_ws_core::BoxError> {
//! use tower::ServiceExt;
//! use tower_ws_connector::{Connect, WsUrl, guard::Profile};
//!
//! // For a URL that somebody else may have chosen: public addresses only, and only `wss`.
//! # #[cfg(feature = "tls")] {
//! let connector = Connect::new().guard(Profile::untrusted()).connector();
//! // Connectors know `https`, not `wss`.
//! let url = WsUrl::parse("wss://server.example/")?.dial()?;
//! let stream = connector.oneshot(url).await?;
//! # drop(stream); }
//! # Ok(()) }
//! ```
//!
//! The defaults, for a URL that the operator chose, are [`connector()`]; without TLS,
//! [`tcp_connector`].
//!
//! Errors are classified ([`classify()`]): each is, or becomes, a
//! [`Failure`](tower_ws_core::Failure) that says what kind of failure it is and whether to come
//! again.
//!
//! # What it does not do
//!
//! - It sets no limit to a dial as a whole, but to its parts (TCP, a proxy): whoever dials does. It
//!   redials nothing.
//! - It keeps no connections for others to use.
//! - It does not guard a connector of your own: put [`guard`] around it. One that does no TLS gets
//!   `https` for `wss` as well, and must refuse it.
//!
//! # Features
//!
//! - `tls` (default): [`connector()`] and what [`Connect`] makes for `wss`, with rustls and ring,
//!   and the configuration for it ([`tls`]): roots, client certificates, pins.
//! - `platform-roots`: the operating system's authorities.

mod avoided;
mod classify;
mod connect;
pub mod guard;
pub mod http1;
pub mod proxy;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
mod trace;
mod url;

pub use self::{
    classify::classify,
    connect::Connect,
    tcp::{
        BoundUnsent, Bounding, Elsewhere, Resolver, Resolving, TcpConnector, tcp_connector, unguarded_tcp_connector,
    },
    trace::{Stage, Step, Trace},
    url::{Redacted, UrlError, WsUrl},
};
#[cfg(feature = "tls")]
pub use self::{
    connect::{Connector, ProxiedConnector},
    tcp::connector,
};
