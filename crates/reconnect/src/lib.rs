//! A tower layer under which connections come and go while the session lives on.
//!
//! [`ReconnectLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). Its own response, a [`ReconnectConnection`], is a
//! connection too, but one that dials anew below itself whenever the present one is lost. Those
//! above see [`Down`](tower_ws_core::Down), then [`Up`](tower_ws_core::Up) with the next epoch.
//!
//! # When to use it
//!
//! Whenever a session should outlive a deployment of its server, a lost network, or an idle timeout
//! of a proxy. Without it the first `Down` is the last.
//!
//! # Example
//!
//! ```
//! # use std::{convert::Infallible, sync::{Arc, Mutex}};
//! # use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
//! # use tokio::io::DuplexStream;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! # let servers = Arc::new(Mutex::new(Vec::<DuplexStream>::new()));
//! # let far_ends = servers.clone();
//! # let dial = tower::service_fn(move |_target: ()| {
//! #     let servers = far_ends.clone();
//! #     async move {
//! #         let (near, far) = tokio::io::duplex(1024);
//! #         servers.lock().unwrap().push(far);
//! #         Ok::<_, Infallible>(Lift::new(WebSocketStream::from_raw_socket(near, Role::Client, None).await))
//! #     }
//! # });
//! # let stop_server = || servers.lock().unwrap().clear();
//! use std::{pin::pin, time::Duration};
//!
//! use futures_util::StreamExt;
//! use tower::{Service, ServiceBuilder, ServiceExt, timeout::TimeoutLayer};
//! use tower_ws_core::{Event, Lift};
//! use tower_ws_reconnect::ReconnectLayer;
//!
//! let mut connect = ServiceBuilder::new()
//!     .layer(ReconnectLayer::new())
//!     // Below, so that it bounds each dial.
//!     .layer(TimeoutLayer::new(Duration::from_secs(10)))
//!     .service(dial);
//!
//! // Pinned, because later dials run inside it. `tower_ws_core::boxed` does it on the heap.
//! let mut session = pin!(connect.ready().await?.call(()).await?);
//! assert!(matches!(session.next().await, Some(Event::Up(up)) if up.epoch == 1));
//! stop_server();
//! assert!(matches!(session.next().await, Some(Event::Down(down)) if down.will_retry));
//! assert!(matches!(session.next().await, Some(Event::Up(up)) if up.epoch == 2));
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_reconnect::{Backoff, ReconnectLayer};
//!
//! let (layer, handle) = ReconnectLayer::pair();
//! let layer = layer
//!     .policy(
//!         Backoff::default()
//!             .cap(Duration::from_secs(60))
//!             .max_outage(Duration::from_secs(3600)),
//!     )
//!     .min_spacing(Duration::from_secs(2))
//!     .healthy_after(Duration::from_secs(30))
//!     .fail_fast();
//!
//! // From any thread: watch it, or tell it that the network is back.
//! assert_eq!(handle.state().borrow().as_str(), "disconnected");
//! handle.reconnect_now();
//! ```
//!
//! # When it dials
//!
//! A [`Policy`] decides; the default is [`Backoff`], which goes by the
//! [`Disposition`](tower_ws_core::Disposition) of each failure. Two rules hold whatever a policy, a
//! server or a [`Handle`] wants, so that no combination of them makes a storm:
//!
//! - Attempts begin at least [1 s](ReconnectLayer::min_spacing) apart, and no more than five within
//!   10 s.
//! - The count of attempts starts afresh only after a *healthy* connection, one that was up for at
//!   least [5 s](ReconnectLayer::healthy_after) and as long as the delay before it.
//!
//! ## Why is "connected" not enough to reset the backoff?
//!
//! Because of servers that accept and drop: a proxy without a backend, a crash at the first
//! message, an authentication that fails after the upgrade. Clients that reset at "connected"
//! answer them with hundreds of dials a second.
//!
//! # Many sessions in one process
//!
//! They are dropped together when their server restarts, and would come back together. A [`Budget`]
//! that they share bounds how many dial in a time; those that find none left are put off, each
//! until its own turn. There is none unless it is [given](ReconnectLayer::budget).
//!
//! # Several endpoints
//!
//! [`FailoverLayer`], right below, makes a session of [`Targets`]: it dials the first endpoint, in
//! the order of preference, that has not failed within the last [30 s](FailoverLayer::COOL_DOWN). A
//! refusal that is final at one endpoint ends the session only when all have refused.
//!
//! ```
//! # use std::{convert::Infallible, num::NonZeroU32, time::Duration};
//! # use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
//! # use tower_ws_core::{BoxError, Failure, FailureKind, Lift};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! # let dial = tower::service_fn(|target: &'static str| async move {
//! #     if target == "wss://here.example" {
//! #         return Err(BoxError::from(Failure::new(FailureKind::Handshake, "refused").with_status(403)));
//! #     }
//! #     let (near, far) = tokio::io::duplex(1024);
//! #     tokio::spawn(async move { let _far = far; std::future::pending::<()>().await });
//! #     Ok(Lift::new(WebSocketStream::from_raw_socket(near, Role::Client, None).await))
//! # });
//! use futures_util::StreamExt;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_core::Event;
//! use tower_ws_reconnect::{Budget, EndpointIndex, FailoverLayer, ReconnectLayer, Targets};
//!
//! let budget = Budget::new(NonZeroU32::MIN, Duration::from_secs(1));
//! let targets = Targets::new("wss://here.example", ["wss://there.example"]);
//! let connect = ServiceBuilder::new()
//!     .layer(ReconnectLayer::new().budget(budget))
//!     .layer(FailoverLayer::new())
//!     .service(dial);
//!
//! let session = connect.oneshot(targets.clone()).await?;
//! let Some(Event::Up(up)) = Box::pin(session).next().await else {
//!     return Err("not connected".into());
//! };
//! assert_eq!(up.extensions.get(), Some(&EndpointIndex(1)));
//! let why = targets.endpoints()[0].last_failure.clone();
//! assert_eq!(why.and_then(|failure| failure.status()), Some(403));
//! # Ok(())
//! # }
//! ```
//!
//! # Which failures are tried again
//!
//! Those that the [table](tower_ws_core::Disposition) says. For a protocol with close codes of its
//! own there are named tables, and each takes rows of your own: [`ReconnectLayer::dispositions`]. A
//! [`Policy`] has the last word.
//!
//! # When a refusal is final
//!
//! Before the first `Up`, at once: the address, the certificate or the credential is wrong. After
//! it, whoever was up may be up again: while its servers are replaced, a host answers with 404, 403
//! or a redirect, shows another's certificate, or speaks plaintext. So a failed dial that would end
//! the session is tried again, as any other, and ends it only once refusals have lasted for
//! [10 min](ReconnectLayer::refusals_final_after). A connection that comes up ends that time.
//!
//! - 401, 403 and 407 may lock an account: after the first of them, or after a close for the same
//!   reason (4401), a new credential is shown at the next spacing; then come two more dials, 1 and
//!   2 min later, and a last one when the time is up.
//! - What this side forbids (a guard, a policy, a wrong call) and what the server means for good (a
//!   [close](tower_ws_core::Disposition) that says so) ends the session at once, as before.
//! - Each refusal is logged with the seconds that are left, a certificate that fails as `ERROR`;
//!   [`State::BackingOff`] tells when it will be final.
//!
//! The order of rules: what the peer said for good, what this side forbids, what asks to be left
//! alone for a while, this one.
//!
//! # In a long outage
//!
//! The session goes on dialling, for as long as the policy wants. Who would rather be told at once
//! than wait puts a [`CircuitLayer`] on the client: it fails requests fast, and names the cause and
//! when the next attempt begins. The [state](Handle::state) has both, too, and each failure is
//! [reported](ReconnectLayer::reporter) once.
//!
//! # What it does not do
//!
//! - It does not send anything again, and keeps no message: what is sent in an outage waits at the
//!   sink, or in a queue above.
//! - It does not probe: a dead peer is noticed by a health layer below, which ends the connection.
//! - It sets no deadline for a dial: the transport has one, and so has `tower::timeout`. A dial
//!   that hangs is not retried.
//! - It does not get credentials: for
//!   [`RefreshCredentials`](tower_ws_core::Disposition::RefreshCredentials) it dials once more, and
//!   an auth layer below sees to the rest.
//! - It does not read by itself: whoever holds the session reads it all the time, and in another task
//!   than the one that sends. A program that waits for its own send before it reads on waits for
//!   ever once the link is lost, since nothing redials then (a `WARN` says so after 5 s). A boundary
//!   on top, for calls or for messages, has a task that does both.
//! - It does not bound the dials of a whole process unless its sessions share a [`Budget`], and
//!   never those of several.
//! - It does not notice by itself that the network changed or the machine slept: whoever does calls
//!   [`Handle::reconnect_now`].
//!
//! # Logs
//!
//! One `tracing` event for each transition: `DEBUG` for a dial and a delay, `INFO` when a
//! connection is up or the session closed. One for each failure, by [`LogReporter`] unless another
//! [reporter](ReconnectLayer::reporter) takes its place: `WARN` when a dial failed or a connection
//! is down, and what follows, `ERROR` when the session ends because the policy gave up, and for each
//! certificate that fails after the first `Up`. The fields
//! are `epoch`, `attempt`, and where they apply `connection`, `kind`, `rule` (the [disposition](tower_ws_core::Disposition) that
//! decided), `cause`, `delay_ms`, `final_in_s`. A `WARN`
//! tells of each control message that is [discarded](Handle::discarded), and of a message that has
//! waited 5 s to be sent while nobody read the session. Failover tells which
//! `endpoint` it dials (`DEBUG`), and which cools down (`WARN`), why, and for how many
//! `cool_down_ms`.
//!
//! Each attempt is in a span `dial` (`INFO`), with the `epoch` that it would begin and its
//! `attempt`: what the layers below log while they dial is in it.

mod backoff;
mod budget;
mod circuit;
mod closer;
mod connection;
mod dialer;
mod error;
mod failover;
mod future;
mod handle;
mod layer;
mod outage;
mod policy;
mod refusals;
mod report;
mod service;
mod session;
mod unread;

pub use self::{
    backoff::Backoff,
    budget::Budget,
    circuit::{Circuit, CircuitError, CircuitFuture, CircuitLayer, CircuitOpen},
    connection::ReconnectConnection,
    error::ReconnectError,
    failover::{
        Endpoint, EndpointIndex, EndpointState, Failover, FailoverConnection, FailoverFuture, FailoverLayer, Targets,
    },
    future::ReconnectFuture,
    handle::{Handle, Snapshot, State, Transition},
    layer::ReconnectLayer,
    policy::{Decision, History, Policy},
    report::{Follows, Incident, LogReporter, Reporter},
    service::Reconnect,
};
