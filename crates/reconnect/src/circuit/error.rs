use std::fmt;

use tokio::time::Instant;
use tower_ws_core::Failure;

/// What a [`Circuit`](crate::Circuit) answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitError<E> {
    /// It is open. Not a byte was sent.
    #[error(transparent)]
    Open(#[from] CircuitOpen),
    /// The service below failed.
    #[error(transparent)]
    Inner(E),
}

/// There has been no connection for too long, and nothing is sent meanwhile. The source says why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CircuitOpen {
    /// How many attempts have failed in this outage.
    pub failures: u32,
    /// When the next one begins. `None` if it is under way, or if nobody dials: offline on request.
    pub next_attempt: Option<Instant>,
    /// Why the last one failed.
    pub cause: Failure,
    pub(super) offline: bool,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offline {
            return f.write_str("not sent: offline on request");
        }
        write!(f, "not sent: no connection after {} failed attempts; ", self.failures)?;
        match self.next_attempt {
            Some(at) => write!(
                f,
                "the next one begins in {:.1?}",
                at.saturating_duration_since(Instant::now())
            ),
            None => f.write_str("the next one is under way"),
        }
    }
}

impl std::error::Error for CircuitOpen {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
