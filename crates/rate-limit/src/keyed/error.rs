use std::time::Duration;

/// Why a request was not let through. It has not reached the service below.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyedLimitError {
    /// The key's quota is used up, and requests do not wait.
    #[error("not called: more than the limit of its key allows; it may be called again after {retry_after:.1?}")]
    #[non_exhaustive]
    Refused {
        /// How long it would have had to wait.
        retry_after: Duration,
    },
    /// The key's quota is used up, and as many requests wait as may.
    #[error("not called: more than the limit of its key allows, and {0} requests wait already; send fewer at once")]
    TooManyWaiting(usize),
    /// As many keys are in use as may be.
    #[error("not called: {0} keys are in use already; allow more, or choose keys of which there are fewer")]
    TooManyKeys(usize),
}
