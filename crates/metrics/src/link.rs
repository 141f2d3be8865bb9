use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram};
use tokio::time::Instant;
use tower_ws_core::{Event, FailureKind, Progress};

use crate::{
    names::CONNECTION,
    register::{Family, Held, Scope},
    words,
};

/// The cause of a dial that did not fail.
const NONE: &str = "none";

/// The handles of all connections with the same label.
pub(crate) struct Meters {
    dialling: Gauge,
    open: Gauge,
    dials_ok: Counter,
    dials_cancelled: Counter,
    dials_failed: Family,
    dials_refused: Family,
    dial_ok: Histogram,
    dial_failed: Histogram,
    dial_cancelled: Histogram,
    duration: Histogram,
    downs: Family,
    closes: Family,
    read: Counter,
    written: Counter,
}

/// One connection, from its dial to its end.
pub(crate) struct Link {
    meters: Arc<Meters>,
    state: State,
}

enum State {
    Dialling {
        since: Instant,
        _dialling: Held,
    },
    Open {
        since: Instant,
        bytes: Option<Bytes>,
        _open: Held,
    },
    Over,
}

/// How a dial ended.
enum Outcome {
    Ok,
    Failed(FailureKind, Option<u16>),
    Cancelled,
}

/// How far the counters of a transport have been read.
struct Bytes {
    progress: Progress,
    read: u64,
    written: u64,
}

// === impl Meters ===

impl Meters {
    pub(crate) fn new(scope: &Scope) -> Self {
        scope.describe(CONNECTION);
        let finished = |outcome| scope.counter("dials_total", &[("outcome", outcome), ("cause", NONE)]);
        let took = |outcome| scope.histogram("dial_seconds", &[("outcome", outcome)]);
        Self {
            dialling: scope.gauge("dials_in_progress", &[]),
            open: scope.gauge("open", &[]),
            dials_ok: finished("ok"),
            dials_cancelled: finished("cancelled"),
            dials_failed: scope.family("dials_total", &[("outcome", "failed")], "cause", words::causes()),
            dials_refused: scope.family("dials_refused_total", &[], "status", words::statuses()),
            dial_ok: took("ok"),
            dial_failed: took("failed"),
            dial_cancelled: took("cancelled"),
            duration: scope.histogram("duration_seconds", &[]),
            downs: scope.family("downs_total", &[], "cause", words::causes()),
            closes: scope.family("closes_total", &[], "code", words::codes()),
            read: scope.counter("socket_read_bytes_total", &[]),
            written: scope.counter("socket_written_bytes_total", &[]),
        }
    }
}

// === impl Link ===

impl Link {
    pub(crate) fn dial(meters: Arc<Meters>) -> Self {
        Self {
            state: State::Dialling {
                since: Instant::now(),
                _dialling: Held::new(&meters.dialling),
            },
            meters,
        }
    }

    pub(crate) fn connected(&mut self) {
        self.dialled(Outcome::Ok);
        self.state = State::Open {
            since: Instant::now(),
            bytes: None,
            _open: Held::new(&self.meters.open),
        };
    }

    pub(crate) fn failed(&mut self, kind: FailureKind, status: Option<u16>) {
        self.dialled(Outcome::Failed(kind, status));
    }

    pub(crate) fn saw<T>(&mut self, event: Option<&Event<T>>) {
        self.count_bytes();
        match event {
            Some(Event::Up(up)) => {
                if let State::Open { bytes, .. } = &mut self.state {
                    *bytes = up.extensions.get().cloned().map(Bytes::new);
                }
            }
            Some(Event::Down(down)) => {
                self.meters.downs.count(down.cause.kind().as_str());
                if let Some(close) = down.cause.close() {
                    self.meters.closes.count(words::code(close));
                }
                self.end();
            }
            Some(_) => {}
            None => self.end(),
        }
    }

    /// The dial is finished, in whatever way.
    fn dialled(&mut self, outcome: Outcome) {
        let State::Dialling { since, .. } = self.state else {
            return;
        };
        self.state = State::Over;
        let took = since.elapsed();
        let meters = &*self.meters;
        let (outcome, cause, status) = match outcome {
            Outcome::Ok => {
                meters.dials_ok.increment(1);
                meters.dial_ok.record(took);
                ("ok", NONE, None)
            }
            Outcome::Failed(kind, status) => {
                meters.dials_failed.count(kind.as_str());
                meters.dial_failed.record(took);
                if let Some(status) = status {
                    meters.dials_refused.count(words::status(status));
                }
                ("failed", kind.as_str(), status)
            }
            Outcome::Cancelled => {
                meters.dials_cancelled.increment(1);
                meters.dial_cancelled.record(took);
                ("cancelled", NONE, None)
            }
        };
        tracing::debug!(outcome, cause, status, elapsed_ms = took.as_millis() as u64, "dialled");
    }

    fn count_bytes(&mut self) {
        if let State::Open { bytes: Some(bytes), .. } = &mut self.state {
            bytes.count(&self.meters);
        }
    }

    fn end(&mut self) {
        self.count_bytes();
        if let State::Open { since, .. } = self.state {
            self.meters.duration.record(since.elapsed());
        }
        self.state = State::Over;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.dialled(Outcome::Cancelled);
        self.end();
    }
}

// === impl Bytes ===

impl Bytes {
    fn new(progress: Progress) -> Self {
        Self {
            progress,
            read: 0,
            written: 0,
        }
    }

    fn count(&mut self, meters: &Meters) {
        let (read, written) = (self.progress.read(), self.progress.written());
        // Most events move at most one of the two, many in a batch none.
        if read > self.read {
            meters.read.increment(read - self.read);
            self.read = read;
        }
        if written > self.written {
            meters.written.increment(written - self.written);
            self.written = written;
        }
    }
}
