//! Where records are kept: the seam between what is decided and what is written.

use tower_ws_core::BoxError;

use crate::change::{Changes, Row};

/// Keeps records. It may block, for as long as it likes: it has a thread of its own.
pub(crate) trait Journal: Send + 'static {
    /// Writes all of the batch, or nothing. Once it has returned `Ok` the records outlive whatever
    /// they are to outlive.
    ///
    /// To remove or to mark what is not there is no error.
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError>;
}

/// What one commit writes.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Batches are counted from 1. 0: only what makes room, for which nobody waits.
    pub(crate) number: u64,
    pub(crate) changes: Changes,
    /// The first id that no process has used.
    pub(crate) first_id: u64,
}

/// A batch was not committed, as far as anybody knows. The text is the whole chain of causes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Nothing of it has been written.
    #[error(transparent)]
    Refused(BoxError),
    /// It may have been written, or it may be found written one day.
    #[error(transparent)]
    Unknown(BoxError),
    /// Nothing of it has been written, and nothing will be any more.
    #[error(transparent)]
    Lost(BoxError),
}

/// What a journal holds when it is opened.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// In the order of acceptance.
    pub(crate) rows: Vec<Row>,
    /// The first id that no process has used.
    pub(crate) first_id: u64,
}
