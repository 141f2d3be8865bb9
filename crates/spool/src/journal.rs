//! Where records are kept: the seam between what is decided and what is written.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_ws_core::{BoxError, Failure};

use crate::change::{Change, Changes, Row};

/// Keeps the records of a [`Spool`](crate::Spool). With the feature `sqlite` one comes along, over a
/// file; [`SpoolOptions::over`](crate::SpoolOptions::over) takes any other.
///
/// It may block, for as long as it likes: it has a thread of its own, and is dropped there once
/// nothing is to be written any more. [`conformance`](crate::conformance) tries what is said here.
pub trait Journal: Send + 'static {
    /// Writes all of the batch, or nothing. Once it has returned `Ok` the records outlive whatever
    /// they are to outlive.
    ///
    /// Each batch is given once. A journal that tries one again has to know whether the first try
    /// was written, and that it never will be after a later batch: it would raise what that has
    /// removed. To remove or to mark what is not there is no error.
    ///
    /// # Errors
    ///
    /// [`JournalError`] says what becomes of the messages of the batch. After the first two the
    /// journal is left alone for 1 s, and gets what makes room next.
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError>;

    /// Whether the records are this process's to send, if that may end while the journal is open.
    /// Asked once, when the spool begins. By default they are for as long as it is open.
    fn tenure(&self) -> Option<Arc<dyn Tenure>> {
        None
    }
}

/// For how long records are this process's to send, where another may take them over.
pub trait Tenure: Send + Sync + 'static {
    /// Ready, with why, once they are not, for good. It has to look at the clock: it is asked right
    /// before each message leaves, perhaps by a process that stood still until then. Otherwise it
    /// keeps the waker, of more than one caller.
    fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<Failure>;
}

/// What one commit writes: at most one change for each record, in the order of their numbers.
#[derive(Debug)]
pub struct Batch {
    /// Batches are counted from 1. 0: only what makes room, for which nobody waits.
    pub(crate) number: u64,
    pub(crate) changes: Changes,
    pub(crate) first_id: u64,
}

impl Batch {
    /// What is to become of which record, by its [number](Row::seq).
    pub fn changes(&self) -> impl Iterator<Item = (u64, &Change)> {
        self.changes.iter()
    }

    /// The first id that no process has used. A journal keeps the largest that it has been given.
    pub fn first_id(&self) -> u64 {
        self.first_id
    }
}

/// A batch was not committed, as far as anybody knows. The text is the whole chain of causes. This
/// list is complete.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing of it has been written: its new messages come back as refused.
    #[error(transparent)]
    Refused(BoxError),
    /// It may have been written, or it may be found written one day: its new messages come back as
    /// interrupted, and are removed as soon as something can be written again.
    #[error(transparent)]
    Unknown(BoxError),
    /// Nothing of it has been written, and nothing will be any more: the spool is closed.
    #[error(transparent)]
    Lost(BoxError),
}

/// What a journal holds when it is opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contents {
    /// In the order of acceptance.
    pub rows: Vec<Row>,
    /// The first id that no process has used; 1 if there was none.
    pub first_id: u64,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            first_id: 1,
        }
    }
}
