//! The contract of tower-ws: what a connection is, what its events mean, and which laws every layer
//! keeps.
//!
//! A layer of tower-ws is a [`tower_layer::Layer`] over a service whose *response is a connection*:
//! it maps the connection that comes up to a wrapped one. A [`Connection`] is a `Sink` of
//! [`Outgoing`] messages and a `Stream` of [`Event`]s. Both directions pass through one struct with
//! `&mut self`: no lock, no second task.
//!
//! This crate names no WebSocket library and opens no socket. It has
//!
//! - the contract: [`Connection`], [`Outgoing`], [`Event`], [`Ticket`];
//! - why things fail and what to do about it: [`Failure`], [`Disposition`];
//! - which orders of a stack cannot work, and why: [`Up::check_order`], [`WrongOrder`];
//! - [`Lift`], which makes a connection of any `Sink + Stream` of messages;
//! - [`OpeningLayer`], which runs a dialogue on each fresh connection before it is handed up;
//! - [`jsonrpc`], the envelope that the client, the acknowledging layer and the probes have in
//!   common;
//! - [`drive`], the core of whoever moves a session for an application: fair rounds of reading, writing
//!   and time, and a bounded inbox;
//! - help for writing layers: [`MapConnection`], [`forward_sink!`], [`BoxConnection`], [`Halves`],
//!   [`Severable`], [`Alarm`], [`Shared`].
//!
//! # A layer of your own
//!
//! ```
//! use std::{pin::Pin, task::{Context, Poll}};
//!
//! use futures_core::Stream;
//! use futures_sink::Sink;
//! use pin_project::pin_project;
//! use tower_layer::Layer;
//! use tower_service::Service;
//! use tower_ws_core::{Closed, Connection, Event, MapConnection, Outgoing, Wrap, forward_sink};
//!
//! /// Counts what comes in.
//! #[derive(Clone)]
//! struct CountLayer;
//!
//! impl<S> Layer<S> for CountLayer {
//!     type Service = Count<S>;
//!     fn layer(&self, inner: S) -> Count<S> {
//!         Count { inner }
//!     }
//! }
//!
//! #[derive(Clone)]
//! struct Count<S> {
//!     inner: S,
//! }
//!
//! impl<S: Service<T>, T> Service<T> for Count<S> where S::Response: Connection {
//!     type Response = Counted<S::Response>;
//!     type Error = S::Error;
//!     type Future = MapConnection<S::Future, CountLayer>;
//!
//!     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//!         self.inner.poll_ready(cx)
//!     }
//!     fn call(&mut self, target: T) -> Self::Future {
//!         MapConnection::new(self.inner.call(target), CountLayer)
//!     }
//! }
//!
//! impl<C> Wrap<C> for CountLayer {
//!     type Connection = Counted<C>;
//!     fn wrap(self, inner: C) -> Counted<C> {
//!         Counted { inner, messages: 0 }
//!     }
//! }
//!
//! #[pin_project]
//! struct Counted<C> {
//!     #[pin]
//!     inner: C,
//!     messages: u64,
//! }
//!
//! impl<C: Connection> Stream for Counted<C> {
//!     type Item = C::Item;
//!     fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
//!         let this = self.project();
//!         let mut polled = this.inner.poll_next(cx);
//!         // Changed in place: an event is large, and moving it costs more than looking at it.
//!         if let Poll::Ready(Some(event)) = &mut polled {
//!             match event {
//!                 Event::Up(up) => up.layers.push("count"),
//!                 Event::Message(_) => *this.messages += 1,
//!                 _ => {}
//!             }
//!         }
//!         polled
//!     }
//! }
//!
//! impl<C: Connection> Sink<Outgoing<C::Message>> for Counted<C> {
//!     type Error = Closed;
//!     forward_sink!(inner);
//! }
//! # async fn proof(socket: tokio_tungstenite::WebSocketStream<tokio::io::DuplexStream>) {
//! # tower_ws_core::assert_connection(&Counted { inner: tower_ws_core::Lift::new(socket), messages: 0 });
//! # }
//! ```
//!
//! The conformance suite of `tower-ws-test-kit` puts a layer like this through the laws.
//!
//! # The laws
//!
//! 1. The first event is [`Up`]. Each `Up` is followed by one [`Down`] before the next `Up`; after
//!    the last, `None`. At the end of a session whoever holds messages gives each back as
//!    [`Dropped`](Event::Dropped), then the last `Down` passes.
//! 2. Reading drives everything: pongs, acknowledgements, timers, the redial. The sink never dials.
//! 3. Park before you poll. A layer that can replace the connection below stores the caller's waker
//!    before it polls that connection, and wakes it at every transition. Whoever writes may be
//!    another task than whoever reads.
//! 4. After a redial the sink is not ready until that epoch's `Up` has been read: what is to be
//!    sent again goes ahead of anything new.
//! 5. `start_send` follows a ready `poll_ready`, with one exception: a message in the [control
//!    lane](Lane::Control) may be handed over at any time, at most [16](Lane::CONTROL_ROOM) at
//!    once. Each layer passes it on ahead of what it holds; without a connection it comes back as
//!    `Dropped`. A flush always flushes below, also when the layer's own messages cannot move.
//! 6. `poll_close` writes and flushes the farewell and starts a deadline. It never reads: whoever
//!    reads goes on to `None`, and no unread message is lost. Dropping a connection aborts it.
//! 7. Conservation. Every message that a sink accepts ends exactly once: written,
//!    [`Delivered`](Event::Delivered), `Dropped` with a reason, or handed back when the session
//!    ends. A sink's only error is [`Closed`]; why, `Down` says. [Tickets](Ticket) move only
//!    forward. Whoever aborts a connection, by dropping it, asks for no account: what its socket
//!    had not taken, at most 16 control messages, goes without an event. Health does so with a dead
//!    peer.
//! 8. A service that is ready goes with the call; a clone of it is not ready.
//! 9. Wrapping is transparent where the layer has nothing to say, and order is kept in each lane.
//! 10. Cancelling is safe at every await.
//! 11. Timers run on `tokio::time`; wall time comes through a [`Clock`]; randomness is passed in. A
//!     test holds all three.
//! 12. Fairness. Whatever the peer or the runtime's budget does, timers, writes, commands and reads
//!     each get their turn: a layer looks at the clock (the clock, not the timer, which tokio can
//!     keep pending: [`Alarm`]) after 64 events at most, and nothing that is due waits for a read
//!     that finds nothing.
//! 13. One bound for each kind. What a peer or an application can make grow is bounded in number
//!     and in bytes at one place, and what is refused there is told.
//! 14. Bound to an [epoch](Outgoing::epoch). A message that makes sense on one connection only says
//!     so; whoever holds it when that epoch ends gives it back, and no other connection gets it.
//! 15. Who gives up tells. `Dropped` carries why, an interruption with its cause, and settles;
//!     nobody infers what somebody else is about to say.
//! 16. Ready is a promise for one message: it stays until it is used, within its epoch, and the
//!     next `start_send` does not fail while the session goes on. If the connection was lost in
//!     between, the message comes back. A service stays ready until it is called or fails.
//! 17. A loss stands where it happened: gaps are told in order, within their epoch.

pub mod drive;
mod failure;
pub mod jsonrpc;
mod layer;
mod lift;
mod message;
mod opening;
mod progress;
mod reading;
mod server;
mod suspicion;
mod time;

pub use self::{
    failure::{
        BoxError, Causes, Close, Disposition, DispositionTable, Excerpt, Failure, FailureKind, OverLimit, RetryAfter,
        chain, find,
    },
    layer::{
        BoxConnection, Closed, Connection, DynConnection, Halves, MapConnection, Position, Severable, Wrap, WrongOrder,
        assert_connection, boxed,
    },
    lift::{Deadlines, Lift, Plain, Wire},
    message::{
        Carry, ConnectionId, Down, DropReason, EndCause, Event, Lane, Length, Measure, OutageCause, Outgoing, Pack,
        Phase, Ping, Probe, Replay, Ticket, TicketSteps, Up, Verbatim,
    },
    opening::{Dialogue, Opening, OpeningConnection, OpeningContext, OpeningFuture, OpeningLayer},
    progress::Progress,
    reading::{Lease, Reading, Readings, Shared, Source, Unit, Value},
    server::Server,
    suspicion::Suspicion,
    time::{Alarm, Clock, FAR_FUTURE, Moment, Pace, SystemClock, later},
};
