//! Several endpoints under one session.

mod attempt;
mod connection;
mod targets;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Clock, Connection, DispositionTable, Failure, SystemClock};

pub(crate) use self::attempt::NoneLeft;
use self::attempt::{Attempt, OutageRecord, Rules, SharedCoolDowns};
pub use self::{
    connection::FailoverConnection,
    targets::{Endpoint, EndpointIndex, EndpointState, Targets},
};

/// Dials one of several endpoints: the first, in the order of preference, that is not cooling down.
///
/// Stands right below [`ReconnectLayer`](crate::ReconnectLayer), whose target is then a
/// [`Targets`]; what stands below it sees single targets.
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower_ws_reconnect::{FailoverLayer, ReconnectLayer, Targets};
///
/// let stack = ServiceBuilder::new()
///     .layer(ReconnectLayer::new())
///     .layer(FailoverLayer::new().cool_down(Duration::from_secs(60)));
/// let targets = Targets::new("wss://here.example", ["wss://there.example", "wss://far.example"]);
/// assert_eq!(targets.endpoints().len(), 3);
/// ```
///
/// # When an endpoint cools down
///
/// For [30 s](Self::cool_down), or for as long as it asked with `Retry-After` (at most 5 min) or
/// with close 1013, if that is longer:
///
/// - its dial failed;
/// - its connection went down within [5 s](Self::healthy_after);
/// - its connection went down later, and the peer refused it for good, or asked to be left alone
///   for a while.
///
/// A connection that comes up ends the cool-down. It is nobody's fault when this side closes, or
/// when a dial is cancelled; nor is the first answer in an outage that asks for new credentials, so
/// the same endpoint is asked once more. While all are cooling down, the one is dialled that is
/// ready soonest, those last that asked to be left alone.
///
/// Cool-downs belong to the [`Targets`]: the sessions that share them learn from each other. A
/// session that finds itself on an endpoint of less preference stays there while the connection
/// lives; the next redial after the cool-down returns.
///
/// # What reconnect is told
///
/// What one endpoint says need not hold for the session. An *outage* lasts until a connection was
/// up for [`healthy_after`](Self::healthy_after); within one, the endpoints that failed least go
/// first. With a single endpoint nothing is changed. With more, the
/// [`Disposition`](tower_ws_core::Disposition) of a failure becomes
///
/// | failure | disposition |
/// |---|---|
/// | a first failed dial, and another endpoint is untried in this outage and not cooling down | `Immediately` |
/// | a first lost connection, the same | `Backoff`: whoever was dropped together must not come together |
/// | any other, while an endpoint is left that has not failed for good | `Backoff` (`Immediately` stays) |
/// | all have asked to be left alone, this one too | as it is |
/// | all have failed for good in this outage, and one that was up before is among those that refused a dial | as it is: reconnect waits [until refusals have lasted](crate#when-a-refusal-is-final) |
/// | all have failed for good in this outage | `Final`, at once |
/// | credentials are to be refreshed, the first time for this endpoint in this outage | as it is |
/// | another connection of the same session took over ([close 4409, or 1000, 1001 or 1008 that says so](Failure::is_displaced)) | as it is: `Final` |
///
/// To fail *for good* is to fail with `Final`, or to refuse refreshed credentials. Who has closed a
/// connection for good is dialled no more in the outage. A `Retry-After`
/// of one endpoint does not hold up the others: then the failure is a new one of the same kind and
/// status, with the original as its source. Reconnect's spacing, budget and policy hold as ever.
///
/// # What it does not do
///
/// It does not race endpoints, balance load, probe those that are idle, or leave a connection that
/// works for a better endpoint. It does not redial: without reconnect above, each call dials once.
#[derive(Clone)]
pub struct FailoverLayer {
    rules: Rules,
    clock: Arc<dyn Clock>,
}

/// The service of [`FailoverLayer`]. Each instance follows the outages of one session; a clone
/// starts afresh.
pub struct Failover<S> {
    inner: S,
    layer: FailoverLayer,
    /// What this session went through with the targets that it was called with last.
    outage: Option<(Arc<SharedCoolDowns>, OutageRecord)>,
}

/// The future of [`Failover`]: one dial. Dropping it cancels the dial; the endpoint is not blamed.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct FailoverFuture<F> {
    #[pin]
    dial: F,
    attempt: Option<Attempt>,
}

// === impl FailoverLayer ===

impl FailoverLayer {
    /// The default of [`cool_down`](Self::cool_down): 30 s, the longest delay of the default
    /// backoff.
    pub const COOL_DOWN: Duration = Duration::from_secs(30);
    /// The default of [`healthy_after`](Self::healthy_after): 5 s, as in reconnect.
    pub const HEALTHY_AFTER: Duration = Duration::from_secs(5);

    /// With the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long an endpoint that failed is passed over. Default 30 s.
    #[must_use]
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.rules.cool_down = time;
        self
    }

    /// Sets how long a connection must have been up for its loss not to be the endpoint's fault,
    /// and for the outage to be over. Default 5 s.
    #[must_use]
    pub fn healthy_after(mut self, uptime: Duration) -> Self {
        self.rules.healthy_after = uptime;
        self
    }

    /// Judges failures by this table: the one that reconnect has. Default: [the documented
    /// one](tower_ws_core::Disposition).
    #[must_use]
    pub fn dispositions(mut self, table: DispositionTable) -> Self {
        self.rules.dispositions = table;
        self
    }

    /// Sets the wall clock that `Retry-After` dates are compared with. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl Default for FailoverLayer {
    fn default() -> Self {
        Self {
            rules: Rules {
                cool_down: Self::COOL_DOWN,
                healthy_after: Self::HEALTHY_AFTER,
                dispositions: DispositionTable::default(),
            },
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for FailoverLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverLayer")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for FailoverLayer {
    type Service = Failover<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Failover {
            inner,
            layer: self.clone(),
            outage: None,
        }
    }
}

// === impl Failover ===

impl<S> Failover<S> {
    fn attempt<T>(&mut self, targets: &Targets<T>) -> Attempt {
        let shared = targets.shared();
        let outage = match &self.outage {
            Some((same, outage)) if Arc::ptr_eq(same, shared) => outage.clone(),
            _ => {
                let outage = OutageRecord::default();
                self.outage = Some((shared.clone(), outage.clone()));
                outage
            }
        };
        let FailoverLayer { rules, clock } = &self.layer;
        Attempt::choose(Instant::now(), shared.clone(), outage, rules.clone(), clock.clone())
    }
}

impl<S, T> Service<Targets<T>> for Failover<S>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
    T: Clone,
{
    type Response = FailoverConnection<S::Response>;
    type Error = Failure;
    type Future = FailoverFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx).map_err(Failure::of)
    }

    fn call(&mut self, targets: Targets<T>) -> Self::Future {
        let attempt = self.attempt(&targets);
        tracing::debug!(endpoint = attempt.endpoint(), "dialling this endpoint");
        FailoverFuture {
            dial: self.inner.call(targets.get(attempt.endpoint())),
            attempt: Some(attempt),
        }
    }
}

/// A clone is not ready, and serves another session.
impl<S: Clone> Clone for Failover<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
            outage: None,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Failover<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

// === impl FailoverFuture ===

impl<F, C, E> Future for FailoverFuture<F>
where
    F: Future<Output = Result<C, E>>,
    E: Into<BoxError>,
{
    type Output = Result<FailoverConnection<C>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let dialled = ready!(this.dial.poll(cx));
        let attempt = this
            .attempt
            .take()
            .expect("polled after it was ready, which futures forbid");
        Poll::Ready(match dialled {
            Ok(connection) => Ok(FailoverConnection::new(connection, attempt)),
            Err(error) => Err(attempt.failed(Instant::now(), &Failure::of(error))),
        })
    }
}

impl<F> fmt::Debug for FailoverFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverFuture").finish_non_exhaustive()
    }
}
