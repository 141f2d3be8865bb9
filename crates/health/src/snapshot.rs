use std::time::Duration;

use tokio::time::Instant;

/// What is known of a session's connections. See [`Handle::snapshot`](crate::Handle::snapshot).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The round trips; `None` before the first answer.
    pub rtt: Option<Rtt>,
    /// How good the present connection is.
    pub quality: Quality,
    /// Probes handed to the connection.
    pub probes_sent: u64,
    /// Probes answered in time. The answer of a probe that counts as lost is not counted.
    pub probes_answered: u64,
    /// Probes not answered within the timeout, dropped below, or open when their connection ended.
    /// A lost probe is not a dead peer: other bytes are life too.
    pub probes_lost: u64,
    /// Connections so far, the present one included.
    pub connections: u64,
    /// Since when the present connection is up; `None` if there is none.
    pub up_since: Option<Instant>,
    /// Messages that came in, without the answers to probes.
    pub messages_in: u64,
    /// Messages handed to the connection, without the probes.
    pub messages_out: u64,
    /// Bytes that came in, as the transport counts them; 0 if it does not. Of all connections.
    pub bytes_in: u64,
    /// Bytes that the system took to send, as the transport counts them; 0 if it does not. Of all
    /// connections.
    pub bytes_out: u64,
}

impl Snapshot {
    /// How often a connection came up after another.
    pub fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }

    /// How long the present connection has been up; `None` if there is none.
    pub fn uptime(&self) -> Option<Duration> {
        self.up_since.map(|since| since.elapsed())
    }
}

/// Round trips, from handing the probe to the connection to reading the answer: waiting in this
/// side's buffers and a reader that takes its time are in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rtt {
    /// The last.
    pub last: Duration,
    /// SRTT of [RFC 6298, section 2](https://www.rfc-editor.org/rfc/rfc6298#section-2), with its
    /// gain of 1/8. Begins anew with each connection.
    pub smoothed: Duration,
    /// The jitter of [RFC 3550, section 6.4.1](https://www.rfc-editor.org/rfc/rfc3550#section-6.4.1): the mean change
    /// from one to the next, with a gain of 1/16. Taken of round trips, not of one-way transits. Begins anew at zero
    /// with each connection.
    pub jitter: Duration,
    /// The shortest of the session.
    pub min: Duration,
    /// The longest of the session.
    pub max: Duration,
    /// The median of the session, to two digits, as the percentiles are.
    pub p50: Duration,
    /// Nine in ten of the session's are at most this.
    pub p90: Duration,
    /// Ninety-nine in a hundred of the session's are at most this.
    pub p99: Duration,
}

/// How good a connection is, for a person to see. This list is complete.
///
/// | | smoothed round trip | jitter | lost of the last 16 probes |
/// |---|---|---|---|
/// | good | up to 150 ms | up to 30 ms | none |
/// | fair | up to 400 ms | up to 100 ms | up to 2 |
/// | poor | more | more | more |
///
/// The worst of the three decides. Up to 150 ms people take an answer for immediate, and up to 400
/// ms they put up with it ([ITU-T G.114](https://www.itu.int/rec/T-REC-G.114)).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Quality {
    /// There is no connection, or no probe of it has been answered or lost.
    #[default]
    Unknown,
    /// As good as a person notices.
    Good,
    /// Usable.
    Fair,
    /// Slow, unsteady or losing.
    Poor,
}

impl Quality {
    /// The name used in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Poor => "poor",
        }
    }
}
