//! A durable store for the queue of tower-ws: what was accepted survives a crash of the process.
//!
//! A [`Spool`] is a file in which a [queue](tower_ws_queue) keeps its messages until the peer has acknowledged them. What
//! is in it when the process ends, however it ends, the next process sends: **at least once across restarts**.
//!
//! # When to use it
//!
//! When a message must not be lost with the process: a measurement from the field, an order, a log
//! record. It costs a write to the disk for each batch of messages, and the time that takes for
//! each message that goes out alone. It stands in the place of the queue's memory; the
//! acknowledging layer below must know the same [strategy](Spool::strategy). Without it the queue
//! holds messages for as long as the process lives.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("spool.db");
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_ack::{AckLayer, Bare};
//! use tower_ws_core::{Verbatim, boxed};
//! use tower_ws_queue::QueueLayer;
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_spool::Spool;
//! use tower_ws_transport::memory;
//!
//! // "7 text" awaits "ack 7", and the peer may see it twice.
//! let strategy = Bare::new(
//!     |sent: &String| sent.split(' ').next()?.parse::<u64>().ok(),
//!     |came: &String| came.strip_prefix("ack ")?.parse().ok(),
//! )
//! .all_safe();
//! let spool = Spool::open(&path, strategy.clone())?;
//!
//! let (transport, mut server) = memory::channel::<String>(8);
//! let stack = ServiceBuilder::new()
//!     .layer(QueueLayer::new().store(spool.clone()))
//!     .layer(AckLayer::new(strategy.clone()))
//!     .layer(ReconnectLayer::new())
//!     .service(transport);
//! let (session, _peer) = tokio::join!(stack.oneshot(()), server.accept());
//! let mut session = boxed(session?);
//! session.next().await;
//!
//! // Done once it is on the disk.
//! session.send("1 precious".to_owned().into()).await?;
//!
//! // Nobody has acknowledged it when the process ends; the next one brings it along.
//! drop(session);
//! spool.close().await;
//! let spool = Spool::<String, _>::open(&path, strategy)?;
//! assert_eq!(spool.handle().snapshot().recovered, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Configuration
//!
//! ```
//! # fn main() -> Result<(), tower_ws_spool::OpenError> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! # let path = folder.path().join("spool.db");
//! use std::time::Duration;
//!
//! use tower_ws_ack::JsonRpc;
//! use tower_ws_queue::QueueLayer;
//! use tower_ws_spool::{SpoolOptions, Survives};
//! use tower_ws_transport::JsonText;
//!
//! let strategy = JsonRpc::new(JsonText).safe_methods(["telemetry/put"]);
//! let spool = SpoolOptions::new()
//!     .limits(100_000, 256 << 20)
//!     .file_limit(1 << 30)
//!     .survives(Survives::Crash)
//!     .open(path, strategy)?;
//! let queue = QueueLayer::new()
//!     .messages(50_000)
//!     .bytes(128 << 20)
//!     // For 60 s, if nobody says otherwise, and that goes on across restarts.
//!     .age(Duration::from_secs(7 * 24 * 3600))
//!     .store(spool);
//! # let _: QueueLayer<_, tower_ws_spool::Spool<tower_ws_transport::Message, _>> = queue;
//! # Ok(())
//! # }
//! ```
//!
//! # When is a message accepted?
//!
//! When the flush after it is done: `sink.send(message).await` is `Ok`. Then it is on the disk,
//! also in an outage, and it survives what [`Survives`] says; unless it comes back as
//! [`Dropped`](tower_ws_core::Event::Dropped), which whoever reads is woken for by then. Nothing is
//! handed to the connection before it is recorded.
//!
//! Through a client: an answer means that it is done. A call that has no answer when the process is
//! killed is, if it was recorded by then, sent by the next process, whose client ignores the
//! answer: nobody waits for it. When the session ends in order, each call learns how it ended, and
//! is not sent behind its caller's back. A notification that is still held then is kept for the
//! next session, and is not among the client's leftovers.
//!
//! # What the next session sends
//!
//! In the order of acceptance, before anything new:
//!
//! | when the process or the session ended, the message | safe to send twice | not safe |
//! |---|---|---|
//! | had not been handed over | is sent | is sent |
//! | had been handed over, and was not acknowledged | is sent (again) | comes back as [`Interrupted`](tower_ws_core::DropReason::Interrupted), right after the first `Up` |
//! | was acknowledged, had expired, was given back | - | - |
//!
//! What is safe, its [`replay`](tower_ws_core::Outgoing::replay) says, or the strategy. So that
//! nothing unsafe is sent twice, it is marked before it is handed over, up to 64 messages with one
//! write; one that is marked and did not get away before a kill counts as handed over. A session
//! that ends in order gives back what it holds as [`Closed`](tower_ws_core::DropReason::Closed). If
//! such a message has still its [number](tower_ws_core::Outgoing::record), it is kept: the next
//! session sends it, and you should not. What somebody waits for (it has a ticket) is not kept.
//!
//! It may also be that an acknowledgement had come, and its record was still there when the process
//! was killed: then the message is sent again, or reported as interrupted. *Safe* must mean safe.
//!
//! ## Why does a message come back as interrupted that my server has never seen?
//!
//! Because the process was killed after the mark, and before the socket. Nobody can know from here.
//!
//! ## Where do ids and numbers go on?
//!
//! A new process must not number its messages as a dead one did: the peer, or the acknowledging
//! layer, would take one for the other. So the spool records how far the session's
//! [`Ids`](tower_ws_core::jsonrpc::Ids) have come with each message, and leaves a counter in the
//! extensions of each [`Up`](tower_ws_core::Up) that goes on from there. The client takes its ids
//! from it, and so should an application that numbers its messages itself. (A client that was made
//! by `ClientLayer::pair` from a bare connection has a counter of its own, which does not.)
//!
//! # Without acknowledgements
//!
//! What awaits none (by the strategy, such as a notification, or with [`Unacknowledged`]
//! everything) is settled by the next flush of the connection. That is weaker: the bytes are with
//! the system by then, not with the peer.
//!
//! # Time
//!
//! Age and [deadlines](tower_ws_core::Outgoing::deadline) are recorded as wall time and go on while
//! nobody runs. A clock that jumps ahead makes messages expire early, one that is set back makes
//! them live longer, by as much; within one session it does nothing.
//!
//! # Disks that fail
//!
//! [`OpenError`] says what is wrong with a file when it is opened, and nothing is repaired or
//! overwritten. When a write fails later (a full disk), each new message comes back as
//! [`Refused`](tower_ws_core::DropReason::Refused), unsent, until there is room again; what is
//! recorded stays, what is safe still goes out, the [`Handle`] shows the
//! [failure](Snapshot::failure), and the log has it once. A disk that hangs makes flushes wait;
//! reading, answers and the control lane go on.
//!
//! # The database
//!
//! It is SQLite, by `rusqlite`, compiled in. It is the best kept and most tested of the embedded
//! databases; its file format is stable and any tool reads it; a torn write is noticed by the
//! checksums of its log; what is damaged is an error, not a panic; a file has one owner, by a lock
//! that the kernel removes with the process. The price is 20 s of a C compiler, which `ring` needs
//! anyway, and six small crates. The pure Rust stores were looked at: the present `redb` (4.x) and
//! `fjall` (3.x) need a later Rust than this workspace does, `redb` does not check pages as it
//! reads them, and has had panics on damaged files, and the log-structured `fjall` is made for much
//! more data than a queue has. The payload itself has no checksum: a bit that the disk loses in
//! silence is not noticed.
//!
//! Beside the file there is its log, `-wal`, of some MiB: they belong together. Both are readable
//! by their owner alone, and **not encrypted**. The file does not belong on a network share.
//!
//! # What it costs
//!
//! All that waits while the disk works goes with the next write, so the cost for each message falls
//! with the traffic. What a message takes, as a multiple of what it takes with the queue in memory,
//! by how many go with one flush (medians of seven turns each in one run of `examples/cost.rs`,
//! optimised; the ratios are the disk's more than ours, so run it on your own):
//!
//! | messages for each flush | [`Survives::Crash`] | [`Survives::PowerLoss`] |
//! |---|---|---|
//! | 1 | 30 | 170 |
//! | 8 | 6 | 34 |
//! | 64 | 5 | 8 |
//!
//! # What it does not do
//!
//! - It does not make anything exactly once: that takes a peer that knows what it has seen.
//! - It does not keep the control lane, nor messages that `pack` does not write down: these come
//!   back as refused.
//! - It does not merge files, and it serves one session at a time: another gets every message back
//!   as refused.
//! - It does not recognise what the peer sends twice.
//!
//! # Metrics
//!
//! [Shown](tower_ws_core::Readings) to the layers above; that of `tower-ws-metrics` publishes them.
//!
//! | name | type | meaning |
//! |---|---|---|
//! | `tower_ws_spool_messages` | gauge | messages recorded: held, or handed over and not settled |
//! | `tower_ws_spool_bytes` | gauge | their size, as recorded |
//! | `tower_ws_spool_commits_total` | counter | commits to the file |
//! | `tower_ws_spool_failing` | gauge | spools whose last commit failed: wake whoever owns the disk |
//!
//! # Logs
//!
//! `INFO` for what is brought along and when the disk works again, `ERROR` when it fails and when a
//! second session wants the file.

mod change;
mod disk;
mod error;
mod files;
mod handle;
mod journal;
mod ledger;
mod options;
mod record;
mod spool;
mod store;
mod unacknowledged;
mod writer;

pub use self::{
    error::OpenError,
    handle::{Handle, Snapshot},
    options::{SpoolOptions, Survives},
    spool::Spool,
    store::SpoolStore,
    unacknowledged::Unacknowledged,
};
