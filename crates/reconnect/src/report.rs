use std::time::Duration;

use tokio::time::Instant;
use tower_ws_core::{Causes, Failure, FailureKind, Server};

/// Gets each failure of a session's connections once, classified: a dial that failed, a connection
/// that was lost.
///
/// For an error tracker, a notice to a person, a log of your own. Closures implement it. The
/// default, [`LogReporter`], writes to the log; one of your own takes its place, and may pass on
/// what it gets:
///
/// ```
/// use tower_ws_reconnect::{Follows, Incident, LogReporter, ReconnectLayer, Reporter};
///
/// let layer = ReconnectLayer::new().reporter(|incident: &Incident| {
///     if incident.follows == Follows::End {
///         eprintln!("call somebody: {} ({})", incident.failure, incident.failure.kind());
///     }
///     LogReporter.report(incident);
/// });
/// # let _ = layer;
/// ```
///
/// What becomes of single messages and calls is no business of this one: whoever waits for them is
/// told, and no one else. A connection that is closed on request has not failed, and is not
/// reported.
///
/// It is called on the task that reads the connection, so it must not block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` reports no incidents",
    label = "no reporter",
    note = "a closure `|incident: &Incident|` will do"
)]
pub trait Reporter: Send + Sync {
    /// A failure happened.
    fn report(&self, incident: &Incident);
}

#[diagnostic::do_not_recommend]
impl<F: Fn(&Incident) + Send + Sync> Reporter for F {
    fn report(&self, incident: &Incident) {
        self(incident);
    }
}

/// A failure, where it happened, and what follows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incident {
    /// What went wrong, as the session [judges](crate::ReconnectLayer::dispositions) it.
    pub failure: Failure,
    /// The last connection that came up; 0 if none has.
    pub epoch: u64,
    /// To whom that connection was, if it was lost just now and the transport tells; who failed a
    /// dial is in the failure's text.
    pub server: Option<Server>,
    /// How long that connection was up, if it was lost just now: until its last sign of life. `None`
    /// if a dial failed.
    pub uptime: Option<Duration>,
    /// Which attempt of this outage comes next, or would, from 1.
    pub attempt: u32,
    /// What the session does about it.
    pub follows: Follows,
    /// When a refusal ends the session, if the peer [refuses](crate#when-a-refusal-is-final) one
    /// that has been up; `None` otherwise.
    pub final_at: Option<Instant>,
}

/// What follows a failure. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follows {
    /// A dial after this delay; later if a shared [`Budget`](crate::Budget) says so.
    Retry(Duration),
    /// A dial when somebody says [`go_online`](crate::Handle::go_online).
    Offline,
    /// The end of the session.
    End,
}

/// Writes each failure to the log, by `tracing`: `WARN`, or `ERROR` if the session ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogReporter;

impl Reporter for LogReporter {
    fn report(&self, incident: &Incident) {
        let &Incident {
            failure: ref cause,
            epoch,
            attempt,
            follows,
            ..
        } = incident;
        // The rule that has decided what follows.
        let (kind, rule) = (cause.kind().as_str(), cause.disposition().as_str());
        let cause = Causes(cause);
        let server = incident.server.as_ref().map(tracing::field::display);
        let uptime_ms = incident.uptime.map(|uptime| uptime.as_millis() as u64);
        let final_in = incident.final_at.map(|at| at.saturating_duration_since(Instant::now()));
        let final_in_s = final_in.map(|time| time.as_secs());
        match (follows, incident.uptime, final_in) {
            (Follows::Retry(delay), Some(_), _) => {
                let delay_ms = delay.as_millis() as u64;
                tracing::warn!(
                    epoch, attempt, server, uptime_ms, kind, rule, %cause, delay_ms,
                    "the connection was lost; dialling after the delay"
                );
            }
            (Follows::Retry(delay), None, None) => {
                let delay_ms = delay.as_millis() as u64;
                tracing::warn!(epoch, attempt, kind, rule, %cause, delay_ms, "not connected; dialling after the delay");
            }
            (Follows::Retry(delay), None, Some(_)) if incident.failure.kind() == FailureKind::Tls => {
                let delay_ms = delay.as_millis() as u64;
                tracing::error!(
                    epoch, attempt, kind, rule, %cause, delay_ms, final_in_s,
                    "the server, which was up before, cannot be trusted now; dialling after the delay"
                );
            }
            (Follows::Retry(delay), None, Some(_)) => {
                let delay_ms = delay.as_millis() as u64;
                tracing::warn!(
                    epoch, attempt, kind, rule, %cause, delay_ms, final_in_s,
                    "refused by a server that was up before; dialling after the delay"
                );
            }
            (Follows::Offline, ..) => {
                tracing::warn!(
                    epoch, attempt, server, uptime_ms, kind, rule, %cause,
                    "not connected, and offline on request; not dialling"
                );
            }
            (Follows::End, ..) => {
                tracing::error!(
                    epoch, attempt, server, uptime_ms, kind, rule, %cause,
                    "giving up; the session ends"
                );
            }
        }
    }
}
