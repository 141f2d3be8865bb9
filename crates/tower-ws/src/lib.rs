//! A resilient WebSocket client built from small Tower layers.
//!
//! [`connect`] gives a cloneable [`Client`] for JSON-RPC calls, and an [`Inbound`] stream of what
//! the server says of its own accord. The session stays up through drops and restarts, and says
//! exactly what became of every call.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::json_rpc()).await?;
//! # let url = server.url();
//! let (client, _inbound) = tower_ws::connect(url).await?;
//!
//! let echoed: Vec<u32> = client.request("echo", &[1, 2, 3]).await?;
//! assert_eq!(echoed, [1, 2, 3]);
//! # Ok(()) }
//! ```
//!
//! # The recommended stack
//!
//! That is what [`connect`] builds. Spelled out, each layer with the reason for its place:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
//! use tower_ws::prelude::*;
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::json_rpc()).await?;
//! # let url = server.url();
//!
//! let stack = ServiceBuilder::new()
//!     // calls in, replies out; on top, so that it sees the whole session
//!     .layer(ClientLayer::new(JsonText))
//!     // counts what the application sees; right below it, so that it sees what queue and ack give up
//!     .layer(MetricsLayer::session())
//!     // holds what was accepted while the link is down; above ack, so that what is sent again goes first
//!     .layer(QueueLayer::new())
//!     // keeps what was sent until it is answered; above reconnect, since it outlives connections
//!     .layer(AckLayer::new(JsonRpc::new(JsonText)))
//!     // above it a session lives across drops, below it everything is per connection
//!     .layer(ReconnectLayer::new())
//!     // counts what the network sees; below reconnect, so that each dial counts
//!     .layer(MetricsLayer::connection())
//!     // ends a connection whose peer is dead; below reconnect, which does the rest
//!     .layer(HealthLayer::new())
//!     // WebSocket, with its limits and deadlines
//!     .layer(TransportLayer::new())
//!     // TCP and TLS
//!     .service(connector());
//!
//! let (client, _inbound) = connect_by(stack, url).await?;
//! let echoed: Vec<String> = client.request("echo", &["hello"]).await?;
//! assert_eq!(echoed, ["hello"]);
//! # Ok(()) }
//! ```
//!
//! [`stack`] is this order as a function, over a transport or a connector of your own; [`builder`]
//! changes single layers. Each is a crate of its own and can be left out, replaced, or put over
//! another transport. From the top:
//!
//! | layer | place, and why | without it |
//! |---|---|---|
//! | [`ClientLayer`](client): calls, replies, pushes; or [`MessagesLayer`](messages): plain messages | on top: one task drives the whole session | a `Sink + Stream` of messages and events, for a protocol machine of your own: read it all the time, in another task than the one that writes |
//! | [`MetricsLayer::session()`](metrics): numbers, also those that queue, ack and health show | right below the client: sees what the application sees | nothing is counted |
//! | [`QueueLayer`](queue): holds messages within bounds of number, bytes and age | above ack: what is sent again goes first | calls wait in the client, whose bound is their number |
//! | [`AckLayer`](ack): sends again what is safe to | above reconnect: what it keeps outlives connections | what was sent and not answered fails with the connection |
//! | [`SubscribeLayer`](subscribe): subscriptions, said again on each connection; with [`Builder::subscribe`] | between ack and reconnect: what stands is said before what is sent again | subscriptions are the application's, at each [`Up`](core::Up) |
//! | [`ReconnectLayer`](reconnect): redials | between session and connection | the first `Down` is the last |
//! | [`FailoverLayer`](reconnect::FailoverLayer): several endpoints; with [`Builder::fallback`] | right below reconnect: each dial may go elsewhere | there is one endpoint |
//! | [`MetricsLayer::connection()`](metrics): numbers | below reconnect: sees each dial and each connection | nothing is counted |
//! | [`RateLimitLayer`](rate_limit): dials, messages and bytes out, floods in; with [`Builder::rate_limit`] | below reconnect, above health: sees every dial; a pause is not taken for silence | nothing is held back |
//! | [`HealthLayer`](health): notices dead peers within 40 s | below reconnect: ends a connection, reconnect does the rest | a peer that vanishes without a word is noticed when a write blocks for 20 s, or never |
//! | [`CryptoLayer`](crypto): seals messages from end to end; with [`Builder::layer`] | below reconnect: each connection has keys of its own | messages are as secret as the transport makes them |
//! | [`AuthLayer`](auth), [`LoginLayer`](auth::LoginLayer): credentials; with [`Builder::layer`] | below reconnect: each dial shows the credential of its time | headers that never change |
//! | [`McpLayer`](mcp): the Model Context Protocol; with [`mcp::connect`] | below reconnect: opens each connection | JSON-RPC as it is |
//! | [`OpeningLayer`](core::OpeningLayer): a dialogue that opens each connection; with [`Builder::layer`] | below reconnect: said anew on each connection | up means open, not ready |
//! | [`TransportLayer`](transport): WebSocket; also `lines` and `memory` | above what dials | there is no connection |
//! | [`Connect`](connector::Connect): the guard of addresses, TLS, proxies; with [`Builder::connector`] | at the bottom: makes the byte streams | a connector of your own, and its guard |
//!
//! All of them fit together in any order, and some orders cannot work: a queue below ack, health
//! above reconnect. Such a stack fails to connect, for good, with a
//! [`WrongOrder`](core::WrongOrder) that names the layer, says what would go wrong, and where it
//! belongs. A layer of your own may stand anywhere; [the docs of the
//! contract](core#a-layer-of-your-own) have one.
//!
//! On the [`Client`], stock Tower layers mean what people expect: `timeout`, `concurrency_limit`,
//! `load_shed`. What each means where, [`stock`] says. [`CircuitLayer`](reconnect::CircuitLayer)
//! belongs there too: in a long outage it fails calls at once, with the cause and when the next
//! attempt begins.
//!
//! # Guides
//!
//! [Which layers](guide::layers), [what becomes of a message](guide::delivery),
//! [troubleshooting](guide::troubleshooting), [before production](guide::production),
//! [from other crates](guide::migration), [a layer of your own](guide::own_layer).
//!
//! # Features
//!
//! `auth`, `crypto`, `mcp`, `metrics`, `rate-limit` and `tls` are on by default; `config`,
//! `fleet`, `platform-roots`, `rmcp`, `sockudo`, `spool`, `test-kit` and `tower-mcp` are not. They only add. The
//! README has a table of what each brings.
//!
//! # What it does not do
//!
//! It sends nothing twice that could do harm: a call that was sent and not answered when the
//! connection went down goes again only if its method reads, by the list of
//! [`ack::JsonRpc::SAFE_METHODS`], or if its [`Request`] says that it may. Any other fails as
//! [`Interrupted`](CallError::Interrupted), and the application decides. Unless its queue has a
//! `tower_ws_spool::Spool` (feature `spool`) it does not persist what waits: a process that ends
//! takes its waiting calls along. Its guard of addresses is that of an operator's URL
//! ([`connector::guard`]): for one that somebody typed, choose another.

mod assemble;
mod builder;
#[cfg(feature = "config")]
pub mod config;
pub mod doctor;
mod error;
pub mod guide;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod messages;
pub mod monitor;
pub mod prelude;
mod slot;
mod stack;
pub mod stock;

pub use http;
pub use tower;
pub use tower_ws_ack as ack;
#[cfg(feature = "auth")]
pub use tower_ws_auth as auth;
pub use tower_ws_client as client;
pub use tower_ws_connector as connector;
pub use tower_ws_core as core;
#[cfg(feature = "crypto")]
pub use tower_ws_crypto as crypto;
#[cfg(feature = "fleet")]
pub use tower_ws_fleet as fleet;
pub use tower_ws_health as health;
#[cfg(feature = "metrics")]
pub use tower_ws_metrics as metrics;
pub use tower_ws_queue as queue;
#[cfg(feature = "rate-limit")]
pub use tower_ws_rate_limit as rate_limit;
pub use tower_ws_reconnect as reconnect;
#[cfg(feature = "spool")]
pub use tower_ws_spool as spool;
pub use tower_ws_subscribe as subscribe;
#[cfg(feature = "test-kit")]
pub use tower_ws_test_kit as test_kit;
pub use tower_ws_transport as transport;

pub use self::{
    builder::{Builder, builder, connect},
    client::{CallError, Client, Inbound, Incoming, Reply, Request},
    error::ConnectError,
    messages::open,
    slot::Dial,
    stack::{RecommendedStack, connect_by, stack},
    transport::Message,
};

/// The examples of the README, tried.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
