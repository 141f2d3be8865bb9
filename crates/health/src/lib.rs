//! A tower layer that notices dead peers, and leaves them.
//!
//! [`HealthLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). It asks a peer of whom nothing comes in, and ends the
//! connection if nothing comes in then either. Besides, it measures.
//!
//! # When to use it
//!
//! Always, unless the peer is known to speak all the time and something else watches that. A peer
//! that loses its power, or a path that is cut without a word, leaves a connection that looks open.
//! Without this layer whoever only reads waits for ever, and whoever writes learns of it when TCP
//! gives up, after some 15 minutes.
//!
//! It stands below reconnect, which dials anew when this layer ends a connection, and below a rate
//! limit, so that a limit which does not read is not taken for a peer who does not speak. Above
//! reconnect its verdict would end the session.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::{StreamExt, future::join};
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_core::Event;
//! use tower_ws_health::HealthLayer;
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_transport::TransportLayer;
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let (health, handle) = HealthLayer::pair();
//! let connect = ServiceBuilder::new()
//!     // Dials anew when health has ended a connection.
//!     .layer(ReconnectLayer::new())
//!     // Pings when nothing came in for 20 s, and leaves after another 20 s.
//!     .layer(health)
//!     .layer(TransportLayer::new())
//!     .service(tcp_connector());
//!
//! let mut session = Box::pin(connect.oneshot(Request::get(url).body(())?).await?);
//! assert!(matches!(session.next().await, Some(Event::Up(_))));
//!
//! // Somebody reads, always: that is what drives it.
//! let reader = tokio::spawn(async move { while session.next().await.is_some() {} });
//! println!("the round trip takes {:?}", handle.probe_now().await?);
//! assert_eq!(handle.snapshot().probes_answered, 1);
//! # reader.abort();
//! # Ok(()) }
//! ```
//!
//! # Configuration
//!
//! For a protocol with a ping of its own, over a transport that has none ([`JsonRpcPing`] is there
//! for JSON-RPC):
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_health::{HealthLayer, probe_fn};
//!
//! let probe = probe_fn(
//!     |nonce| format!("PING {nonce}"),
//!     |message: &String| message.strip_prefix("PONG ")?.parse().ok(),
//! );
//! let (layer, handle) = HealthLayer::pair();
//! let layer = layer
//!     .probe(probe)
//!     // Noticed within 15 s.
//!     .interval(Duration::from_secs(10))
//!     .timeout(Duration::from_secs(5))
//!     // Probes exactly after the interval.
//!     .jitter(0.0);
//!
//! // From any thread, at any time.
//! assert_eq!(handle.snapshot().quality.as_str(), "unknown");
//! ```
//!
//! # When it asks, and when it leaves
//!
//! | | default | |
//! |---|---|---|
//! | [`interval`](HealthLayer::interval) | 20 s | nothing came in for so long: a probe, ahead of everything that waits to be sent |
//! | [`timeout`](HealthLayer::timeout) | 20 s | nothing at all came in for so long after the probe had left this process: the end |
//! | [`jitter`](HealthLayer::jitter) | 0.1 | each interval is shorter by up to this share of it, never longer |
//! | [`keepalive`](HealthLayer::keepalive) | none | a probe goes out so often although the peer talks |
//!
//! So a dead peer is left within 40 s; while the system still takes bytes that wait before the
//! probe, within 40 s after it has stopped to. Twenty seconds of silence are
//! less than what proxies and NATs bear, and twenty more are time for TCP to send a lost probe
//! again several times.
//!
//! - **Any byte that comes in is life.** A server that works on one request at a time cannot pong
//!   meanwhile, and a message of 16 MiB over a slow link is not silence. Bytes are seen through the
//!   [`Progress`](tower_ws_core::Progress) that the transport leaves in [`Up`](tower_ws_core::Up);
//!   without it, messages are what counts.
//! - **What is sent is none.** The kernel takes bytes for a dead peer, too. But as long as what
//!   stands before a probe moves, the peer's time to answer has not begun: so an upload over a slow
//!   link lives. That the kernel does not hold minutes of it behind our back is the connector's
//!   part (`BoundUnsent` of `tower-ws-connector`); over others a slow upload may be taken for
//!   silence.
//! - **An answer is known by its nonce.** A pong that nobody asked for answers nothing, and goes up
//!   as any message; its bytes are life. The answers to the layer's own probes do not go up.
//! - **Time in which this side did not read is no evidence.** The verdict comes only after a read
//!   that found nothing since the time was up. A look that is late by a quarter of the timeout, at
//!   most 5 s, says that this process stood still (blocked, stopped, or nobody read): the peer gets
//!   a probe at once, with its full time, instead of a verdict, once in each silence. The same goes
//!   for a wall clock that has run more than 5 s ahead of the monotonic one (a suspended machine).
//!   For that the layer looks four times while a probe is unanswered. The clocks
//!   are compared whenever a read finds nothing, and when the timer fires; a program that hears of
//!   the resume from its system calls [`Handle::probe_now`].
//! - **A peer that talks may be deaf.** When calls ran to their limits and nothing was answered
//!   meanwhile, those above say so (a [`Suspicion`](tower_ws_core::Suspicion), left in
//!   [`Up`](tower_ws_core::Up)). Then one probe has to be answered, by its own answer, within the
//!   timeout, or the connection is left. A front that answers pings for an application which has
//!   died is found by a probe that reaches the application: [`JsonRpcPing`].
//! - **A peer that has never answered a probe** may not know them, and speak once in a minute. It is
//!   left as any other, but each time it has twice the timeout on the next connection, up to 16
//!   times, until an answer comes. Such a connection begins with a probe: a peer that was never asked
//!   while it lived, since it talked all the time, answers that, and has the plain timeout again.
//! - **A dead peer is not said goodbye to.** The connection below is dropped; see
//!   [`HealthConnection`].
//!
//! ## Why is the peer's answer not enough to be alive?
//!
//! It is enough, and so is anything else. Clients that insist on the pong cut off peers that are
//! busy sending something large: the pong stands behind it.
//!
//! # What it measures
//!
//! [`Handle::snapshot`] and [`Handle::watch`]: round trips (last, smoothed, percentiles), jitter,
//! lost probes, a grade of [`Quality`], uptime, reconnects, messages and bytes. They are also
//! [shown](tower_ws_core::Readings) to the layers above, of which that of `tower-ws-metrics`
//! publishes them. A connection that is never silent is not probed by itself, so its round trip is
//! that of [`Handle::probe_now`].
//!
//! # What it does not do
//!
//! - It does not redial: reconnect, above, does.
//! - It does not notice by itself a peer that answers pings and nothing else: calls that run to
//!   their limits do.
//! - It does not watch a connection that is being closed, and none that nobody reads.
//! - It does not account for the control messages (16 at most) that a dead peer's socket had not
//!   taken: they are aborted with it. Health keeps no copies, and whoever holds them is dropped.
//! - It does not wake an idle process but for its timer: once in each interval, and four times while a
//!   probe is unanswered.
//!
//! # Logs
//!
//! `DEBUG` for each probe, with the fields `connection`, `nonce` and `silent_ms`; `WARN` for a
//! verdict: with `connection`, `silent_ms`, `asked_ms` (how long the peer has had to answer) and
//! `never_answered` (a probe, on any connection) for a dead peer, with `unanswered_ms` (for how long
//! no call has been) and `asked_ms` for a deaf one.

mod connection;
mod error;
mod estimate;
mod handle;
mod hub;
mod json_rpc;
mod layer;
mod probe;
mod probes;
mod pulse;
mod service;
mod snapshot;
mod vigil;

pub use self::{
    connection::HealthConnection,
    error::ProbeError,
    handle::Handle,
    json_rpc::JsonRpcPing,
    layer::HealthLayer,
    probe::{ProbeFn, probe_fn},
    service::Health,
    snapshot::{Quality, Rtt, Snapshot},
};
