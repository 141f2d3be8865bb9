use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tower_ws_core::{Lease, Reading, Readings, Shared, Unit, Value};

/// Watches what a session has sent and not seen acknowledged. Cheap to clone, works from any
/// thread.
///
/// [`AckLayer::pair`](crate::AckLayer::pair) gives one out before there is a session; the session's
/// own is in the extensions of each [`Up`](tower_ws_core::Up). It is for dashboards and tests: the
/// order of things is told by the connection's events alone.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

/// What a session and its handles share.
#[derive(Debug, Default)]
pub(crate) struct Hub(Mutex<Snapshot>);

/// A session's end of the [`Hub`].
#[derive(Debug)]
pub(crate) struct Session(Lease<Hub>);

/// Where a session stands. Counts only rise, also from one session of the same
/// [`pair`](crate::AckLayer::pair) to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many messages are kept: sent or to be sent again, and not acknowledged.
    pub in_flight: usize,
    /// Their size, in bytes.
    pub bytes: usize,
    /// How many messages were acknowledged.
    pub acked: u64,
    /// How often a message was sent again that the peer may have seen.
    pub resent: u64,
    /// How many messages were given up with an unknown outcome because a connection was lost.
    pub interrupted: u64,
    /// How many messages were given up because their time was over.
    pub expired: u64,
    /// How many acknowledgements came for a message that was given up: too late.
    pub late: u64,
    /// How many acknowledgements came for nothing that was kept: duplicates, or not of ours.
    pub unmatched: u64,
    /// From a message's handing down to its acknowledgement: smoothed as in [RFC 6298, section
    /// 2](https://www.rfc-editor.org/rfc/rfc6298#section-2), without messages that were sent more
    /// than once. `None` before the first.
    pub round_trip: Option<Duration>,
    /// The last of these round trips, as it was.
    pub last_round_trip: Option<Duration>,
    /// How many have been taken.
    pub round_trips: u64,
}

impl Handle {
    /// Where the session stands now. All zero before there is one.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

impl Hub {
    fn snapshot(&self) -> Snapshot {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, now: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let stats = self.snapshot();
        show(Reading::new(
            "ack_in_flight",
            "messages sent and not acknowledged",
            Value::Gauge(stats.in_flight as f64),
        ));
        show(
            Reading::new(
                "ack_bytes",
                "payload of the messages sent and not acknowledged",
                Value::Gauge(stats.bytes as f64),
            )
            .unit(Unit::Bytes),
        );
        if let Some(took) = stats.last_round_trip {
            let text = "from handing a message down to its acknowledgement; one that is sent twice is left out";
            let nth = stats.round_trips;
            show(Reading::new(
                "ack_round_trip_seconds",
                text,
                Value::Sample { took, nth },
            ));
        }
        for (outcome, count) in [
            ("acknowledged", stats.acked),
            ("interrupted", stats.interrupted),
            ("expired", stats.expired),
        ] {
            let text = "messages that were waited for, by how that ended";
            show(Reading::new("ack_settled_total", text, Value::Counter(count)).label("outcome", outcome));
        }
        show(Reading::new(
            "ack_resent_total",
            "messages sent again that the peer may have seen",
            Value::Counter(stats.resent),
        ));
        for (why, count) in [("late", stats.late), ("unmatched", stats.unmatched)] {
            let text = "acknowledgements that settled nothing";
            show(Reading::new("ack_stray_total", text, Value::Counter(count)).label("why", why));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}

impl Session {
    pub(crate) fn begin(pair: Option<&Shared<Hub>>) -> Self {
        Self(Lease::of(pair, Hub::default))
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.0.shared())
    }

    /// The counts of the sessions before, from which those of this one rise.
    pub(crate) fn counts(&self) -> Snapshot {
        Snapshot {
            round_trip: None,
            last_round_trip: None,
            ..self.0.snapshot()
        }
    }

    pub(crate) fn publish(&self, now: Snapshot) {
        self.0.publish(now);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut last = self.0.snapshot();
        (last.in_flight, last.bytes) = (0, 0);
        self.0.publish(last);
    }
}

impl Snapshot {
    pub(crate) fn sample(&mut self, round_trip: Duration) {
        self.last_round_trip = Some(round_trip);
        self.round_trips += 1;
        self.round_trip = Some(match self.round_trip {
            Some(smoothed) => smoothed - smoothed / 8 + round_trip / 8,
            None => round_trip,
        });
    }
}
