use std::time::Duration;

use tower_ws_core::{
    BoxError, DropReason, Failure,
    jsonrpc::{Malformed, RpcError},
};

/// Why a call has no result.
///
/// [`may_have_been_seen`](Self::may_have_been_seen) says the one thing that decides whether trying
/// again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The peer answered with an error.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The connection went down after the request was sent and before it was answered. Whether the
    /// peer acted on it, nobody knows.
    #[error("the connection went down before the answer came: outcome unknown")]
    Interrupted(#[source] Option<Failure>),
    /// No answer within the time allowed.
    #[error("no answer within {limit:?}; the request was {}", if *.sent { "sent: outcome unknown" } else { "not sent" })]
    TimedOut {
        /// The time allowed.
        limit: Duration,
        /// True when the peer may have seen the request.
        sent: bool,
        /// Why there was no connection at that time: what the last dial was refused with, say.
        /// `None` if there was one.
        #[source]
        cause: Option<Failure>,
    },
    /// Not a byte of it was sent, and it never will be.
    #[error("the request was not sent")]
    NotSent(#[source] DropReason),
    /// The session has ended; not a byte of the request was sent.
    #[error("the request was not sent: the session has ended")]
    Closed(#[source] Option<Failure>),
    /// The check of outgoing requests refused it; not a byte was sent.
    #[error("the request was refused before it was sent")]
    Refused(#[source] BoxError),
    /// The peer's answer could not be read.
    #[error("the answer could not be read")]
    Malformed(#[from] Malformed),
    /// The parameters are no JSON; not a byte was sent.
    #[error("the parameters cannot be written as JSON")]
    Params(#[source] serde_json::Error),
}

impl CallError {
    /// The name used in logs and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Rpc(_) => "rpc_error",
            Self::Interrupted(_) => "interrupted",
            Self::TimedOut { .. } => "timed_out",
            Self::NotSent(_) => "not_sent",
            Self::Closed(_) => "closed",
            Self::Refused(_) => "refused",
            Self::Malformed(_) => "malformed",
            Self::Params(_) => "params",
        }
    }

    /// True when the peer may have seen the request and its outcome is unknown, or when it
    /// answered. False: not a byte of the request was sent, so sending it again is safe.
    pub fn may_have_been_seen(&self) -> bool {
        match self {
            Self::Rpc(_) | Self::Interrupted(_) | Self::Malformed(_) => true,
            Self::TimedOut { sent, .. } => *sent,
            Self::NotSent(_) | Self::Closed(_) | Self::Refused(_) | Self::Params(_) => false,
        }
    }
}
