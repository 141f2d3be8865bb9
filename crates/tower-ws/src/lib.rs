//! A resilient WebSocket client built from small Tower layers.
//!
//! [`connect`] gives a cloneable [`Client`] for JSON-RPC calls, and an [`Inbound`] stream of what the server says of its own
//! accord. The session stays up through drops and restarts, and says exactly what became of every call.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
//! # let server = tower_ws_test::Server::start(tower_ws_test::Script::json_rpc()).await?;
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
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws::{
//!     client::ClientLayer,
//!     reconnect::ReconnectLayer,
//!     transport::{JsonText, TransportLayer, connector},
//! };
//! # let server = tower_ws_test::Server::start(tower_ws_test::Script::json_rpc()).await?;
//! # let url = server.url();
//!
//! let stack = ServiceBuilder::new()
//!     // calls in, replies out; on top, so that it sees the whole session
//!     .layer(ClientLayer::new(JsonText))
//!     // above it a session lives across drops, below it everything is per connection
//!     .layer(ReconnectLayer::new())
//!     // WebSocket, with its limits and deadlines
//!     .layer(TransportLayer::new())
//!     // TCP and TLS
//!     .service(connector());
//!
//! let (client, _inbound) = stack.oneshot(http::Request::get(url).body(())?).await?;
//! let echoed: Vec<String> = client.request("echo", &["hello"]).await?;
//! assert_eq!(echoed, ["hello"]);
//! # Ok(()) }
//! ```
//!
//! Each layer is a crate of its own and can be left out, replaced, or put over another transport:
//!
//! | module | layer | without it |
//! |---|---|---|
//! | [`client`] | `ClientLayer`: calls, replies, pushes | a `Sink + Stream` of messages and events, for a protocol machine of your own |
//! | [`reconnect`] | `ReconnectLayer`: redials | the first `Down` is the last |
//! | [`core`] | `ExchangeLayer`: a dialogue that opens each connection | up means open, not ready |
//! | [`transport`] | `TransportLayer`: WebSocket; also `lines` and `memory` | there is no connection |
//!
//! On the [`Client`], stock Tower layers mean what people expect: `timeout`, `concurrency_limit`, `load_shed`.
//!
//! # What it does not do
//!
//! It sends nothing twice: a call that was sent and not answered when the connection went down fails as
//! [`Interrupted`](CallError::Interrupted), and the application decides. It does not probe an idle connection: a peer that
//! vanishes without a word is noticed when something is written ([deadline](core::Deadlines::write) 20 s), or by
//! [`Deadlines::idle`](core::Deadlines::idle) if that is set. It does not persist what waits: a process that ends takes its
//! waiting calls along.

mod builder;

pub use tower_ws_ack as ack;
pub use tower_ws_client as client;
pub use tower_ws_core as core;
pub use tower_ws_health as health;
pub use tower_ws_metrics as metrics;
pub use tower_ws_queue as queue;
pub use tower_ws_reconnect as reconnect;
pub use tower_ws_transport as transport;

pub use self::{
    builder::{Builder, ConnectError, builder, connect},
    client::{CallError, Client, Inbound, Incoming, Reply, Request},
    transport::Message,
};

/// The examples of the README, tried.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
