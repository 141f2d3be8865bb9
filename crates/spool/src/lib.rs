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
//! [`Dropped`](tower_ws_core::Event::Dropped), which whoever reads is woken for by then.
//!
//! Through a client: an answer means that it is done. A call that has no answer when the process is
//! killed is, if it was recorded by then, sent by the next process, whose client ignores the
//! answer: nobody waits for it. When the session ends in order, each call learns how it ended, and
//! is not sent behind its caller's back. A notification that is still held then is kept for the
//! next session, and is not among the client's leftovers.
//!
//! # The life of a message
//!
//! ```text
//!          enters                      handed over
//!            |        .--> held -------------------------> out
//!            '--------'    ^  |    once its record, and    | |
//!                          |  |    its mark, are known     | |
//!   the next session takes |  |    to be on the disk       | |
//!   it, unless it may be   |  |                            | |
//!   out and must not go    |  '---> given up, and told     | |
//!   twice: then it is told |        of <-------------------' | acknowledged,
//!                          |         |                       | or flushed
//!   the session ends: kept-'         v                       |
//!                                forgotten <-----------------'
//! ```
//!
//! Each record is in one of these states, and they change under one lock, under which the outcomes
//! of commits are told, too. So nothing is handed over before it is committed, whatever fails in
//! between. What the peer must not see twice is marked on the disk before: up to 64 messages with
//! one write. A mark that could not be written is written again, and nothing passes it.
//!
//! A commit that fails is *refused*, and its messages come back as
//! [`Refused`](tower_ws_core::DropReason::Refused); or its outcome is *unknown*, because the system
//! failed in the middle of it: its messages come back as
//! [`Interrupted`](tower_ws_core::DropReason::Interrupted), are taken off the disk as soon as it
//! works again, and may be sent by the next process if this one is killed before; or the file is
//! *lost*, because it is damaged, or was removed or replaced. Then nothing more leaves: what is held
//! comes back as [`Closed`](tower_ws_core::DropReason::Closed), and what is new as refused.
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
//! What is safe, its [`replay`](tower_ws_core::Outgoing::replay) says, or the strategy. A message
//! that is marked, and did not get away before a kill, counts as handed over. A session that ends in
//! order gives back what it holds as [`Closed`](tower_ws_core::DropReason::Closed). If such a message
//! has still its [number](tower_ws_core::Outgoing::record), it is kept: the next session sends it,
//! and you should not. What somebody waits for (it has a ticket) is not kept, nor what was not on the
//! disk yet.
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
//! everything) is settled by the flush of the connection that it went out on, once that connection
//! has written it, and had no end to tell of afterwards. That is weaker: the bytes are with the
//! system by then, not with the peer. If the connection goes down before, the message goes out again
//! on the next one, if it is safe or was never written. Otherwise it comes back as interrupted.
//!
//! # Time
//!
//! Age and [deadlines](tower_ws_core::Outgoing::deadline) are recorded as wall time and go on while
//! nobody runs. A clock that jumps ahead makes messages expire early, one that is set back makes
//! them live longer, by as much; within one session it does nothing.
//!
//! # Disks that fail
//!
//! The disk is the business of one thread. Nothing here blocks a thread of the runtime, except
//! [opening](Spool::open), whose docs say so; dropping does not, and [closing](Spool::close) can be
//! given up.
//!
//! | the disk | what follows |
//! |---|---|
//! | is full, or the [limit](SpoolOptions::file_limit) of the file is reached | each new message comes back as refused, unsent, until there is room; settling makes some. What is recorded stays, and what is safe still goes out, also if the spool is opened then |
//! | is read-only, or the file, or its folder, is | [`OpenError::Io`]; if it becomes so later, as when it is full |
//! | fails in the middle of a write, or of a flush | the messages of that write come back as interrupted; the next ones are tried |
//! | hangs | flushes wait, and so does what is new; reading, answers, the control lane and closing (for as long as the queue [drains](tower_ws_queue::QueueLayer::drain)) go on. What waits is bounded by the [limits](SpoolOptions::limits) |
//! | loses the file, or shows it damaged | the spool is closed, as above |
//! | cut the last write short (power) | it is there as a whole, or not at all |
//!
//! After a failure the disk is left alone for 1 s. The [`Handle`] shows the
//! [failure](Snapshot::failure), and the log has it once.
//!
//! # Whose the file is
//!
//! Beside the file there are its log, `-wal`, of some MiB, which belongs to it, and its lock,
//! `-lock`, which is empty and stays. Whoever has locked that has the file: one spool, in one process.
//! The lock is that of the system for one opening of a file
//! ([`File::try_lock`](std::fs::File::try_lock): `flock`, or `LockFileEx`), and goes with the process.
//! SQLite's own locks would not do: POSIX drops all locks of a process on a file as soon as it closes
//! that file once, be it for a backup. They are held as well, against programs that know
//! nothing of ours. A link is another name of the file; a second name by a hard link is not noticed.
//! The file does not belong on a network share.
//!
//! What is no spool is looked at and left as it is, with what lies beside it: a file of one byte or
//! of text, the database of another application, a spool of a later version, a log or a journal that
//! belongs to nothing. What the spool makes is readable by its owner alone, and **not encrypted**. A
//! file that others can read keeps its mode, and a `WARN` says so; where others can write to the
//! file, to its log or lock, or replace it (a folder that all can write to, and that is not sticky),
//! it is [`OpenError::Exposed`]: they could make this process send what they like.
//!
//! # The database
//!
//! It is SQLite, by `rusqlite`, compiled in. It is the best kept and most tested of the embedded
//! databases; its file format is stable and any tool reads it; a torn write is noticed by the
//! checksums of its log; what is damaged is an error, not a panic. The price is 20 s of a C compiler,
//! which `ring` needs anyway, and six small crates. The pure Rust stores were looked at: `redb` (4.x)
//! does not check pages as it reads them, and has had panics on damaged files, and the log-structured
//! `fjall` (3.x) is made for much more data than a queue has. The payload itself has no checksum: a
//! bit that the disk loses in silence is not noticed.
//!
//! # What shows that it holds
//!
//! The states and their order are run over a journal in memory that fails at each of its commits in
//! turn, in each way, and is looked at after each step as if the process had been killed there. A
//! process is killed 52 times by each run of the tests, and some 1,300 times by `.ci/long`, at random
//! and at each step (system calls among them, where there is `strace`), and the ledger of the server is held
//! against what was accepted. Writes cut short are put together from copies of both files after each
//! commit. Three processes fight for one file.
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
//! # Another journal
//!
//! SQLite is behind the feature `sqlite`, which is on by default. A [`Journal`] of one's own takes
//! its place by [`SpoolOptions::over`]; [`conformance`] is the suite that both keep. One whose
//! records another process may take over says so by its [`Tenure`]: from the moment that it ends
//! nothing leaves, and the session ends for good with the cause. What was recorded is the next
//! owner's to send; what was just being recorded comes back as interrupted.
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
//! `INFO` for what is brought along and when the disk works again, `WARN` for files that others can
//! read, `ERROR` when the disk fails and when a second session wants the file; `TRACE` for the
//! beginning and the end of each commit.

#![cfg_attr(
    not(feature = "sqlite"),
    allow(rustdoc::broken_intra_doc_links, reason = "they lead to what is not there")
)]

mod change;
pub mod conformance;
#[cfg(feature = "sqlite")]
mod disk;
mod error;
#[cfg(feature = "sqlite")]
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

#[cfg(feature = "sqlite")]
pub use self::options::Survives;
pub use self::{
    change::{Change, Row},
    error::OpenError,
    handle::{Handle, Snapshot},
    journal::{Batch, Contents, Journal, JournalError, Tenure},
    options::SpoolOptions,
    spool::Spool,
    store::SpoolStore,
    unacknowledged::Unacknowledged,
};
