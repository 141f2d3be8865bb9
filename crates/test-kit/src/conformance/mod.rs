//! The conformance suite: the laws of a connection, as tests for any layer and any transport.
//!
//! For a layer, the suite puts a scripted connection below it and does to it what peers, callers
//! and schedulers do. For a transport, a [`Harness`] makes connections and a [`Peer`] is the far
//! end of each.
//!
//! # Example: a layer
//!
//! ```
//! use tower_ws_test_kit::conformance;
//!
//! # #[derive(Clone)] struct MyLayer;
//! # impl<S> tower_layer::Layer<S> for MyLayer { type Service = S; fn layer(&self, inner: S) -> S { inner } }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! // In a `#[tokio::test(start_paused = true)]`:
//! conformance::layer(MyLayer).await;
//! # }
//! ```
//!
//! Layers are called with an `http::Request<()>` and carry `String`s, unless [`Suite::layer_of`]
//! says otherwise. One that redials or holds messages says so, and the laws allow for it:
//!
//! ```no_run
//! use tower_ws_test_kit::conformance::Suite;
//!
//! # #[derive(Clone)] struct MyReconnect;
//! # impl<S> tower_layer::Layer<S> for MyReconnect { type Service = S; fn layer(&self, inner: S) -> S { inner } }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let report = Suite::layer(MyReconnect).redials().run().await;
//! println!("{report}");
//! # }
//! ```
//!
//! # Example: a transport
//!
//! ```
//! use futures_util::{SinkExt, StreamExt};
//! use tokio::io::DuplexStream;
//! use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
//! use tower_ws_core::Lift;
//! use tower_ws_test_kit::conformance::{self, Harness, Peer};
//! use tower_ws_transport::{Message, WebSocket};
//!
//! struct MyTransport;
//! struct Server(Option<WebSocket<DuplexStream>>);
//!
//! impl Harness for MyTransport {
//!     type Message = Message;
//!     type Connection = Lift<WebSocket<DuplexStream>, Message>;
//!     type Peer = Server;
//!
//!     async fn connect(&self) -> (Self::Connection, Server) {
//!         let (client, server) = tokio::io::duplex(1024);
//!         let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
//!         let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
//!         (Lift::new(WebSocket::from(client)), Server(Some(server.into())))
//!     }
//! }
//!
//! impl Peer<Message> for Server {
//!     async fn send(&mut self, message: Message) {
//!         if let Some(socket) = &mut self.0 {
//!             let _ = socket.send(message).await;
//!         }
//!     }
//!
//!     async fn recv(&mut self) -> Option<Message> {
//!         let message = self.0.as_mut()?.next().await.and_then(Result::ok);
//!         if message.is_none() {
//!             // The server is the first to let the stream beneath go (RFC 6455, section 7.1.1).
//!             self.0 = None;
//!         }
//!         message
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! // In a `#[tokio::test]`:
//! conformance::transport(MyTransport).await;
//! # }
//! ```
//!
//! # When a law is broken
//!
//! The suite panics; the message names the law, what was expected, what was seen, what was being
//! waited for, and the seed. Each law is a method of [`Suite`] too, and [`Suite::seeds`] plays one
//! seed again. Every hang is bounded by [`Suite::patience`]. What held, in which form, and what was
//! not run and why, is printed and in the [`Report`].
//!
//! # What it does not do
//!
//! - A layer that talks to the peer before it lets `Up` through (an exchange of credentials) finds
//!   a peer that does not answer. Put it through as a transport: the harness plays the exchange.
//! - A layer that limits a rate must be given a rate that the suite, which sends some thousand
//!   messages, does not reach.
//! - Layers run under a paused clock. A transport with real sockets does not: its timers run in
//!   real time.

mod below;
mod harness;
mod laws;
mod lifecycle;
mod link;
mod stack;
mod suite;

use http::Request;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection};

pub use self::below::{Below, BelowConnection, Scripted};
pub use self::harness::{Harness, Numbering, Peer, Unsupported};
pub use self::stack::{Stack, Transport, Under};
pub use self::suite::{Outcome, Report, Suite};

/// Puts a layer that only wraps through all laws. For others there is [`Suite::layer`].
///
/// # Panics
///
/// If a law is broken.
pub async fn layer<L>(layer: L) -> Report
where
    L: Layer<Under<String>>,
    L::Service: Service<Request<()>, Response: Connection<Message = String> + Send + 'static, Error: Into<BoxError>>,
{
    Suite::layer(layer).run().await
}

/// Puts a transport through all laws that a transport can be held to.
///
/// # Panics
///
/// If a law is broken.
pub async fn transport<H>(harness: H) -> Report
where
    H: Harness,
    Numbering<H::Message>: Default,
{
    Suite::transport(harness).run().await
}

impl<H: Harness> Suite<Transport<H>, H::Message> {
    /// All laws that a transport can be held to.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        self.common(&mut report).await;
        report
    }
}

impl<H: Harness> Suite<H, H::Message> {
    async fn common(&self, report: &mut Report) {
        report.add("one_down_for_each_up", self.one_down_for_each_up().await);
        report.add("nothing_after_none", self.nothing_after_none().await);
        report.add("dropping_aborts", self.dropping_aborts().await);
        report.add("close_loses_nothing_unread", self.close_loses_nothing_unread().await);
        report.add("close_reaches_the_peer", self.close_reaches_the_peer().await);
        report.add("closing_again_is_harmless", self.closing_again_is_harmless().await);
        report.add("order_is_kept", self.order_is_kept().await);
        report.add(
            "a_writer_on_another_task_is_woken",
            self.a_writer_on_another_task_is_woken().await,
        );
        report.add("control_needs_no_readiness", self.control_needs_no_readiness().await);
        report.add("cancelling_a_send_is_safe", self.cancelling_a_send_is_safe().await);
        report.add("every_message_ends_once", self.every_message_ends_once().await);
        report.add(
            "a_cancelled_ticket_is_never_written",
            self.a_cancelled_ticket_is_never_written().await,
        );
        report.add("tickets_move_forward", self.tickets_move_forward().await);
    }
}
