use std::{fmt, sync::Arc};

use tower_ws_core::{Reading, Readings, Shared, Unit, Value};

use crate::writer;

/// Looks into a spool, from any thread. Cheap to clone. It does not keep the file open.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

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
    /// Why the last commit failed, if it did: the disk is full, or gone. New messages come back as
    /// refused until one succeeds again.
    pub failure: Option<String>,
}

/// What a spool and its handles share.
pub(crate) struct Hub {
    writer: Arc<writer::Shared>,
    recovered: usize,
}

impl Hub {
    pub(crate) fn new(writer: Arc<writer::Shared>) -> Self {
        let recovered = writer.with(|ledger| ledger.messages());
        Self { writer, recovered }
    }

    fn snapshot(&self) -> Snapshot {
        self.writer.with(|ledger| {
            let (commits, failure) = ledger.health();
            Snapshot {
                messages: ledger.messages(),
                bytes: ledger.bytes(),
                recovered: self.recovered,
                commits,
                failure,
            }
        })
    }
}

impl Handle {
    /// The spool now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let now = self.snapshot();
        show(Reading::new(
            "spool_messages",
            "messages recorded",
            Value::Gauge(now.messages as f64),
        ));
        show(
            Reading::new(
                "spool_bytes",
                "size of the messages recorded",
                Value::Gauge(now.bytes as f64),
            )
            .unit(Unit::Bytes),
        );
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
