use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::{DropReason, Reading, Readings, Shared, Unit, Value};

/// Looks into a queue, from any thread. Cheap to clone.
///
/// [`QueueLayer::pair`](crate::QueueLayer::pair) gives one out before there is a connection; the
/// connection's own is in the extensions of each [`Up`](tower_ws_core::Up). A handle never keeps a
/// connection alive.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

/// A queue at one moment. The numbers are read one by one while messages move: each is right, their
/// sums may be off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many messages are held.
    pub depth: u64,
    /// How many bytes of payload they have.
    pub bytes: u64,
    /// How long the oldest of them has been held. `None` if there is none.
    pub oldest: Option<Duration>,
    /// How many messages this queue has given up, by reason.
    pub dropped: Dropped,
}

/// How many messages a queue has given up. What layers below gave up is not counted.
///
/// The counts only rise, also from one session of the same [`pair`](crate::QueueLayer::pair) to the
/// next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dropped {
    /// Whoever waited gave up.
    pub cancelled: u64,
    /// They were held too long, or their deadline passed.
    pub expired: u64,
    /// There was no room.
    pub overflow: u64,
    /// The session ended.
    pub closed: u64,
    /// The store did not take them, or gave them up.
    pub refused: u64,
}

impl Handle {
    /// The queue now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let Snapshot {
            depth,
            bytes,
            oldest,
            dropped,
        } = self.snapshot();
        show(Reading::new(
            "queue_depth",
            "messages held by queues",
            Value::Gauge(depth as f64),
        ));
        show(
            Reading::new(
                "queue_bytes",
                "payload of the messages held by queues",
                Value::Gauge(bytes as f64),
            )
            .unit(Unit::Bytes),
        );
        if let Some(age) = oldest {
            let text = "how long the oldest message in a queue has been held, whenever it is read";
            show(Reading::new("queue_oldest_seconds", text, Value::Age(age)));
        }
        for (reason, count) in [
            ("cancelled", dropped.cancelled),
            ("expired", dropped.expired),
            ("overflow", dropped.overflow),
            ("closed", dropped.closed),
            ("refused", dropped.refused),
        ] {
            let text = "messages given up by queues, by reason";
            show(Reading::new("queue_dropped_total", text, Value::Counter(count)).label("reason", reason));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}

/// What a connection and its handles share.
#[derive(Debug)]
pub(crate) struct Hub {
    depth: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds from `base`, before which a store may have brought it along; [`NONE`] if nothing
    /// is held.
    oldest: AtomicI64,
    base: Instant,
    dropped: [AtomicU64; 5],
}

const NONE: i64 = i64::MAX;

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            depth: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            oldest: AtomicI64::new(NONE),
            base: Instant::now(),
            dropped: Default::default(),
        }
    }

    pub(crate) fn hold(&self, depth: usize, bytes: usize, oldest: Option<Instant>) {
        let oldest = oldest.map_or(NONE, |since| match since.checked_duration_since(self.base) {
            Some(after) => after.as_nanos() as i64,
            None => -(self.base.duration_since(since).as_nanos() as i64),
        });
        self.depth.store(depth as u64, Ordering::Relaxed);
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.oldest.store(oldest, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, reason: &DropReason) {
        let at = match reason {
            DropReason::Cancelled => 0,
            DropReason::Expired => 1,
            DropReason::Overflow => 2,
            DropReason::Closed => 3,
            _ => 4,
        };
        self.dropped[at].fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Snapshot {
        let [cancelled, expired, overflow, closed, refused] =
            std::array::from_fn(|at| self.dropped[at].load(Ordering::Relaxed));
        let oldest = match self.oldest.load(Ordering::Relaxed) {
            NONE => None,
            after @ 0.. => Some(
                self.base
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(after.unsigned_abs())),
            ),
            before => Some(self.base.elapsed() + Duration::from_nanos(before.unsigned_abs())),
        };
        Snapshot {
            depth: self.depth.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            oldest,
            dropped: Dropped {
                cancelled,
                expired,
                overflow,
                closed,
                refused,
            },
        }
    }
}
