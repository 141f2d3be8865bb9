//! Transports as tower layers: from a byte stream to a [`Connection`](tower_ws_core::Connection).
//!
//! ```text
//!   LiftLayer       http::Request<()> -> Connection: Up and Down, deadlines, control lane, large messages in pieces
//!     (tower-http's request layers fit here)
//!   UpgradeLayer    http::Request<()> -> http::Response<WebSocket>: the handshake, and framing by tungstenite or another
//!   connector       Uri -> byte stream: TCP, TLS, proxies, anything in the manner of hyper-util
//! ```
//!
//! [`TransportLayer`] is the first two in one. The third are those of
//! [`tower-ws-connector`](tower_ws_connector), or any `Service<Uri>` whose response implements
//! hyper's `Read` and `Write`. For peers that do not speak WebSocket there is [`lines`].
//!
//! # Which transports there are
//!
//! Above the transport nothing changes, but for what a transport cannot carry:
//!
//! | transport | messages | pings | closing | compression | a peer that is gone |
//! |---|---|---|---|---|---|
//! | [`TransportLayer`], framing by [`Tungstenite`] | [`Message`]s: text, binary | yes | handshake with code and reason | no | told from one that closed |
//! | the same by `sockudo::Sockudo` (feature `sockudo`) | the same | yes | the same | permessage-deflate, if offered | the same |
//! | [`lines`] over any byte stream: a Unix socket, a pipe | `String`s without line ends | no | the end of the stream | no | an end like any other |
//! | [`lines`] over `process::Process` (feature `process`) | the same | no | the end of its stdin | no | its exit status, if not 0, or its signal |
//! | [`memory`] | any type, not copied | no | the end of the channel | no | an end like any other |
//!
//! WebSocket runs over a Unix socket as well: give it a connector. Where there are no pings, health
//! probes by a request of the protocol (`probe_fn`). The [conformance
//! suite](https://docs.rs/tower-ws-test-kit) passes over all of them.
//!
//! # Example
//!
//! The defaults:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_core::Event;
//! use tower_ws_transport::{Message, TransportLayer};
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let transport = TransportLayer::new().layer(tcp_connector());
//! let mut connection = transport.oneshot(Request::get(url).body(())?).await?;
//!
//! assert!(matches!(connection.next().await, Some(Event::Up(_))));
//! connection.send(Message::text("hello").into()).await?;
//! let Some(Event::Message(echo)) = connection.next().await else { panic!() };
//! assert_eq!(echo.as_text(), Some("hello"));
//! # Ok(()) }
//! ```
//!
//! Configured, in parts, with a stock tower-http layer in between:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::time::Duration;
//! use futures_util::StreamExt;
//! use http::{HeaderValue, Request, header::USER_AGENT};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_http::set_header::SetRequestHeaderLayer;
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_core::{Deadlines, Event};
//! use tower_ws_transport::{Handshake, LiftLayer, Limits, UpgradeLayer};
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let limits = Limits::default().message_in(1 << 20);
//! let transport = ServiceBuilder::new()
//!     .layer(LiftLayer::new().limits(limits).deadlines(Deadlines::default().close(Duration::from_secs(1))))
//!     .layer(SetRequestHeaderLayer::overriding(USER_AGENT, HeaderValue::from_static("example/1")))
//!     .layer(UpgradeLayer::new().limits(limits).subprotocols(["mcp"]).timeout(Duration::from_secs(5)))
//!     .service(tcp_connector());
//!
//! let mut connection = transport.oneshot(Request::get(url).body(())?).await?;
//! let Some(Event::Up(up)) = connection.next().await else { panic!() };
//! let handshake = up.extensions.get::<Handshake>().ok_or("no handshake")?;
//! assert_eq!(handshake.subprotocol(), Some("mcp"));
//! # Ok(()) }
//! ```
//!
//! # What it does not do
//!
//! - It does not redial, queue, or probe: layers of their own do.
//! - It follows no redirect, and keeps no cookies.
//! - By default it offers no extension, and there is no compression: see the feature `sockudo`.
//! - Names, addresses, TLS and proxies are its connector's business.
//! - HTTP/1.1 only; [RFC 8441](https://www.rfc-editor.org/rfc/rfc8441) (WebSocket over HTTP/2) is
//!   not spoken.
//! - A large message goes out in fragments (16 KiB), as [RFC 6455, section
//!   5.4](https://www.rfc-editor.org/rfc/rfc6455#section-5.4) allows. For a peer that cannot join them, raise
//!   [`Limits::fragment`] and [`Limits::write_buffer`].
//!
//! # Features
//!
//! - `process`: child processes, spoken to over their stdio.
//! - `sockudo`: a second framing, which can compress.

mod codec;
mod framing;
mod handshake;
mod io;
mod lift;
mod limits;
pub mod lines;
pub mod memory;
mod message;
#[cfg(feature = "process")]
pub mod process;
mod scan;
mod scanned;
#[cfg(feature = "sockudo")]
pub mod sockudo;
mod transport;
mod upgrade;
mod websocket;
mod wire;

use std::fmt;

pub use self::{
    codec::JsonText,
    framing::{Framing, Tungstenite, Upgraded},
    handshake::Handshake,
    io::Counted,
    lift::{LiftLayer, LiftService},
    limits::Limits,
    message::{Kind, Message},
    scan::FrameError,
    scanned::Scanned,
    transport::{Transport, TransportLayer, WebSocketConnection},
    upgrade::{Refusal, Subprotocols, Upgrade, UpgradeError, UpgradeFuture, UpgradeLayer},
    websocket::WebSocket,
    wire::WebSocketWire,
};

/// Headers as they may be shown: by name only.
struct Names<'a>(&'a http::HeaderMap);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
