use std::{sync::Arc, time::Duration};

use tower_ws_core::Failure;

/// Decides what follows when a dial failed or a connection was lost.
///
/// Closures implement it, and may ask the default first:
///
/// ```
/// use tower_ws_core::{Failure, FailureKind};
/// use tower_ws_reconnect::{Backoff, Decision, History, Policy, ReconnectLayer};
///
/// let backoff = Backoff::default();
/// let layer = ReconnectLayer::new().policy(move |cause: &Failure, history: &History| {
///     match cause.kind() {
///         // The name may not be known yet: the server is started by the same script as we.
///         FailureKind::Dns if history.attempts > 10 => Decision::GiveUp,
///         _ => backoff.decide(cause, history),
///     }
/// });
/// ```
///
/// A policy cannot make a storm: whatever it says, attempts keep the distance of
/// [`min_spacing`](crate::ReconnectLayer::min_spacing). It is called on the task that reads the
/// connection, so it must not block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` decides nothing about failures",
    label = "no policy",
    note = "use `Backoff`, or a closure `|cause: &Failure, history: &History| -> Decision`, its arguments with their types"
)]
pub trait Policy {
    /// What to do about `cause`.
    fn decide(&self, cause: &Failure, history: &History) -> Decision;
}

#[diagnostic::do_not_recommend]
impl<F: Fn(&Failure, &History) -> Decision> Policy for F {
    fn decide(&self, cause: &Failure, history: &History) -> Decision {
        self(cause, history)
    }
}

impl Policy for Arc<dyn Policy + Send + Sync> {
    fn decide(&self, cause: &Failure, history: &History) -> Decision {
        (**self).decide(cause, history)
    }
}

/// What a [`Policy`] wants. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Dial again after this delay, or later if the spacing of attempts or a shared
    /// [`Budget`](crate::Budget) asks for it.
    RetryAfter(Duration),
    /// End the session.
    GiveUp,
}

/// How the session fared, for a [`Policy`].
///
/// A connection is *healthy* once it has been up for at least
/// [`healthy_after`](crate::ReconnectLayer::healthy_after) and at least as long as the delay before
/// it. Only that ends an outage: to count "connected" as success makes a hot loop of a server that
/// accepts and drops.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct History {
    /// Attempts since a connection was last healthy, that have failed or did not last; the present
    /// one included. Zero when a healthy connection has just been lost.
    pub attempts: u32,
    /// Time since the last healthy connection was lost, or since the session began if there was
    /// none.
    pub outage: Duration,
    /// How long the connection that has just been lost was up. `None` when a dial failed.
    pub uptime: Option<Duration>,
    /// The delay before the present attempt, without what a shared [`Budget`](crate::Budget) added;
    /// zero if it had none, or if a healthy connection has just been lost.
    pub last_delay: Duration,
    /// Why the attempt before this one failed. `None` if it was the first of its outage.
    pub previous: Option<Failure>,
    /// How long the server asked to be left alone, if it did, seen from now. Neither capped nor
    /// jittered.
    pub retry_after: Option<Duration>,
    /// A uniform random number, at least 0 and less than 1, for jitter.
    pub sample: f64,
}
