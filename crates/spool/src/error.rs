use std::{io, path::PathBuf};

#[cfg(feature = "sqlite")]
use rusqlite::ErrorCode;

/// A spool could not be opened. Nothing in the file has been changed, unless it was new.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be opened for writing: it is not there and cannot be made, or it is
    /// read-only.
    #[error("cannot open the spool {path:?} for writing")]
    #[non_exhaustive]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Somebody else has it open, in this process or in another.
    #[error("the spool {path:?} is in use; give each process a file of its own, or wait until the other has ended")]
    #[non_exhaustive]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Others than its owner may change or replace the messages: by the mode of the file, of its
    /// log, of its lock, or of its folder.
    #[error("{path:?} has the mode {mode:o}: others can change what is sent; take that from them with chmod")]
    #[non_exhaustive]
    Exposed {
        /// Which file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is damaged, or no database at all, or beside it lies what is none of its own.
    #[error("the spool {path:?} is damaged or no database; move it away to begin afresh, its messages are lost then")]
    #[non_exhaustive]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// It is a database of something else.
    #[error("{path:?} is a database, but no spool; choose another file")]
    #[non_exhaustive]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// It was written in a form that this version does not know.
    #[error(
        "the spool {path:?} has the form {found}, and this version reads {supported}; open it with a later version"
    )]
    #[non_exhaustive]
    Version {
        /// Which file.
        path: PathBuf,
        /// The form that it has.
        found: i64,
        /// The form that is known here.
        supported: i64,
    },
    /// A record is no message.
    #[error("record {record} of the spool {path:?} cannot be read as a message; open it with what packed it")]
    #[non_exhaustive]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Which record.
        record: u64,
    },
    /// A record of a journal that is no file is no message.
    #[error("record {record} of the journal cannot be read as a message; open it with what packed it")]
    #[non_exhaustive]
    NoMessage {
        /// Which record.
        record: u64,
    },
    /// There is no thread for the writer.
    #[error("cannot start the thread that writes")]
    #[non_exhaustive]
    Thread {
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The database failed in another way.
    #[error("cannot use the spool {path:?}")]
    #[non_exhaustive]
    Database {
        /// Which file.
        path: PathBuf,
        /// What it said. Its type is no part of the contract.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(feature = "sqlite")]
impl OpenError {
    pub(crate) fn of(path: PathBuf, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Io {
                path,
                cause: io::Error::other(error),
            },
            _ => Self::Database {
                path,
                cause: error.into(),
            },
        }
    }
}
