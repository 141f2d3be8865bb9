//! What is seen of a session: once a second, and whenever something changes. Nothing of what is said. No I/O.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tower_ws::{
    health,
    monitor::{Health, Snapshot},
    reconnect::{State, Transition},
};

/// A line of a recording.
#[derive(Deserialize, Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(crate) enum Line {
    Second(Box<Second>),
    Change(Change),
}

/// How a session fares. Counts are since its beginning.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Second {
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// `ok`, `degraded`, `down` or `final`.
    pub(crate) health: String,
    /// What is not well.
    pub(crate) why: String,
    /// Which connection of the session is up; 0 if none is.
    pub(crate) epoch: u64,
    /// For how long it has been, in seconds.
    pub(crate) up_for: Option<f64>,
    /// Until the next dial, in seconds, if one is waited for.
    pub(crate) next_dial: Option<f64>,
    /// `good`, `fair`, `poor` or `unknown`.
    pub(crate) quality: String,
    /// Round trips, in milliseconds.
    pub(crate) last: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) jitter: Option<f64>,
    /// Probes that were answered, and that were not.
    pub(crate) probes_answered: u64,
    pub(crate) probes_lost: u64,
    pub(crate) messages_in: u64,
    pub(crate) messages_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Sent, and not answered.
    pub(crate) unanswered: f64,
    pub(crate) answered: f64,
    /// Sent again.
    pub(crate) resent: f64,
    /// The outcome is unknown.
    pub(crate) interrupted: f64,
    /// Given up because their time was over.
    pub(crate) expired: f64,
    /// Answers to what had been given up.
    pub(crate) late: f64,
    /// Waiting to be sent: messages, bytes, and for how many seconds the oldest has.
    pub(crate) queued: f64,
    pub(crate) queued_bytes: f64,
    pub(crate) queued_for: Option<f64>,
}

/// A connection came, went, or is dialled.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Change {
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// `connected`, `backing_off` and so on.
    pub(crate) state: String,
    pub(crate) epoch: u64,
    pub(crate) attempt: u32,
    /// Why, and of which kind.
    pub(crate) cause: Option<String>,
    pub(crate) kind: Option<String>,
    /// Until the next dial, in milliseconds.
    pub(crate) delay: Option<f64>,
}

impl Line {
    pub(crate) fn json(&self) -> String {
        // Texts and numbers.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Second {
    pub(crate) fn of(snapshot: &Snapshot, state: Option<&State>, health: Option<&health::Snapshot>) -> Self {
        let (name, why) = match &snapshot.health {
            Health::Ok => ("ok", String::new()),
            Health::Degraded { why } => ("degraded", why.join("; ")),
            Health::Down { why, .. } => ("down", why.clone()),
            Health::Final { why } => ("final", why.clone()),
            _ => ("unknown", String::new()),
        };
        let number = |name: &str| snapshot.numbers.get(name).copied().unwrap_or_default();
        let rtt = health.and_then(|health| health.rtt);
        let next_dial = match &snapshot.health {
            Health::Down { next_attempt_in, .. } => next_attempt_in.map(|delay| delay.as_secs_f64()),
            _ => None,
        };
        Self {
            at: now(),
            health: name.to_owned(),
            why,
            epoch: match state {
                Some(State::Connected { epoch }) => *epoch,
                _ => 0,
            },
            up_for: health.and_then(health::Snapshot::uptime).map(|time| time.as_secs_f64()),
            next_dial,
            quality: health.map_or("unknown", |health| health.quality.as_str()).to_owned(),
            last: rtt.map(|rtt| millis(rtt.last)),
            p50: rtt.map(|rtt| millis(rtt.p50)),
            p90: rtt.map(|rtt| millis(rtt.p90)),
            p99: rtt.map(|rtt| millis(rtt.p99)),
            max: rtt.map(|rtt| millis(rtt.max)),
            jitter: rtt.map(|rtt| millis(rtt.jitter)),
            probes_answered: health.map_or(0, |health| health.probes_answered),
            probes_lost: health.map_or(0, |health| health.probes_lost),
            messages_in: health.map_or(0, |health| health.messages_in),
            messages_out: health.map_or(0, |health| health.messages_out),
            bytes_in: health.map_or(0, |health| health.bytes_in),
            bytes_out: health.map_or(0, |health| health.bytes_out),
            unanswered: number("ack_in_flight"),
            answered: number("ack_settled_total{outcome=\"acknowledged\"}"),
            resent: number("ack_resent_total"),
            interrupted: number("ack_settled_total{outcome=\"interrupted\"}"),
            expired: number("ack_settled_total{outcome=\"expired\"}"),
            late: number("ack_stray_total{why=\"late\"}"),
            queued: number("queue_depth"),
            queued_bytes: number("queue_bytes"),
            queued_for: snapshot.numbers.get("queue_oldest_seconds").copied(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.health.as_str(), "ok" | "degraded")
    }

    /// A line for people; rates are of the time since the one before.
    pub(crate) fn text(&self, before: Option<&Self>) -> String {
        let passed = before.map_or(1.0, |before| (self.at - before.at).max(0.001));
        let rate = |now: u64, field: fn(&Self) -> u64| {
            let then = before.map_or(now, field);
            now.saturating_sub(then) as f64 / passed
        };
        let rtt = match (self.last, self.p50, self.p99) {
            (Some(last), Some(p50), Some(p99)) => format!("rtt {last:.1} ms (p50 {p50:.1}, p99 {p99:.1})"),
            _ => "rtt -".to_owned(),
        };
        let why = if self.why.is_empty() {
            String::new()
        } else {
            format!("  {}", self.why)
        };
        format!(
            "{}  {:<8}  {rtt}  in {:.1}/s {:.1} KiB/s  out {:.1}/s {:.1} KiB/s  unanswered {}  queued {}{why}",
            clock(self.at),
            self.health,
            rate(self.messages_in, |second| second.messages_in),
            rate(self.bytes_in, |second| second.bytes_in) / 1024.0,
            rate(self.messages_out, |second| second.messages_out),
            rate(self.bytes_out, |second| second.bytes_out) / 1024.0,
            self.unanswered,
            self.queued,
        )
    }
}

impl Change {
    pub(crate) fn of(transition: &Transition) -> Self {
        Self {
            at: now(),
            state: transition.state.as_str().to_owned(),
            epoch: transition.epoch,
            attempt: transition.attempt,
            cause: transition.cause.as_ref().map(ToString::to_string),
            kind: transition.cause.as_ref().map(|cause| cause.kind().as_str().to_owned()),
            delay: match transition.state {
                State::BackingOff { .. } => transition.delay.map(millis),
                _ => None,
            },
        }
    }

    /// A line for people.
    pub(crate) fn text(&self) -> String {
        let cause = self
            .cause
            .as_ref()
            .map(|cause| format!("  {cause}"))
            .unwrap_or_default();
        let delay = self
            .delay
            .map(|delay| format!("  dials again in {:.1} s", delay / 1000.0));
        format!("{}  {}{cause}{}", clock(self.at), self.state, delay.unwrap_or_default())
    }
}

pub(super) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The time of day, UTC.
pub(crate) fn clock(at: f64) -> String {
    let second = at.max(0.0) as u64 % 86_400;
    format!("{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}
