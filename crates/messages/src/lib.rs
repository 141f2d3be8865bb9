//! The boundary of tower-ws for plain messages: a connection in, a cloneable [`Sender`] and a stream
//! of [`Events`] out.
//!
//! [`MessagesLayer`] stands on top of a stack of connection layers. One task moves the connection: it
//! always reads, hands over what is ready, flushes once and looks at the clock. So whatever the
//! program does with its two ends, nothing hangs: a program that only sends is told of the loss of
//! the connection by its sends, one that only reads loses nothing, one that does both in one
//! `select!` cannot block itself.
//!
//! # Each message is accounted for
//!
//! | | resolves | then |
//! |---|---|---|
//! | [`send`](Sender::send) | when the stack has taken the message, or after its time limit, with the message | if the stack gives it up later, an [`Undelivered`](Event::Undelivered) brings it back |
//! | [`send_confirmed`](Sender::send_confirmed) | with its outcome: written to the network, acknowledged, or why not | |
//! | [`try_send`](Sender::try_send) | at once: there is room, or the message is back | as `send`; what is left at the end is in the [`Undelivered`](Event::Undelivered)s, or what [`close`](Sender::close) gives |
//!
//! Dropping the future of a send takes the message back, if the stack has not taken it.
//!
//! # Example
//!
//! Over a transport in memory that redials:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_messages::{Event, MessagesLayer};
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_transport::memory;
//!
//! let (transport, mut server) = memory::channel::<String>(16);
//! tokio::spawn(async move {
//!     let mut socket = server.accept().await.expect("somebody dials");
//!     while let Some(Ok(said)) = socket.next().await {
//!         socket.send(format!("you said {said}")).await.expect("it reads");
//!     }
//! });
//!
//! let stack = ServiceBuilder::new()
//!     .layer(MessagesLayer::new())
//!     .layer(ReconnectLayer::new())
//!     .service(transport);
//! let (sender, mut events) = stack.oneshot(()).await?;
//! sender.send("hello".to_owned()).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Up(up) => println!("connection {}", up.epoch),
//!         Event::Message(said) => {
//!             assert_eq!(said, "you said hello");
//!             break;
//!         }
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! Configured:
//!
//! ```
//! use std::time::Duration;
//! use tower_ws_messages::{Lag, MessagesLayer};
//!
//! let layer = MessagesLayer::<String>::new()
//!     .timeout(Duration::from_secs(10))
//!     .inbox(1024, Lag::Wait);
//! ```
//!
//! # When nobody reads
//!
//! The inbox is bounded by number and bytes, and its [`Lag`] says what happens then. None of them
//! delays a send. With [`Lag::Wait`] messages wait, and so what comes behind them: that the
//! connection is lost is noticed only when the messages before have been read.
//!
//! # Logs
//!
//! All that the layers below log stands in a span `session` with a random `id`, the
//! [`name`](MessagesLayer::name) and the [`server`](MessagesLayer::server). `ERROR` for what ends
//! the session, `WARN` for what cannot be read, of which the 1st, 2nd, 4th, 8th … is told.
//!
//! # What it does not do
//!
//! It does not redial, probe, keep or send again: those are layers below. It does not know
//! acknowledgements: an [`AckLayer`] below does, and [`MessagesLayer::acknowledged`] waits for them.
//!
//! [`AckLayer`]: https://docs.rs/tower-ws-ack

mod driver;
mod error;
mod events;
mod json;
mod layer;
mod outbox;
mod sender;
mod service;
mod shared;

pub use tower_ws_core::drive::Lag;

pub use self::{
    driver::Driver,
    error::{Reason, SendError},
    events::{Event, Events},
    json::{JsonEvents, JsonSender, Unreadable},
    layer::MessagesLayer,
    sender::{Outcome, Sender},
    service::{MakeFuture, MakeMessages},
};
