use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tower_ws_core::{Reading, Readings, Value};

use crate::writer::Shared;

/// Looks into a spool, from any thread. Cheap to clone. It does not keep the file open.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tally: Arc<Tally>,
}

/// A spool at one moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many messages are recorded: held, or handed over and not settled.
    pub messages: usize,
    /// How many bytes they have, as recorded.
    pub bytes: usize,
    /// How many were there when the file was opened.
    pub recovered: usize,
    /// How many commits have been made.
    pub commits: u64,
    /// Why the last commit failed, if it did: the disk is full, or gone. New messages come back as refused until one
    /// succeeds again.
    pub failure: Option<String>,
}

/// What the session counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: AtomicUsize,
    pub(crate) bytes: AtomicUsize,
    pub(crate) recovered: usize,
}

impl Tally {
    pub(crate) fn set(&self, messages: usize, bytes: usize) {
        self.messages.store(messages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Handle {
    /// The spool now.
    pub fn snapshot(&self) -> Snapshot {
        let (commits, failure) = self.shared.health();
        Snapshot {
            messages: self.tally.messages.load(Ordering::Relaxed),
            bytes: self.tally.bytes.load(Ordering::Relaxed),
            recovered: self.tally.recovered,
            commits,
            failure,
        }
    }
}

impl Readings for Handle {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let now = self.snapshot();
        show(Reading::new(
            "spool_messages",
            "messages recorded",
            Value::Gauge(now.messages as f64),
        ));
        show(Reading::new(
            "spool_bytes",
            "size of the messages recorded",
            Value::Gauge(now.bytes as f64),
        ));
        show(Reading::new(
            "spool_commits_total",
            "commits to the file",
            Value::Counter(now.commits),
        ));
        let failing = f64::from(u8::from(now.failure.is_some()));
        show(Reading::new(
            "spool_failing",
            "spools whose last commit failed",
            Value::Gauge(failing),
        ));
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}
