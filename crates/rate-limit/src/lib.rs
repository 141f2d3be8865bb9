//! A tower layer that limits dials, messages and bytes out, and floods in; and a plain one that
//! limits requests by a key.
//!
//! [`RateLimitLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). [`KeyedRateLimitLayer`] stands over any service at
//! all.
//!
//! # When to use it
//!
//! When the server counts, and bans who sends too much; when many clients of one process would come
//! back all at once; when a peer is not trusted to be gentle. Without it this side sends as fast as
//! the socket takes it, dials as often as reconnect wants, and reads as fast as the peer sends.
//!
//! It stands below reconnect, so that it sees each dial, and what a redial sends at once (a resend,
//! a queue that drains) is limited too; and above health, so that a probe waits for no turn, and a
//! limit that does not read is not taken for a peer that does not speak. It needs neither of them.
//!
//! # Example
//!
//! A layer without a limit limits nothing. What is right depends on the server.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::{num::NonZeroU32, time::Duration};
//!
//! use futures_util::{SinkExt, StreamExt};
//! use tokio::time::Instant;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_core::Event;
//! use tower_ws_rate_limit::{Quota, RateLimitLayer};
//! use tower_ws_transport::memory;
//!
//! let (memory, mut server) = memory::channel::<String>(8);
//! let five = NonZeroU32::new(5).expect("is not zero");
//! let connect = ServiceBuilder::new()
//!     // The server counts in windows: no more than five messages in any second.
//!     .layer(RateLimitLayer::new().messages(Quota::strict(five, Duration::from_secs(1))?))
//!     .service(memory);
//!
//! let (connection, peer) = tokio::join!(connect.oneshot(()), server.accept());
//! let (mut connection, _peer) = (Box::pin(connection?), peer);
//! assert!(matches!(connection.next().await, Some(Event::Up(_))));
//! let start = Instant::now();
//! for n in 0..6 {
//!     connection.send(format!("subscribe {n}").into()).await?;
//! }
//! assert!(start.elapsed() >= Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::{num::NonZeroU32, time::Duration};
//!
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_health::HealthLayer;
//! use tower_ws_rate_limit::{Excess, Inbound, Limiter, Quota, RateLimitLayer};
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_transport::{Message, TransportLayer};
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let n = |n| NonZeroU32::new(n).expect("is not zero");
//! // One for the process: all clients together dial ten times a second, evenly.
//! let dials = Limiter::new(Quota::per_second(n(10)).burst(n(1)));
//!
//! let (limit, handle) = RateLimitLayer::pair();
//! let limit = limit
//!     .dials(dials.clone())
//!     .messages(Quota::strict(n(20), Duration::from_secs(1))?)
//!     .bytes(Quota::per_second(n(64 << 10)).burst(n(256 << 10)))
//!     .excess(Excess::Wait)
//!     .inbound(Inbound::new().messages(Quota::per_second(n(1_000))).patience(Duration::from_secs(60)))
//!     // The server says in band that it gets too much.
//!     .throttle_signal(|message: &Message| {
//!         let said = message.as_text()?.contains("\"code\":429");
//!         said.then_some(Duration::from_secs(5))
//!     });
//!
//! let connect = ServiceBuilder::new()
//!     .layer(ReconnectLayer::new())
//!     // Below reconnect: each dial counts.
//!     .layer(limit)
//!     // Below the limit: probes wait for no turn.
//!     .layer(HealthLayer::new())
//!     .layer(TransportLayer::new())
//!     .service(tcp_connector());
//! let session = connect.oneshot(Request::get(url).body(())?).await?;
//!
//! // From any thread.
//! assert_eq!(handle.snapshot().dials.map(|dials| dials.waited), Some(0));
//! # drop(session);
//! # Ok(()) }
//! ```
//!
//! # What is limited, and what happens then
//!
//! | | by | too much |
//! |---|---|---|
//! | [`dials`](RateLimitLayer::dials) | this layer and its clones, or all who share a [`Limiter`] | wait in `poll_ready`, first come, first served |
//! | [`messages`](RateLimitLayer::messages), [`bytes`](RateLimitLayer::bytes) out | this layer and its clones, or all who share a [`Limiter`](RateLimitLayer::outbound) | one message waits in hand and the sink is not ready, or each [comes back](Excess) |
//! | [`inbound`](RateLimitLayer::inbound) | each connection | not read for at most 5 s at a time; after [30 s](Inbound::patience) without a break the connection ends |
//!
//! - **State belongs to the layer, not to the connection.** A redial refills no burst. (What comes
//!   in is counted by connection: one flood must not keep others from being read.)
//! - **Turns are booked.** Each message and each dial learns at once when its turn is, behind all
//!   who came before, and sleeps until then; see [`Limiter`] for what is promised.
//! - **The control lane passes and does not count.** Pings and pongs are for the server's sake, at
//!   most [16](tower_ws_core::Lane::CONTROL_ROOM) of them stand at once, and a link that dies
//!   because they waited helps nobody. For a server that counts frames of any kind, leave them room
//!   in the quota.
//! - **A message that is too large for the limit of bytes** goes with a full burst and is paid for
//!   after, or [comes back](RateLimitLayer::bytes) where a strict window would never let it pass.
//! - **Waiting costs nothing else.** The message in hand takes its place in the quota once. If it
//!   is given up, its place goes to the next, unless bytes are limited too: then the rate makes up
//!   for it.
//!
//! # When the server says that it is too much
//!
//! | it says so by | what pauses | for how long, at most 5 minutes |
//! |---|---|---|
//! | a refused dial with `Retry-After` (429, 503, any) | all dials of the limit | what it says |
//! | a refused dial with status 429, or of the kind [`Throttled`](tower_ws_core::FailureKind::Throttled) | the same | [30 s](Limiter::PAUSE) |
//! | close code 1013 (try again later), 4429, 1008 whose reason speaks of too many requests | the same | [30 s](Limiter::PAUSE) |
//! | a message, by [`throttle_signal`](RateLimitLayer::throttle_signal) | all normal messages of the limit | what the closure says |
//! | any other way | the dials of a [`Limiter`] | [`Limiter::pause`] |
//!
//! It is told to one, and heeded by all who share the limit: they would be refused too, and be
//! banned for it. Dials pause only where dials are limited. The failure itself passes, and
//! reconnect heeds it for its own session.
//!
//! # When the server floods us
//!
//! Above the limit this side does not read, and TCP makes the peer wait. What has been read is
//! never dropped. Each stop is at most 5 s, because pongs are driven by reading and a server gives
//! up on a client that answers no ping. While it does not read it cannot see the end of the
//! connection either, until it reads again; what goes out goes on.
//!
//! If the peer was ahead of the limit for all of the [patience](Inbound::patience), it ends the
//! connection, as [`RateLimitConnection`] says, and reconnect comes back after 30 to 120 s. A limit
//! that is too small for what the server has to say therefore ends each connection after 30 s, and
//! says so in its failure and its log.
//!
//! ## Why does health not take a stop for a dead peer?
//!
//! Because health, below, is not asked while this layer does not read, and judges only by a read
//! that found nothing. The first read after a stop finds what has come meanwhile; if that is
//! nothing, health asks the peer before it judges.
//!
//! # How dials differ from reconnect's `Budget`
//!
//! A budget belongs to sessions: reconnect plans its next attempt with it, so that a handle, the
//! log and the policy's history know the time of the slot. It sees nothing but the redials of
//! reconnect, and hears of no other session's `Retry-After`. This limit stands where connections
//! are made, and holds for whatever dials: without reconnect, for each target of a failover, for a
//! pool. It knows bursts, strict windows and the server's wishes, and to reconnect a dial that
//! waits here looks like one that is slow to become ready. For a thousand sessions of one server
//! that only must not stampede, take the budget. If the server counts, or asks for pauses, take
//! this. Both together do no harm; the stricter one decides.
//!
//! # What it does not do
//!
//! - It does not queue: it holds one message at most. A queue, above, does.
//! - It does not learn the limit from headers such as `X-RateLimit-Remaining`; an application that
//!   reads them has [`Limiter::pause`].
//! - It does not bound the time that a dial waits; a `tower::timeout` above it bounds the waiting
//!   of a call, not of readiness.
//! - It knows nothing of other processes, unless whoever gives the [`Turns`] of a
//!   [shared](Limiter::shared) limit does: `tower-ws-fleet` does so on a database.
//!
//! # Logs
//!
//! `WARN` when a pause begins (`limit`, `pause_ms`), and when a flood ends a connection
//! (`connection`, `over_ms`). `DEBUG` when the server asks again during a pause, and when a flood
//! begins and is over (`connection`).

mod booking;
mod connection;
mod future;
mod gcra;
mod handle;
mod inbound;
mod intake;
mod keyed;
mod layer;
mod limiter;
mod meter;
mod quota;
mod schedule;
mod service;
mod throttle;
mod turns;
mod window;

pub use self::{
    connection::RateLimitConnection,
    future::RateLimitFuture,
    handle::{Handle, Snapshot},
    inbound::Inbound,
    keyed::{KeyedLimitError, KeyedRateLimit, KeyedRateLimitFuture, KeyedRateLimitLayer},
    layer::{Excess, RateLimitLayer},
    limiter::{LimitStats, Limiter},
    quota::{Quota, QuotaError},
    service::RateLimit,
    throttle::{NoSignal, ThrottleSignal},
    turns::{Cost, NoTurn, Turns},
};
