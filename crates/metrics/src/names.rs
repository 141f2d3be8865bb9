//! Every metric, with its unit and its description. Names stand without the prefix
//! `tower_ws_session_` or `tower_ws_connection_`.

use metrics::Unit;

pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) of: Type,
    pub(crate) unit: Unit,
    pub(crate) text: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// The labels' keys.
pub(crate) const LABELS: [&str; 11] = [
    "kind", "lane", "reason", "cause", "next", "code", "outcome", "why", "quality", "state", "limit",
];

/// At both heights.
pub(crate) const TRAFFIC: &[Metric] = &[
    counter("messages_received_total", Unit::Count, "messages that came in"),
    counter(
        "received_bytes_total",
        Unit::Bytes,
        "payload of the messages that came in",
    ),
    counter(
        "messages_sent_total",
        Unit::Count,
        "messages that the layer below accepted",
    ),
    counter(
        "sent_bytes_total",
        Unit::Bytes,
        "payload of the messages that the layer below accepted",
    ),
    counter(
        "messages_dropped_total",
        Unit::Count,
        "messages that were accepted and came back unsent, or with their outcome unknown",
    ),
    counter("downs_total", Unit::Count, "connections lost or closed, by cause"),
    counter(
        "closes_total",
        Unit::Count,
        "connections that the peer closed with a code",
    ),
];

pub(crate) const SESSION: &[Metric] = &[
    gauge("open", "sessions begun and not ended, with a connection or without"),
    gauge("up", "sessions that have a connection now"),
    counter("ups_total", Unit::Count, "connections that came up"),
    counter(
        "reconnects_total",
        Unit::Count,
        "connections that came up after another of the same session",
    ),
    counter(
        "messages_delivered_total",
        Unit::Count,
        "messages that the peer acknowledged",
    ),
    counter("ends_total", Unit::Count, "sessions that ended for good, by cause"),
    seconds("uptime_seconds", "how long each connection of a session was up"),
    seconds("outage_seconds", "how long a session was without a connection"),
];

pub(crate) const CONNECTION: &[Metric] = &[
    gauge("dials_in_progress", "dials begun and not finished"),
    gauge("open", "connections open now"),
    counter("dials_total", Unit::Count, "dials finished, by outcome and cause"),
    counter(
        "dials_refused_total",
        Unit::Count,
        "dials that a server or a proxy refused, by HTTP status",
    ),
    seconds("dial_seconds", "how long a dial took"),
    seconds("duration_seconds", "how long a connection was open"),
    counter(
        "socket_read_bytes_total",
        Unit::Bytes,
        "bytes read from sockets, framing included",
    ),
    counter(
        "socket_written_bytes_total",
        Unit::Bytes,
        "bytes written to sockets, framing included",
    ),
];

const fn counter(name: &'static str, unit: Unit, text: &'static str) -> Metric {
    let of = Type::Counter;
    Metric { name, of, unit, text }
}

const fn gauge(name: &'static str, text: &'static str) -> Metric {
    let (of, unit) = (Type::Gauge, Unit::Count);
    Metric { name, of, unit, text }
}

const fn seconds(name: &'static str, text: &'static str) -> Metric {
    let (of, unit) = (Type::Histogram, Unit::Seconds);
    Metric { name, of, unit, text }
}
