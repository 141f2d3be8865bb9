use std::{error::Error, fmt, time::Duration};

use tower_ws_core::{DropReason, Failure};

/// A message that was not sent, or of which nobody knows: why, and the message, if it came back.
///
/// Its `Debug` does not show the message.
pub struct SendError<M> {
    message: Option<M>,
    reason: Reason,
}

/// Why a message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The stack has not taken it, or its outcome was not known, within the time allowed.
    #[error("not within {limit:?}; the message was {}", if *.sent { "sent: outcome unknown" } else { "not sent" })]
    TimedOut {
        /// The time allowed.
        limit: Duration,
        /// True when the peer may have seen it.
        sent: bool,
        /// Why there was no connection at that time; `None` if there was one.
        #[source]
        cause: Option<Failure>,
    },
    /// There is no room to wait in. Only [`try_send`](crate::Sender::try_send) does not wait for it.
    #[error("not sent: {waiting} messages wait to be sent already")]
    Full {
        /// How many.
        waiting: usize,
    },
    /// A layer below gave up on it.
    #[error(transparent)]
    Dropped(DropReason),
    /// It was sent, and the connection went down before it was known whether the peer has it.
    #[error("the connection went down after it was sent: outcome unknown")]
    Interrupted(#[source] Option<Failure>),
    /// The session is ending or has ended.
    #[error("not sent: the session has ended")]
    Closed(#[source] Option<Failure>),
    /// It cannot be written as JSON.
    #[error("the value cannot be written as JSON")]
    Json(#[source] std::sync::Arc<serde_json::Error>),
}

impl<M> SendError<M> {
    pub(crate) fn new(message: Option<M>, reason: Reason) -> Self {
        Self { message, reason }
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The message, if it came back: it is with the layer below that drops it otherwise.
    pub fn into_message(self) -> Option<M> {
        self.message
    }

    /// True when the peer may have seen it. False: not a byte of it was sent, so sending it again is
    /// safe.
    pub fn may_have_been_seen(&self) -> bool {
        match &self.reason {
            Reason::TimedOut { sent, .. } => *sent,
            Reason::Interrupted(_) | Reason::Dropped(DropReason::Interrupted(_)) => true,
            _ => false,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reason, f)
    }
}

impl<M> Error for SendError<M> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}
