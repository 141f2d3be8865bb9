//! How a session fares, for a readiness endpoint and for whoever is on call: [`Monitor`].

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Serialize, Serializer};
use tokio::time::Instant;
use tower_ws_core::{Readings, Source, Up, Value};
use tower_ws_health::Quality;
use tower_ws_reconnect::State;
use tower_ws_transport::Message;

/// Watches a session, from any thread. Cheap to clone; it never keeps a session alive.
///
/// Made of any [`Up`] of the session, which is the first thing that a session says; it stays right through
/// outages, and after the end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws::core::BoxError> {
/// # let server = tower_ws_test_kit::Server::start(tower_ws_test_kit::Script::json_rpc()).await?;
/// # let url = server.url();
/// use tower_ws::{Incoming, monitor::Monitor};
///
/// let (_client, mut inbound) = tower_ws::connect(url).await?;
/// let Some(Incoming::Up(up)) = inbound.next().await else { panic!("the first item is `Up`") };
/// let monitor = Monitor::of(&up);
///
/// // For `/ready`: 200 or 503.
/// assert!(monitor.health().is_ready());
/// // For `/status`, by any serde format.
/// let snapshot = monitor.snapshot();
/// assert_eq!(snapshot.numbers["queue_depth"], 0.0);
/// # Ok(()) }
/// ```
///
/// It knows what the layers of the stack show of themselves. A stack without reconnect is taken for up; one without
/// health, queue or subscriptions has nothing to say of those.
#[derive(Clone)]
pub struct Monitor {
    sources: Vec<Source>,
    reconnect: Option<tower_ws_reconnect::Handle>,
    health: Option<tower_ws_health::Handle>,
    queue: Option<tower_ws_queue::Handle>,
    subscribe: Option<tower_ws_subscribe::Handle<Message>>,
}

/// How a session fares. `Display` is a line for people; serialised, it has a `status` and what belongs to it, times in
/// seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// Up, and nothing is known that speaks against it.
    Ok,
    /// Up, but not well.
    Degraded {
        /// Each thing that is not well.
        why: Vec<String>,
    },
    /// There is no connection, and there may be one.
    Down {
        /// What went wrong, or is waited for.
        why: String,
        /// For how long there has been none.
        #[serde(rename = "down_for_s", serialize_with = "seconds")]
        down_for: Duration,
        /// How long until the next dial; `None` if one is in progress, or none is planned.
        #[serde(rename = "next_attempt_in_s", serialize_with = "maybe_seconds")]
        next_attempt_in: Option<Duration>,
    },
    /// The session is over.
    Final {
        /// What ended it.
        why: String,
    },
}

/// A session at one moment, for a machine to read.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// How it fares.
    pub health: Health,
    /// The numbers of its layers, by the names that an exporter gives them, without `tower_ws_`:
    /// `queue_depth`, `queue_dropped_total{reason="expired"}`. Times are in seconds.
    pub numbers: BTreeMap<String, f64>,
}

/// What has been held for so long while the link is up is worth a word: 5 s.
const HELD: Duration = Duration::from_secs(5);

impl Monitor {
    /// Of the session that says this.
    pub fn of(up: &Up) -> Self {
        Self {
            sources: up.sources().to_vec(),
            reconnect: up.extensions.get().cloned(),
            health: up.extensions.get().cloned(),
            queue: up.extensions.get().cloned(),
            subscribe: up.extensions.get().cloned(),
        }
    }

    /// Of a session that has not been up yet: how it fares, and no numbers.
    pub fn before(handle: tower_ws_reconnect::Handle) -> Self {
        Self {
            sources: Vec::new(),
            reconnect: Some(handle),
            health: None,
            queue: None,
            subscribe: None,
        }
    }

    /// How the session fares now.
    pub fn health(&self) -> Health {
        match self.reconnect.as_ref().map(tower_ws_reconnect::Handle::snapshot) {
            Some(session) => judge(&session.state, session.down_since, Instant::now()),
            None => None,
        }
        .unwrap_or_else(|| self.of_connection())
    }

    /// That, and the numbers of all layers.
    pub fn snapshot(&self) -> Snapshot {
        let mut numbers = BTreeMap::new();
        for source in &self.sources {
            source.read(&mut |reading| {
                let name = match reading.label {
                    Some((key, word)) => format!("{}{{{key}=\"{word}\"}}", reading.name),
                    None => reading.name.to_owned(),
                };
                let number = match reading.value {
                    Value::Gauge(number) => number,
                    Value::Counter(count) => count as f64,
                    Value::Sample { took, .. } => took.as_secs_f64(),
                    Value::Age(age) => age.as_secs_f64(),
                    // Of a kind that is not known yet.
                    _ => return,
                };
                numbers.insert(name, number);
            });
        }
        Snapshot {
            health: self.health(),
            numbers,
        }
    }

    /// There is a connection: what is not well?
    fn of_connection(&self) -> Health {
        let mut why = Vec::new();
        if let Some(health) = self.health.as_ref().map(tower_ws_health::Handle::snapshot)
            && health.quality == Quality::Poor
        {
            let round_trip = health.rtt.map(|rtt| format!("; round trips take {:.1?}", rtt.smoothed));
            why.push(format!("the connection is poor{}", round_trip.unwrap_or_default()));
        }
        if let Some(held) = self.queue.as_ref().map(tower_ws_queue::Handle::snapshot)
            && let Some(oldest) = held.oldest.filter(|&oldest| oldest >= HELD)
        {
            why.push(format!(
                "{} messages wait to be sent, for {oldest:.0?} by now",
                held.depth
            ));
        }
        if let Some(subscriptions) = self.subscribe.as_ref().map(tower_ws_subscribe::Handle::snapshot)
            && subscriptions.active < subscriptions.standing
        {
            let missing = subscriptions.standing - subscriptions.active;
            why.push(format!(
                "the server does not have {missing} of {} subscriptions",
                subscriptions.standing
            ));
        }
        match why.is_empty() {
            true => Health::Ok,
            false => Health::Degraded { why },
        }
    }
}

/// What the session's state alone says; `None` if it is up.
fn judge(state: &State, down_since: Option<Instant>, now: Instant) -> Option<Health> {
    let down_for = down_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    let down = |why: String, next_attempt_in| {
        Some(Health::Down {
            why,
            down_for,
            next_attempt_in,
        })
    };
    match state {
        State::Connected { .. } => None,
        State::Disconnected => down("no session has begun".into(), None),
        State::Connecting { attempt, cause } => match cause {
            Some(cause) => down(format!("dialling, attempt {attempt}, after: {cause}"), None),
            None => down(format!("dialling, attempt {attempt}"), None),
        },
        State::BackingOff { until, cause, .. } => down(cause.to_string(), Some(until.saturating_duration_since(now))),
        State::Offline => down("taken offline by this side, until it is taken online".into(), None),
        State::Closed => Some(Health::Final {
            why: "closed by this side".into(),
        }),
        State::Failed { cause } => Some(Health::Final { why: cause.to_string() }),
        // Of a kind that is not known yet.
        other => down(other.as_str().into(), None),
    }
}

impl Health {
    /// Whether calls and messages go out now: 200 rather than 503.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ok | Self::Degraded { .. })
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Degraded { why } => write!(f, "degraded: {}", why.join("; ")),
            Self::Down {
                why,
                down_for,
                next_attempt_in,
            } => {
                write!(f, "down for {down_for:.0?}: {why}")?;
                match next_attempt_in {
                    Some(delay) => write!(f, "; dials again in {delay:.1?}"),
                    None => Ok(()),
                }
            }
            Self::Final { why } => write!(f, "over: {why}"),
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&self.health()).finish()
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
