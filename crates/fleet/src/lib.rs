//! Limits, outboxes, ownership and tokens that many processes share, on PostgreSQL.
//!
//! A [`Fleet`] is a database that all processes reach. In it are kept, each under a name: a
//! [limit](Fleet::limiter) that holds for all of them together; a [lane](Fleet::lane), which one
//! process owns at a time, with an outbox that the next owner goes on with; a
//! [credential](Fleet::provider) that one process fetches for all.
//!
//! # When you need it, and when not
//!
//! | you have | take |
//! |---|---|
//! | several processes under one account or address that the server counts | [`Fleet::limiter`] |
//! | thousands of clients that come back at once, on several machines | [`Fleet::limiter`], for dials |
//! | messages that must survive the machine, not only the process | a lane and its [spool](Owned::spool) |
//! | a session of which there must be one, and a standby | [`Lane::layer`] |
//! | refresh tokens that rotate, so that two refreshes kill each other | [`Fleet::provider`] |
//! | one process | none of it: a `Limiter`, a `Spool` on SQLite and `Credentials` need no server |
//! | a queue of work for whoever is free, topics, replay of history | a broker: this is none |
//!
//! # Example
//!
//! ```no_run
//! # #[tokio::main] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use std::num::NonZeroU32;
//!
//! use tower::ServiceBuilder;
//! use tower_ws_fleet::{Fleet, WhenDown, spool::{SpoolOptions, Unacknowledged}};
//! use tower_ws_queue::QueueLayer;
//! use tower_ws_rate_limit::{Quota, RateLimitLayer};
//! use tower_ws_reconnect::ReconnectLayer;
//! # let (transport, _server) = tower_ws_transport::memory::channel::<String>(8);
//!
//! let fleet = Fleet::new("postgresql://worker@/orders?host=/run/postgresql".parse()?, "orders");
//! fleet.migrate().await?;
//! let ten = NonZeroU32::new(10).expect("is not zero");
//! let account = fleet.limiter("account", Quota::per_second(ten), WhenDown::Wait);
//!
//! loop {
//!     // A standby waits here.
//!     let owned = fleet.lane("outbox-7").acquire().await?;
//!     let spool = owned.spool::<String, _, _>(SpoolOptions::new(), Unacknowledged).await?;
//!     let stack = ServiceBuilder::new()
//!         .layer(QueueLayer::new().store(spool.clone()))
//!         .layer(ReconnectLayer::new())
//!         .layer(RateLimitLayer::new().outbound(account.clone()))
//!         .service(transport.clone());
//!     // ... a session, until it ends because the lane is lost, or the process is to end:
//! #   drop(stack);
//!     spool.close().await;
//!     if owned.hand_over().await.is_ok() {
//!         break;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Lanes
//!
//! A lane has one owner at a time, by a lease: a row with a **token**, which each owner makes larger,
//! and a time until which he has it. He renews it at each third of the [lease](Fleet::lease), and
//! with each commit. Whoever finds it run out takes it.
//!
//! The owner relies on it for nine tenths of its time, counted from before the request that renewed
//! it, by two clocks: the monotonic one, and wall time, for a machine that slept. It is looked at
//! right before each message leaves, so a process that stood still sends nothing afterwards that it
//! had not begun. When it is over the session over the [spool](Owned::spool) ends for good, with the
//! cause.
//!
//! Each commit of the outbox is one statement, **fenced** by the token: of one whose lane was taken it
//! writes nothing. It is counted, too, so that it can be tried again on another connection until its
//! outcome is known, and a try that the server gets to late raises nothing that was removed since. So
//! a restart of the database is outlived without a word, if it is shorter than the lease. If the
//! lease runs out first, what was in that commit comes back as
//! [`Interrupted`](tower_ws_core::DropReason::Interrupted).
//!
//! ## A session of which a fleet has one
//!
//! Without an outbox, [`LeaseLayer`] stands below reconnect and above the rate limit: a dial waits until
//! this process owns the lane, and the connection is cut off when it does not any more. The session
//! lives on, as the standby of the next owner.
//!
//! # Limits
//!
//! A [`Limiter`](tower_ws_rate_limit::Limiter) of a fleet goes wherever one of a process does: to
//! [`dials`](tower_ws_rate_limit::RateLimitLayer::dials) and to
//! [`outbound`](tower_ws_rate_limit::RateLimitLayer::outbound). It counts dials, or messages; not
//! bytes. Each turn costs a request, and commits to the limit do not wait for a disk. A strict window
//! is spread evenly. A [pause](tower_ws_rate_limit::Limiter::pause) holds for all: whoever asks next
//! hears of it, and so does whoever has more than a second to wait.
//!
//! # Tokens
//!
//! [`Fleet::provider`] wraps a [`Provider`](tower_ws_auth::Provider). Whoever needs a new credential takes
//! the one in the database, if it is newer than his and does not expire within 10 s. Otherwise one
//! process claims the refresh, for 60 s, and the others wait for it. It is kept
//! [sealed](Sealed::With), or explicitly [in the clear](Sealed::InTheClear).
//!
//! # When the database is away
//!
//! | | |
//! |---|---|
//! | a limit | [waits, or goes on with a share](WhenDown) |
//! | a lane that is owned | goes on for nine tenths of its lease; accepts nothing meanwhile, since nothing can be committed; then it is lost |
//! | a standby | waits on |
//! | a token | the one that a process has is good until it expires; then a failure that may be tried again. Nobody refreshes alone |
//!
//! # What is promised
//!
//! - **Accepted means committed**, as durably as the server's `synchronous_commit` and its standbys
//!   make it. Nothing here turns that down for lanes.
//! - **The next owner sends in the order of acceptance**, lane by lane.
//! - **What is unsafe to send twice is handed over at most once in the fleet**, also while two believe
//!   that they own the lane: it is marked before it leaves, and the mark is fenced.
//! - **Take-over within the lease and 1 s** after an owner dies or stands still; at the next look, some
//!   250 ms later, after [`hand_over`](Owned::hand_over).
//! - **Limits hold by one clock**, that of the database: at most burst + rate × t pass it.
//!
//! # What is not promised
//!
//! - Exactly one owner at the peer at every instant. A process that stands still in the middle of a
//!   write finishes it when it goes on; what a socket's buffer holds is sent by the system. A peer
//!   that can refuse the smaller [token](Owned::token) closes that gap; nothing else does.
//! - The order of what is safe to repeat, within that gap.
//! - Anything after a failover to a standby that is not synchronous, or while two servers take writes
//!   that do not wait for each other: what the new one has not got is gone, tokens among it.
//! - The delivery of what comes back as interrupted.
//! - Limits across jumps of the database's clock, one of which is a failover to a server whose clock is
//!   another. One that is set forwards gives each limit another burst; a debt or a pause is not made longer
//!   by one that is set back.
//! - That an owner stays when that clock is set forwards: all leases are over then, and so are the claims of
//!   those who fetch a token. A lane may be taken whose owner hears of it at his next renewal or commit,
//!   fenced as ever; a token may be fetched by two. Set back, it changes nothing of that: whoever is dead
//!   is replaced in time.
//! - Exactly once. That takes a peer that knows what it has seen.
//!
//! # Operations
//!
//! - **Schema.** [`Fleet::migrate`] makes it, or whoever applies [`SCHEMA`] by hand. Two fleets share
//!   the tables under two names. The tables are where the user's `search_path` finds them.
//! - **Permissions** of a worker: `SELECT, INSERT, UPDATE, DELETE` on `tower_ws_lane`,
//!   `tower_ws_message`, `tower_ws_limit` and `tower_ws_token`. Only who migrates needs more.
//! - **Connections**: one for each process, and one for each lane that it owns.
//! - **Size.** A row of `tower_ws_message` for each message that is accepted and not settled, and what
//!   vacuum has not come to: leave autovacuum on. One row for each lane, limit and token, for ever.
//! - **A pooler** may stand between: no state of a database session is used but prepared statements,
//!   which PgBouncer says it knows from 1.21 on (`max_prepared_statements`); that has not been tried here.
//! - **What to watch**: `fleet_failing`, `fleet_lost_total`, `fleet_lanes`, and in the database the oldest
//!   `accepted` of `tower_ws_message`. A lane is owned by nobody if its `until` lies behind.
//! - **A standby.** Name all servers in one connection string (`host=a,b`): they are tried at once, and the one
//!   that takes writes is used. If it is to replace the server without a loss it has to be in
//!   `synchronous_standby_names`. End the old server before it is promoted. One that lives on, and waits
//!   for its standby, promises nothing that it cannot keep, but its limits count apart, and whoever
//!   is connected to it may wait there until his lanes are lost.
//! - **Backups.** One that is restored is a failover to an old state: what was sent since is sent again, or
//!   reported as interrupted. Stop the workers first.
//! - **TLS**: [`Fleet::with_tls`]. Without it messages and credentials go to the database in the clear.
//! - **Servers**: tried with PostgreSQL 15. What takes no writes, as a standby, counts as away.
//!
//! # What it does not do
//!
//! - It elects nobody, distributes no work, and claims no single message: lanes are yours to name.
//! - It is no bus between workers.
//! - It shares no inbound limits and no circuits.
//! - It does not retry what the peer refused, nor recognise what the peer sends twice.
//!
//! # Metrics
//!
//! [Shown](tower_ws_core::Readings) by the connections of a [`LeaseLayer`] to the layers above; [`Fleet::handle`]
//! has the same numbers.
//!
//! | name | type | meaning |
//! |---|---|---|
//! | `tower_ws_fleet_failing` | gauge | fleets whose database failed last: wake whoever owns it |
//! | `tower_ws_fleet_failures_total` | counter | statements that failed |
//! | `tower_ws_fleet_lanes` | gauge | lanes that are owned |
//! | `tower_ws_fleet_standing_by` | gauge | lanes that are waited for |
//! | `tower_ws_fleet_lost_total` | counter | lanes that were lost |
//! | `tower_ws_fleet_waiting` | gauge | turns that wait for a database that is away |
//!
//! # Logs
//!
//! `ERROR` when the database begins to fail, `WARN` when a lane is lost or a limit goes on with a share,
//! `INFO` when the database answers again, and when a lane is owned, waited for or handed over;
//! `DEBUG` for each failure after the first.

mod connection;
mod error;
mod fleet;
mod handle;
mod hosts;
mod journal;
mod lane;
mod layer;
mod lease;
mod link;
mod seal;
mod token;
mod turns;
mod validity;

pub use tokio_postgres;
pub use tower_ws_spool as spool;

pub use self::{
    connection::LeaseConnection,
    error::FleetError,
    fleet::{Fleet, SCHEMA},
    handle::{Handle, Snapshot},
    lane::{Lane, Owned},
    layer::{LeaseFuture, LeaseLayer, LeaseService},
    seal::{Key, Sealed},
    token::SharedProvider,
    turns::WhenDown,
};
