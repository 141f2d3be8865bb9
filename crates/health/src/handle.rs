use std::{fmt, time::Duration};

use tokio::sync::watch;
use tower_ws_core::{Reading, Readings, Shared, Value};

use crate::{
    error::ProbeError,
    hub::Hub,
    snapshot::{Quality, Snapshot},
};

/// Tells how a session's connections are, and probes on demand. Cheap to clone, works from any
/// thread.
///
/// [`HealthLayer::pair`](crate::HealthLayer::pair) gives one out before there is a session; the
/// session's own is in the extensions of each [`Up`](tower_ws_core::Up). A handle keeps no
/// connection alive.
///
/// It is for dashboards, tests and the word from outside that the network changed. The order of
/// things is told by the connection's events alone.
#[derive(Clone)]
pub struct Handle(pub(crate) Shared<Hub>);

impl Handle {
    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    /// A value for each probe that is sent, answered or lost, and for each coming and going of a
    /// connection; those in between may be skipped. The counters of messages and bytes in it are as
    /// of that moment.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.0.watch()
    }

    /// Asks the peer now, and tells how long the answer took. Calls that wait at the same time
    /// share one probe.
    ///
    /// For a network that has changed: a peer that is gone is noticed within the
    /// [timeout](crate::HealthLayer::timeout), rather than at the end of the interval and the
    /// timeout.
    ///
    /// # Errors
    ///
    /// [`ProbeError`], at the latest after the timeout. But reading drives a connection: while
    /// nobody reads it, this waits.
    ///
    /// # Cancellation
    ///
    /// Dropping the future takes nothing back: the probe counts as any other.
    pub async fn probe_now(&self) -> Result<Duration, ProbeError> {
        // A connection tells all who wait before it goes.
        self.0.ask()?.await.unwrap_or(Err(ProbeError::Disconnected))
    }
}

impl Readings for Hub {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let stats = self.snapshot();
        for quality in [Quality::Good, Quality::Fair, Quality::Poor, Quality::Unknown] {
            let is_so = stats.up_since.is_some() && stats.quality == quality;
            let text = "connections, by how good they are";
            let reading = Reading::new("health_connections", text, Value::Gauge(f64::from(u8::from(is_so))));
            show(reading.label("quality", quality.as_str()));
        }
        if let Some(rtt) = stats.rtt {
            let text = "round trips of probes";
            let (took, nth) = (rtt.last, stats.probes_answered);
            show(Reading::new("health_rtt_seconds", text, Value::Sample { took, nth }));
            let text = "jitter of the round trips, smoothed";
            let took = rtt.jitter;
            show(Reading::new("health_jitter_seconds", text, Value::Sample { took, nth }));
        }
        show(Reading::new(
            "health_probes_sent_total",
            "probes sent",
            Value::Counter(stats.probes_sent),
        ));
        for (outcome, count) in [("answered", stats.probes_answered), ("lost", stats.probes_lost)] {
            let text = "probes that are settled, by outcome";
            show(Reading::new("health_probes_total", text, Value::Counter(count)).label("outcome", outcome));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.snapshot()).finish()
    }
}
