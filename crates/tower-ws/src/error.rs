use tower_ws_core::{BoxError, Failure, FailureKind, find};
use tower_ws_transport::Refusal;

/// No session could be had, and what [`failure`](Self::failure) says of it. The sources say where it
/// happened, from the outermost layer inwards.
#[derive(Debug, thiserror::Error)]
#[error("could not connect: {}", self.failure())]
pub struct ConnectError(#[source] pub(crate) BoxError);

impl ConnectError {
    /// What the server answered, if it refused: status, headers, the beginning of the body.
    pub fn refusal(&self) -> Option<&Refusal> {
        find(&*self.0)
    }

    /// Why, classified.
    pub fn failure(&self) -> Failure {
        find::<Failure>(&*self.0)
            .cloned()
            .unwrap_or_else(|| Failure::new(FailureKind::Local, "the cause has no classification"))
    }
}
