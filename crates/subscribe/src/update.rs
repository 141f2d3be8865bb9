use std::fmt;

use tokio::time::Instant;
use tower_ws_core::{DropReason, Failure};

/// What becomes of a subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Update {
    /// The server has it, for the first time.
    Active,
    /// The connection is gone, and the subscription with it. It will be said again on the next.
    Lost {
        /// When.
        at: Instant,
        /// Why.
        why: Failure,
    },
    /// The server has it again. What it would have told in between is missing, unless the
    /// subscription [resumes](crate::Dialect::resume).
    Resumed(Gap),
    /// Sequence numbers are missing.
    Missed {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// It is over, and is not said again.
    Ended(Ended),
}

/// For people.
impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => write!(f, "active"),
            Self::Lost { why, .. } => write!(f, "lost: {why}"),
            Self::Resumed(gap) => write!(
                f,
                "active again after {:.1?}",
                gap.to.saturating_duration_since(gap.from)
            ),
            Self::Missed { first, last } if first == last => write!(f, "number {first} is missing"),
            Self::Missed { first, last } => write!(f, "numbers {first} to {last} are missing"),
            Self::Ended(why) => write!(f, "over: {why}"),
        }
    }
}

/// The time in which a subscription did not exist.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gap {
    /// When the connection was lost.
    pub from: Instant,
    /// When the server had it again.
    pub to: Instant,
    /// Why the connection was lost.
    pub why: Failure,
}

/// Why a subscription is over.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// It was taken back by this side.
    #[error("the subscription was taken back")]
    TakenBack,
    /// The server refuses it, for the first time or again. In its words, escaped and cut.
    #[error("the server refuses the subscription: {0}")]
    Refused(String),
    /// The server has ended it. In its words, escaped and cut.
    #[error("the server has ended the subscription: {0}")]
    ByServer(String),
    /// There is no room for one more.
    #[error("no room for one more subscription: {limit} is the limit of their {what}; raise it, or take one back")]
    NoRoom {
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The message that begins it cannot be sent.
    #[error("the subscription could not be said")]
    NotSent(#[source] DropReason),
    /// The transport cannot carry the message that begins it.
    #[error("the transport cannot carry the message that begins the subscription")]
    Unsayable,
    /// Whoever reads it was too slow, and wanted it to end then.
    #[error("what came in was not read in time")]
    Lagged,
    /// The server did not answer in time.
    #[error("the server did not answer within the time allowed")]
    TimedOut,
    /// The session is over, and why.
    #[error("the session has ended")]
    Closed(#[source] Option<Failure>),
}
