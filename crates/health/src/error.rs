use std::time::Duration;

use tower_ws_core::DropReason;

/// Why a [probe on demand](crate::Handle::probe_now) has no round trip to tell.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// There is no connection, or none that has shown its `Up`.
    #[error("not probed: there is no connection")]
    NoConnection,
    /// A layer below gave up on the probe.
    #[error("not probed: the probe was dropped")]
    Dropped(#[source] DropReason),
    /// No answer came within the time. Other bytes may have: then the connection lives.
    #[error("the peer did not answer the probe within {0:?}")]
    Unanswered(Duration),
    /// The connection ended before an answer came.
    #[error("the connection ended before the probe was answered")]
    Disconnected,
}
