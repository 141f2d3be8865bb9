//! The boundary of tower-ws: a connection in, a cloneable JSON-RPC service and a stream of pushes
//! out.
//!
//! [`ClientLayer`] stands on top of a stack of connection layers. Its service makes sessions: a
//! [`Client`], which is a `tower::Service<Request, Response = Reply>` that any stock Tower layer
//! fits on, and an [`Inbound`] stream of what the peer says of its own accord. One task drives the
//! connection: it always reads, hands over what is ready and flushes once.
//!
//! # Every call ends, and says truthfully how
//!
//! | what happens | a call that was not sent | a call that was sent |
//! |---|---|---|
//! | the connection goes down | waits for the next one | fails as [`Interrupted`](CallError::Interrupted), unless a layer below will send it again |
//! | its time is up | [`TimedOut`](CallError::TimedOut), not sent | `TimedOut`, outcome unknown; the peer is [told](ClientLayer::on_cancel) |
//! | its future is dropped | is never sent | the peer is told; a late answer is ignored |
//! | the session ends | [`Closed`](CallError::Closed) | `Interrupted` |
//! | a layer below gives up on it | [`NotSent`](CallError::NotSent) | `Interrupted` |
//!
//! No call fails while its message may still be sent. [`CallError::may_have_been_seen`] is false
//! only if not a byte of the request left this side.
//!
//! # Example
//!
//! With the defaults, over a transport in memory:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{Layer, ServiceExt};
//! use tower_ws_client::{ClientLayer, Incoming};
//! use tower_ws_transport::{JsonText, memory};
//!
//! let (transport, mut server) = memory::channel::<String>(16);
//! tokio::spawn(async move {
//!     let mut socket = server.accept().await.expect("somebody dials");
//!     let _call = socket.next().await;
//!     let answer = r#"{"jsonrpc":"2.0","id":1,"result":"hello"}"#;
//!     socket.send(answer.to_owned()).await.expect("the client reads");
//!     socket
//! });
//!
//! let (client, mut inbound) = ClientLayer::new(JsonText).layer(transport).oneshot(()).await?;
//! assert!(matches!(inbound.next().await, Some(Incoming::Up(_))));
//! let answer: String = client.request("greet", &["world"]).await?;
//! assert_eq!(answer, "hello");
//! # Ok(()) }
//! ```
//!
//! Configured:
//!
//! ```
//! use std::time::Duration;
//! use tower_ws_client::{ClientLayer, Lag};
//! use tower_ws_transport::JsonText;
//!
//! let layer = ClientLayer::new(JsonText)
//!     .timeout(Duration::from_secs(10))
//!     .max_calls(64)
//!     .inbound(1024, Lag::Wait);
//! ```
//!
//! # Spans and logs
//!
//! | span | level | fields |
//! |---|---|---|
//! | `session` | `INFO` | `id`: a random name. From the call of [`MakeClient`] to the end of its driver; all that the layers below log is in it. It follows from the span of whoever connects, and is not within it: it outlives that |
//! | `call` | `DEBUG` | `rpc.system`, `rpc.method`, `rpc.jsonrpc.request_id` as in [OpenTelemetry's conventions](https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/); `outcome`: `ok`, `cancelled`, or [`CallError::as_str`] |
//!
//! `ERROR` for what ends the session, `WARN` for messages that make no sense, of which the 1st,
//! 2nd, 4th, 8th … is told.
//!
//! # What it does not do
//!
//! It does not redial, probe or send again: those are layers below. It does not bound the bytes of
//! waiting calls: they belong to the callers, who hold them anyway; of notifications it does. It has
//! no batches.

mod client;
mod config;
mod doubt;
mod driver;
mod error;
mod handler;
mod layer;
mod mailbox;
mod outbox;
mod params;
mod peer;
mod request;
mod service;
mod shared;
mod table;

pub use self::{
    client::{CallFuture, Client, Leftovers},
    config::{Cancel, Check},
    driver::Driver,
    error::CallError,
    handler::Asked,
    layer::ClientLayer,
    mailbox::{Inbound, Incoming},
    peer::{Notification, ServerRequest},
    request::{Reply, Request},
    service::{MakeClient, MakeFuture},
};
pub use tower_ws_core::drive::Lag;
