use std::time::Duration;

use tower_ws_core::Failure;

/// The first connection of a session could not be had. The classified cause is the source.
///
/// That a [`Failure`] is found in the chain is part of the contract; what lies beneath it is not.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// The service that dials failed to become ready, before any attempt. By the contract of
    /// [`Service`](tower_service::Service) it stays so.
    #[error("the service that dials cannot be used")]
    #[non_exhaustive]
    Unready {
        /// What the service said.
        #[source]
        cause: Failure,
    },
    /// The policy gave up, or there was to be one attempt only.
    #[error("gave up connecting after {attempts} attempt(s) within {elapsed:.1?}")]
    #[non_exhaustive]
    GaveUp {
        /// How many times it was tried.
        attempts: u32,
        /// From the beginning of the session to the end of the last attempt, with all waits.
        elapsed: Duration,
        /// Why the last attempt failed.
        #[source]
        cause: Failure,
    },
}

impl ReconnectError {
    /// Why.
    pub fn cause(&self) -> &Failure {
        match self {
            Self::Unready { cause } | Self::GaveUp { cause, .. } => cause,
        }
    }
}
