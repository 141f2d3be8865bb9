//! A tower layer that counts and measures connections and sessions, through the [`metrics`] facade.
//!
//! [`MetricsLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection). It changes nothing of what passes. Which recorder the
//! numbers go to (Prometheus, StatsD, OpenTelemetry, none) is the application's choice: it installs
//! one of the exporters that exist for the facade.
//!
//! # Where it stands
//!
//! At two heights, in one stack or alone:
//!
//! - [`MetricsLayer::session`], right under the client, above everything that redials or holds
//!   messages. It sees what the application sees: outages, reconnects, every message once, and
//!   every message that a queue or an acknowledging layer gave up.
//! - [`MetricsLayer::connection`], right below reconnect. It sees what the network sees: each dial
//!   and why it failed, each attempt at a message, the bytes of the socket.
//!
//! At the other's place neither would count what its names say, so a client refuses such a stack
//! ([`WrongOrder`](tower_ws_core::WrongOrder)). In [`Up`](tower_ws_core::Up) they are called
//! `session-metrics` and `connection-metrics`.
//!
//! [`TapLayer`] is for figures of your own: it shows each message to a closure.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! # let recorder = metrics_util::debugging::DebuggingRecorder::new();
//! # let numbers = recorder.snapshotter();
//! # let _installed = metrics::set_default_local_recorder(&recorder);
//! # let (dial, mut listener) = tower_ws_transport::memory::channel::<String>(8);
//! # let server = tokio::spawn(async move { listener.accept().await });
//! // An exporter has been installed: `PrometheusBuilder::new().install()`, say.
//! use futures_util::StreamExt;
//! use tower::{Service, ServiceBuilder};
//! use tower_ws_core::Event;
//! use tower_ws_metrics::MetricsLayer;
//!
//! let mut connect = ServiceBuilder::new().layer(MetricsLayer::session()).service(dial);
//! let mut session = connect.call(()).await?;
//! assert!(matches!(session.next().await, Some(Event::Up(_))));
//! // `tower_ws_session_up` is 1 now.
//! # let up = numbers.snapshot().into_vec().into_iter().find(|(key, ..)| key.key().name() == "tower_ws_session_up");
//! # assert_eq!(up.unwrap().3, metrics_util::debugging::DebugValue::Gauge(1.0.into()));
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::time::Duration;
//!
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt, timeout::TimeoutLayer};
//! use tower_ws_metrics::MetricsLayer;
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_connector::tcp_connector;
//! use tower_ws_transport::TransportLayer;
//! # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::Echo).await?;
//! # let url = server.url();
//!
//! let connect = ServiceBuilder::new()
//!     // Outermost: a message counts once, however often it is sent.
//!     .layer(MetricsLayer::session().label("server", "orders"))
//!     .layer(ReconnectLayer::new())
//!     // Below reconnect: each dial counts.
//!     .layer(MetricsLayer::connection().label("server", "orders"))
//!     // Below that, or a dial that takes too long counts as cancelled rather than as a timeout.
//!     .layer(TimeoutLayer::new(Duration::from_secs(10)))
//!     .layer(TransportLayer::new())
//!     .service(tcp_connector());
//! let session = connect.oneshot(Request::get(url).body(())?).await?;
//! # drop(session);
//! # Ok(()) }
//! ```
//!
//! # Metrics of a session
//!
//! The last column is the alert that one would write, in PromQL, with what it says at 3 a.m.
//!
//! | name | type | unit | labels | meaning | alert |
//! |---|---|---|---|---|---|
//! | `tower_ws_session_open` | gauge | count | | sessions begun and not ended, with a connection or without | |
//! | `tower_ws_session_up` | gauge | count | | sessions that have a connection now | `tower_ws_session_open - tower_ws_session_up > 0` for 5 min: down for longer than a deployment takes; `tower_ws_connection_dials_total` says why |
//! | `tower_ws_session_ups_total` | counter | count | | connections that came up | |
//! | `tower_ws_session_reconnects_total` | counter | count | | those that came after another of the same session | `increase(…[10m]) > 10`: flapping; it comes up and does not stay |
//! | `tower_ws_session_downs_total` | counter | count | `next` `cause` | connections lost or closed; `next` is `retry` or `final` | `increase(…{cause="protocol"}[1h]) > 0`: somebody on the way breaks the protocol |
//! | `tower_ws_session_closes_total` | counter | count | `code` | those that the peer closed with a code | `increase(…{code="1009"}[1h]) > 0`: our messages are too large for it |
//! | `tower_ws_session_ends_total` | counter | count | `cause` | sessions over, also those that never came up; `dropped` if nobody closed them, `local` if closed on request or nobody knows why | `increase(…{cause!="local",cause!="dropped"}[5m]) > 0`: nobody will try again, start it anew |
//! | `tower_ws_session_uptime_seconds` | histogram | seconds | | how long each connection was up | a median that sticks to 60 or 300: an idle timeout on the way |
//! | `tower_ws_session_outage_seconds` | histogram | seconds | `outcome` | from `Down` to the next `Up` (`recovered`), or to the end of the session (`abandoned`) | 99 % of `recovered` above what was promised |
//! | `tower_ws_session_messages_received_total` | counter | count | `kind` | messages that came in | `rate(…[5m]) == 0` while up: connected, and the feed is silent |
//! | `tower_ws_session_received_bytes_total` | counter | bytes | `kind` | their payload | |
//! | `tower_ws_session_messages_sent_total` | counter | count | `kind` `lane` | messages that the layer below accepted; a queue may hold them yet | |
//! | `tower_ws_session_sent_bytes_total` | counter | bytes | `kind` `lane` | their payload | |
//! | `tower_ws_session_messages_delivered_total` | counter | count | | messages that the peer acknowledged, where the protocol has bare acknowledgements | |
//! | `tower_ws_session_messages_dropped_total` | counter | count | `lane` `reason` | messages that were accepted and came back | `increase(…{reason="overflow"}[5m]) > 0`: messages are lost; `interrupted`: outcomes are unknown, check what was done twice or not at all |
//!
//! # Metrics of connections
//!
//! | name | type | unit | labels | meaning | alert |
//! |---|---|---|---|---|---|
//! | `tower_ws_connection_dials_in_progress` | gauge | count | | dials begun and not finished | `> 0` for 1 min: a dial hangs, and nothing bounds it |
//! | `tower_ws_connection_dials_total` | counter | count | `outcome` `cause` | dials finished: `ok`, `failed` by cause, or `cancelled` (dropped); a service that fails to become ready has not dialled | `rate(…{outcome="failed"}[5m]) > 0` for 10 min, by `cause`: `dns`, `tls`, `auth` … name who is to be woken |
//! | `tower_ws_connection_dials_refused_total` | counter | count | `status` | dials that a server, or a proxy before it, answered with another HTTP status than 101 | `rate(…{status=~"40[137]"}[5m]) > 0`: credentials; `404` for long: the address |
//! | `tower_ws_connection_dial_seconds` | histogram | seconds | `outcome` | how long a dial took | 99 % of `ok` above 2: the server accepts slowly, timeouts are near |
//! | `tower_ws_connection_open` | gauge | count | | connections open now, from the end of the dial to `Down` or drop | more than there are clients: connections leak |
//! | `tower_ws_connection_duration_seconds` | histogram | seconds | | how long each was open | |
//! | `tower_ws_connection_downs_total` | counter | count | `cause` | connections lost or closed; one that is dropped without a `Down` is not among them | `increase(…{cause="timeout"}[10m]) > 3`: links die silently |
//! | `tower_ws_connection_closes_total` | counter | count | `code` | those that the peer closed with a code | `increase(…{code="1013"}[5m]) > 0`: the server is overloaded |
//! | `tower_ws_connection_socket_read_bytes_total` | counter | bytes | | bytes read since the handshake, framing included, TLS not | `increase(…[2m]) == 0` while open: not even a pong |
//! | `tower_ws_connection_socket_written_bytes_total` | counter | bytes | | bytes written since the handshake, likewise | |
//! | `tower_ws_connection_messages_received_total` | counter | count | `kind` | messages that came in | |
//! | `tower_ws_connection_received_bytes_total` | counter | bytes | `kind` | their payload | |
//! | `tower_ws_connection_messages_sent_total` | counter | count | `kind` `lane` | messages that the layer below accepted; one that is sent again counts again | more than at the session for long: the peer makes us repeat ourselves |
//! | `tower_ws_connection_sent_bytes_total` | counter | bytes | `kind` `lane` | their payload | |
//! | `tower_ws_connection_messages_dropped_total` | counter | count | `lane` `reason` | messages that were accepted and came back | `increase(…{reason="too_large"}[1h]) > 0`: a limit and its user disagree |
//!
//! The bytes of the socket come from the transport's [`Progress`](tower_ws_core::Progress), at each
//! event and at the end. A transport without one leaves them at zero.
//!
//! # Metrics of other layers
//!
//! What other layers know of themselves and show in [`Up`](tower_ws_core::Up)
//! ([`Readings`](tower_ws_core::Readings)) is published by [`MetricsLayer::session`], which reads
//! it at each transition, at the end, and every 5 s while messages pass (or are acknowledged, or given
//! up), something is held, or there is no connection. An idle session is not woken for it: it reads
//! when it is awake for another reason, such as a ping. A layer of your own joins in with one line,
//! [`Up::show`](tower_ws_core::Up::show). A
//! durable queue has rows of its own in the docs of `tower-ws-spool`.
//!
//! | name | type | unit | labels | meaning | alert |
//! |---|---|---|---|---|---|
//! | `tower_ws_queue_depth` | gauge | count | | messages held by queues | grows while up: the peer is slower than we are |
//! | `tower_ws_queue_bytes` | gauge | bytes | | their payload | near the bound: senders wait, or messages are dropped |
//! | `tower_ws_queue_oldest_seconds` | histogram | seconds | | how long the oldest has been held, whenever it is read; nothing if none is held | 99 % above half of what the queue allows: messages expire soon |
//! | `tower_ws_queue_dropped_total` | counter | count | `reason` | messages given up by queues; those of the session contain them | `increase(…{reason="expired"}[5m]) > 0`: they wait for longer than they are worth |
//! | `tower_ws_ack_in_flight` | gauge | count | | messages sent and not acknowledged | at the window for 1 min: the peer acknowledges too slowly |
//! | `tower_ws_ack_bytes` | gauge | bytes | | their payload | |
//! | `tower_ws_ack_round_trip_seconds` | histogram | seconds | | from handing a message down to its acknowledgement, of the last at each reading; one that is sent twice is left out | 99 % above what callers wait |
//! | `tower_ws_ack_settled_total` | counter | count | `outcome` | messages that were waited for: `acknowledged`, `interrupted`, `expired` | `rate(…{outcome="expired"}[5m]) > 0`: the server answers too late or not at all |
//! | `tower_ws_ack_resent_total` | counter | count | | messages sent again that the peer may have seen | |
//! | `tower_ws_ack_stray_total` | counter | count | `why` | acknowledgements that settled nothing: `late`, `unmatched` | `rate(…{why="unmatched"}[5m]) > 0`: the peer answers what nobody asked |
//! | `tower_ws_health_connections` | gauge | count | `quality` | connections, by how good they are: `good`, `fair`, `poor`, `unknown` | `…{quality="poor"} > 0` for 5 min: the way to the server is bad |
//! | `tower_ws_health_rtt_seconds` | histogram | seconds | | round trips of probes, of the last at each reading | |
//! | `tower_ws_health_jitter_seconds` | histogram | seconds | | their jitter, smoothed | |
//! | `tower_ws_health_probes_sent_total` | counter | count | | probes sent | |
//! | `tower_ws_health_probes_total` | counter | count | `outcome` | probes settled: `answered`, `lost` | `rate(…{outcome="lost"}[5m]) > 0`: links lose packets, or peers hang |
//! | `tower_ws_reconnect_sessions` | gauge | count | `state` | sessions that have been up and have not ended: `connecting`, `connected`, `backing_off`, `offline` | `…{state="offline"} > 0`: somebody switched it off |
//! | `tower_ws_subscribe_subscriptions` | gauge | count | `state` | subscriptions that stand: `active` if the server has them, `waiting` | `…{state="waiting"} > 0` for 5 min: the server does not take them back |
//! | `tower_ws_subscribe_bytes` | gauge | bytes | | the messages that begin subscriptions | |
//! | `tower_ws_subscribe_said_total` | counter | count | | subscriptions said to a server, again or first | |
//! | `tower_ws_subscribe_refused_total` | counter | count | | subscriptions that were refused | any |
//! | `tower_ws_subscribe_duplicates_total` | counter | count | | messages that came twice, by their sequence numbers | |
//! | `tower_ws_subscribe_missed_total` | counter | count | | sequence numbers that are missing | any: what is told is not all |
//! | `tower_ws_rate_limit_waited_total` | counter | count | `limit` | dials and messages that had to wait for a turn: `dials`, `messages` | |
//! | `tower_ws_rate_limit_refused_total` | counter | count | `limit` | dials and messages for which there was no room | |
//! | `tower_ws_rate_limit_pauses_total` | counter | count | `limit` | pauses because the server said that it is too much | a rate above 0: ask for less |
//! | `tower_ws_rate_limit_floods_total` | counter | count | | times that so much came in that this side stopped reading | |
//! | `tower_ws_rate_limit_flooded_total` | counter | count | | connections ended because too much came in for too long | any |
//! | `tower_ws_reconnect_discarded_total` | counter | count | | control messages discarded without an event: no connection, and nobody who reads | |
//!
//! # Labels
//!
//! Their values are fixed words, chosen by this side: no address, id, epoch or text of a message,
//! an error or a close reason gets into one.
//!
//! | label | values |
//! |---|---|
//! | `kind` | what [`Measure::kind`](tower_ws_core::Measure::kind) says, at most 16 words; then `other` |
//! | `lane` | `normal`, `control` |
//! | `reason` | [`DropReason::as_str`](tower_ws_core::DropReason::as_str) |
//! | `cause` | [`FailureKind::as_str`](tower_ws_core::FailureKind::as_str); `dropped` for a session, `none` for a dial that did not fail |
//! | `next` | `retry`, `final` |
//! | `code` | a [registered](https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number) close code; `3xxx`, `4xxx`, `other` |
//! | `outcome` | `ok`, `failed`, `cancelled` for a dial; `recovered`, `abandoned` for an outage; `acknowledged`, `interrupted`, `expired` for a message; `answered`, `lost` for a probe |
//! | `why` `quality` `state` | as the table of other layers says |
//!
//! A word of a later version of the contract that this layer does not know yet counts as `other`.
//!
//! All series are there from the start, at zero, so that the first event of its sort is an
//! increase; but for those with a `kind`, which begin with the first message of that kind, and
//! those of other layers, which begin with the first connection.
//!
//! # Why do I see no metrics?
//!
//! Because the recorder was installed too late. Each layer looks its handles up once, when the
//! stack is built (`ServiceBuilder::service`, `Layer::layer`): so a message costs no lookup.
//! Install the recorder before that. For the same reason, do not let an exporter forget idle series
//! (`idle_timeout`): what it has forgotten stays forgotten while any session with the same label lives.
//!
//! Recorders are told apart by their address. One for a thread (`metrics::with_local_recorder`, in
//! tests) has to outlive the sessions that were built under it: another that is made at the same
//! place meanwhile would be taken for it, and see nothing.
//!
//! # Why is the height not a label?
//!
//! Because a sum over it would count each message twice. So the heights have names of their own,
//! and any sum over labels means something.
//!
//! # Why do my histograms have no buckets?
//!
//! Because the exporter decides. The default of some is a summary, which cannot be added up over
//! processes. Ask for buckets for names that end in `_seconds`: from 5 ms to 30 s for dials, to a
//! day for the others.
//!
//! # Cost
//!
//! For each message, in each layer: 6 ns to receive, 7 ns to send, no allocation, no lookup, no
//! clock; 4 ns and 5 ns without a recorder. For each time that a session has nothing to read, and for
//! each 64th event: one
//! look at a timer. For each dial: two looks at the clock and about 0.2 µs. For building a stack:
//! 18 µs. (Release build with fat LTO on one core of a shared 2-core virtual machine, handles of
//! `metrics-util`'s atomic registry, median of five runs of 5 million messages of two kinds, less
//! the same run without the layer.)
//!
//! # Logs
//!
//! One `tracing` event at `DEBUG` for each dial that [`MetricsLayer::connection`] sees finish, with
//! the fields `outcome`, `cause` and `elapsed_ms`. Reconnect logs transitions; there are no spans,
//! since in a poll of a connection they would cost more than the rest of the layer.
//!
//! # What it does not do
//!
//! - It installs no recorder and exports nothing.
//! - It measures no round trips and knows no depth of a queue itself: it publishes what the layers
//!   that do these things show. The limits of `tower-ws-rate-limit` belong to a layer and not to a
//!   session, and are in its handle only.
//! - It does not see what passes below it only: the probes of a health layer, an exchange of
//!   credentials. The bytes of the socket contain them.
//! - It loses no error and adds none: they are boxed, and pass as they are.

mod connection;
mod future;
mod layer;
mod link;
mod meter;
mod names;
mod readings;
mod register;
mod service;
mod session;
mod tap;
mod traffic;
mod words;

pub use self::{
    connection::MetricsConnection,
    future::MetricsFuture,
    layer::MetricsLayer,
    service::Metrics,
    tap::{Seen, Tap, TapLayer, Tapped, Way},
};
