//! A tower layer that holds messages while the link is down or slow, within bounds.
//!
//! [`QueueLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). Its own response, a [`QueueConnection`], takes
//! messages also while the connection below cannot, and passes them on, in order, as soon as it
//! can. What has to be given up comes back as [`Dropped`](tower_ws_core::Event::Dropped), with the
//! reason.
//!
//! # When to use it
//!
//! Above a layer that redials, so that whoever sends need not care whether there is a connection at
//! the moment. Without it the sink of a session is not ready in an outage, and senders wait.
//!
//! It stands above acknowledgement, so that what is to be sent again goes ahead of anything new,
//! and above reconnect, so that it lives across connections. Below reconnect it would end with each
//! connection.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::pin::pin;
//!
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_core::Event;
//! use tower_ws_queue::QueueLayer;
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_transport::memory;
//!
//! let (memory, mut server) = memory::channel::<String>(8);
//! let connect = ServiceBuilder::new()
//!     .layer(QueueLayer::new())
//!     // Below, so that what is held lives on when a connection does not.
//!     .layer(ReconnectLayer::new())
//!     .service(memory);
//!
//! let (session, peer) = tokio::join!(connect.oneshot(()), server.accept());
//! let mut session = pin!(session?);
//! assert!(matches!(session.next().await, Some(Event::Up(_))));
//! drop(peer);
//! assert!(matches!(session.next().await, Some(Event::Down(_))));
//!
//! // Nobody is there, and nobody has to wait.
//! session.send("hello".to_owned().into()).await?;
//! let (event, peer) = tokio::join!(session.next(), server.accept());
//! assert!(matches!(event, Some(Event::Up(_))));
//! # let mut peer = peer.expect("the session dials");
//! // Reading drives everything, also what is held.
//! tokio::select! {
//!     said = peer.next() => assert_eq!(said.expect("not the end")?, "hello"),
//!     event = session.next() => panic!("nothing happens here: {event:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_queue::{Overflow, QueueLayer};
//!
//! let (layer, handle) = QueueLayer::pair();
//! let layer = layer
//!     .messages(10_000)
//!     .bytes(64 << 20)
//!     .age(Duration::from_secs(600))
//!     .overflow(Overflow::DropOldest)
//!     .drain(Duration::from_secs(1))
//!     .measure(|message: &String| message.len() + 14);
//!
//! // From any thread.
//! let now = handle.snapshot();
//! assert_eq!((now.depth, now.oldest, now.dropped.overflow), (0, None, 0));
//! # let _ = layer;
//! ```
//!
//! # How much it holds
//!
//! 1,024 [messages](QueueLayer::messages) and 8 MiB of [payload](QueueLayer::bytes), whichever
//! comes first. What happens to a message for which there is no room, [`Overflow`] says. A message
//! is held until its [deadline](tower_ws_core::Outgoing::deadline), in an outage too; one that has
//! none, for [60 s](QueueLayer::age). A call's deadline is its time limit. A message whose
//! [ticket](tower_ws_core::Ticket) is cancelled comes back when its turn comes or its room is
//! needed.
//!
//! ## Why not hold everything?
//!
//! Because queues without a bound turn an outage into two: first the client runs out of memory,
//! then the server that comes back is flooded with what nobody waits for any more.
//!
//! ## Why does my handler hang when it sends?
//!
//! Reading drives everything, the queue too. With [`Overflow::Wait`] a handler that awaits a send
//! on the task that reads waits, at a full queue, for something that only it can bring about. Send
//! from another task, or choose
//! [`Overflow::Refuse`]: then the message comes back at once.
//!
//! # What it does not do
//!
//! - It sends nothing again. What the connection below has accepted is no longer its business, and
//!   a message that was written to a connection which then broke is lost, unless an acknowledging
//!   layer below keeps it, or a [`Store`] takes it back.
//! - It does not outlive the process: what is in memory is lost with it, unless its [`Store`] is a
//!   durable one, such as that of `tower-ws-spool`.
//! - It does not limit a rate: it passes on what the layers below take. Put a rate limit below.
//! - It has no classes beside the [lanes](tower_ws_core::Lane): what must not wait goes by the
//!   control lane.

mod buffer;
mod connection;
mod handle;
mod layer;
mod overflow;
mod service;
mod store;

pub use self::{
    connection::QueueConnection,
    handle::{Dropped, Handle, Snapshot},
    layer::QueueLayer,
    overflow::Overflow,
    service::Queue,
    store::{Held, MakeStore, MemoryStore, Store},
};
