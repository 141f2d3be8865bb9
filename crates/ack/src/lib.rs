//! A tower layer that knows what was sent and not yet acknowledged, and sends again what is safe
//! to.
//!
//! [`AckLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). It keeps each message that awaits an acknowledgement
//! until it comes. When a connection is lost it sends again, on the next one, in the original order
//! and ahead of anything new, what never reached the socket and what may be seen twice. The rest it
//! gives back: sent, outcome unknown. A [`Strategy`] says what the protocol's acknowledgements are;
//! [`JsonRpc`], [`Sequence`] and [`Bare`] are ready-made.
//!
//! # When to use it
//!
//! Whenever calls should survive the loss of a connection. It stands **above reconnect**, which
//! makes the next connection, and **below a queue**, so that what goes again goes ahead of what has
//! waited. Without it a message that is not answered when its connection is lost is lost as well: a
//! call that was sent fails as interrupted, one that had just been handed to a broken connection as
//! not sent, and a message that nobody waits for vanishes.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_ack::{AckLayer, JsonRpc};
//! use tower_ws_client::ClientLayer;
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_transport::{JsonText, memory};
//!
//! let (transport, mut server) = memory::channel::<String>(16);
//! tokio::spawn(async move {
//!     // The first connection is lost with the request; the second brings the answer.
//!     let mut socket = server.accept().await.expect("somebody dials");
//!     let _request = socket.next().await;
//!     drop(socket);
//!     let mut socket = server.accept().await.expect("somebody dials again");
//!     let _again = socket.next().await;
//!     let answer = r#"{"jsonrpc":"2.0","id":1,"result":["a"]}"#;
//!     socket.send(answer.to_owned()).await.expect("the client reads");
//!     socket
//! });
//!
//! let stack = ServiceBuilder::new()
//!     .layer(ClientLayer::new(JsonText))
//!     // Above reconnect, so that it outlives each connection.
//!     .layer(AckLayer::new(JsonRpc::new(JsonText)))
//!     .layer(ReconnectLayer::new())
//!     .service(transport);
//! let (client, _inbound) = stack.oneshot(()).await?;
//! let names: Vec<String> = client.request("resources/list", &()).await?;
//! assert_eq!(names, ["a"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_ack::{AckLayer, JsonRpc};
//! use tower_ws_transport::JsonText;
//!
//! let strategy = JsonRpc::new(JsonText).safe_methods(["*/list", "weather/now"]).fresh_ids();
//! let (layer, handle) = AckLayer::pair(strategy);
//! let layer = layer
//!     .window(64, 1024 * 1024)
//!     .timeout(Duration::from_secs(10));
//!
//! // From any thread: how much is under way, what became of the rest, how long the peer takes.
//! assert_eq!(handle.snapshot().in_flight, 0);
//! ```
//!
//! # What is safe to send again
//!
//! 1. What never reached the socket: always. A [`Ticket`](tower_ws_core::Ticket) says so; a message
//!    that has none gets one of the layer's own.
//! 2. What was sent: if its [`Replay`](tower_ws_core::Replay) is `Safe`, never if it is `Unsafe`,
//!    and by the word of the strategy if it is `Unknown`. Unless the strategy knows better that
//!    word is no.
//! 3. After a message that was too large, for the peer (close 1009) or for us, nothing that was sent.
//!
//! # What it guarantees
//!
//! For a message that awaits an acknowledgement, and as long as the session lives and its time is
//! not over:
//!
//! | mode | how to get it | must hold | may happen | must never happen |
//! |---|---|---|---|---|
//! | at most once | no layer, or nothing safe (the default of [`Bare`] and [`Sequence`]) | what may have been seen is never sent again, and comes back as interrupted | a message has no effect | two effects; "not sent" for what was |
//! | at least once | everything safe: [`Bare::all_safe`], [`Sequence::all_safe`], `safe_methods(["*"])`, [`Replay::Safe`](tower_ws_core::Replay) | it is sent until it is acknowledged, and nothing new passes it | two effects, at most a window of them for each connection lost; a resend after the effect of a later message | a message is lost without a word; acknowledged, and without effect |
//! | effect once | at least once, and a peer that remembers the keys that it has seen (below): keys stay the same (no [`fresh_ids`](JsonRpc::fresh_ids)) | one effect, once acknowledged | the peer sees it twice, and acts once | two effects; a key used for two messages at a time; a resend that the peer may have forgotten |
//!
//! In all modes: what goes again goes in the original order; an acknowledgement ends a message
//! once; each message that was accepted is acknowledged, comes back with a reason that is true, or,
//! if nobody waits for it any more and it was written, is let go. When the session ends, time is
//! over, or [three connections](AckLayer::suspicions) have ended right after the message, at least
//! once becomes "interrupted: outcome unknown".
//!
//! An acknowledgement proves what the peer means by it: received, applied or durable. The layer
//! cannot know which.
//!
//! Each row is put to the test twice, under its name: `at_most_once`, `at_least_once` and
//! `effect_once`. In `model.rs` of this crate a machine that is obviously right is stepped beside
//! the layer; in `modes.rs` of the repository the ledger of a client over queue, ack and reconnect
//! is held against that of a peer that crashes at random. In both,
//! `effect_once_is_not_had_from_a_peer_that_forgets` shows that the condition is needed.
//!
//! ## How long does the peer have to remember?
//!
//! For [`AckLayer::timeout`] (60 s), and for as long as a message is on its way: nothing is handed
//! to a socket again when so much time has passed since it was first handed down. Then it ends as
//! interrupted, outcome unknown. The peer's memory has to outlive its restarts. Time in which this
//! machine is suspended is not counted where the system's monotonic clock stands still meanwhile,
//! as on Linux: if it may be, the peer has to remember for longer.
//!
//! ## Why was my message refused?
//!
//! Two messages with one key cannot be told apart by their acknowledgements. So a message whose key
//! is under way comes back as refused, and so does one whose key was given up among the last 4,096:
//! a late acknowledgement of the first would be taken for that of the second.
//!
//! # What it does not do
//!
//! - It does not redial, and it holds nothing that was not sent, but what is to be sent again: put
//!   a queue above.
//! - It keeps nothing that awaits no acknowledgement: notifications pass, in order. Nor the control
//!   lane.
//! - It keeps nothing on disk: what is unacknowledged when the process ends is lost.
//! - It does not recognise what the *peer* sends twice.
//! - It does not restore what a server forgets with a connection (subscriptions, a login): a layer
//!   below does, before `Up`.
//! - Below it, nothing may hold a message from one connection to the next: it would be sent from
//!   there and from here.

mod closures;
mod connection;
mod handle;
mod jsonrpc;
mod layer;
mod placed;
mod service;
mod sorted;
mod strategy;
mod window;

pub use self::{
    closures::{Bare, Sequence},
    connection::AckConnection,
    handle::{Handle, Snapshot},
    jsonrpc::JsonRpc,
    layer::AckLayer,
    service::Ack,
    strategy::{Acknowledgement, Keys, Strategy},
};
