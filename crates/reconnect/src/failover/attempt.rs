//! What is known of the endpoints, and what a failure of one means to the session. No I/O: time is
//! passed in.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::{Causes, Clock, Disposition, DispositionTable, Failure, FailureKind, RetryAfter, later};

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) cool_down: Duration,
    pub(super) healthy_after: Duration,
    pub(super) dispositions: DispositionTable,
}

/// What all sessions know of the endpoints.
#[derive(Debug)]
pub(super) struct CoolDowns(Vec<CoolDown>);

pub(super) type SharedCoolDowns = Mutex<CoolDowns>;

#[derive(Clone, Debug, Default)]
struct CoolDown {
    /// The endpoint is passed over until then.
    until: Option<Instant>,
    /// The endpoint itself asked to be left alone until then.
    requested: Option<Instant>,
    last_failure: Option<Failure>,
}

/// What one session has tried in the present outage, endpoint by endpoint. Its dials and its
/// connection share it.
pub(super) type OutageRecord = Arc<Mutex<Vec<EndpointAttempts>>>;

#[derive(Clone, Debug, Default)]
pub(super) struct EndpointAttempts {
    failures: u32,
    /// The last failure was final.
    for_good: bool,
    /// The endpoint asked for new credentials.
    refreshed: bool,
    /// The endpoint closed a connection for good: it means it, while a refused dial may pass.
    goodbye: bool,
    /// A connection to the endpoint was up, in this outage or before.
    was_up: bool,
}

/// No endpoint is left that could be dialled with any hope: each has said goodbye, or has refused
/// this session and never had it.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint is left to dial")]
pub(crate) struct NoneLeft {
    source: Failure,
}

/// One dial, and the connection that comes of it.
pub(super) struct Attempt {
    cool_downs: Arc<SharedCoolDowns>,
    outage: OutageRecord,
    rules: Rules,
    clock: Arc<dyn Clock>,
    endpoint: usize,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl CoolDowns ===

impl CoolDowns {
    pub(super) fn new(endpoints: usize) -> Self {
        Self(vec![CoolDown::default(); endpoints])
    }

    /// Until when the endpoint is passed over, if it is.
    pub(super) fn cooling(&self, endpoint: usize, now: Instant) -> Option<Instant> {
        self.0[endpoint].until.filter(|until| *until > now)
    }

    pub(super) fn last_failure(&self, endpoint: usize) -> Option<&Failure> {
        self.0[endpoint].last_failure.as_ref()
    }

    fn choose(&self, attempts: &[EndpointAttempts], now: Instant) -> usize {
        let all = (0..self.0.len()).filter(|&endpoint| !attempts[endpoint].goodbye);
        all.clone()
            .filter(|&endpoint| self.cooling(endpoint, now).is_none())
            .min_by_key(|&endpoint| attempts[endpoint].failures)
            // All are cooling down: `None`, for an endpoint that requested nothing, is the least.
            .or_else(|| all.min_by_key(|&endpoint| (self.requested(endpoint, now), self.cooling(endpoint, now))))
            .unwrap_or_default()
    }

    fn requested(&self, endpoint: usize, now: Instant) -> Option<Instant> {
        self.0[endpoint].requested.filter(|until| *until > now)
    }

    fn came_up(&mut self, endpoint: usize) {
        let cool_down = &mut self.0[endpoint];
        (cool_down.until, cool_down.requested) = (None, None);
    }
}

// === impl EndpointAttempts ===

impl EndpointAttempts {
    fn end_outage(&mut self) {
        *self = Self {
            was_up: self.was_up,
            ..Self::default()
        };
    }
}

// === impl Attempt ===

impl Attempt {
    pub(super) fn choose(
        now: Instant,
        cool_downs: Arc<SharedCoolDowns>,
        outage: OutageRecord,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let endpoint = {
            // Always in this order.
            let mut attempts = lock(&outage);
            let cool_downs = lock(&cool_downs);
            attempts.resize_with(cool_downs.0.len(), EndpointAttempts::default);
            cool_downs.choose(&attempts, now)
        };
        Self {
            cool_downs,
            outage,
            rules,
            clock,
            endpoint,
        }
    }

    pub(super) fn endpoint(&self) -> usize {
        self.endpoint
    }

    pub(super) fn came_up(&self) {
        lock(&self.outage)[self.endpoint].was_up = true;
        lock(&self.cool_downs).came_up(self.endpoint);
    }

    /// The dial failed. Returns what that is to the session.
    pub(super) fn failed(self, now: Instant, cause: &Failure) -> Failure {
        self.record_failure(now, cause, Disposition::Immediately)
    }

    /// The connection was lost, and this side has not closed it. Returns what that is to the
    /// session.
    pub(super) fn lost(self, now: Instant, uptime: Option<Duration>, cause: &Failure) -> Failure {
        let disposition = self.rules.dispositions.lookup(cause);
        if cause.kind() == FailureKind::Local && disposition == Disposition::Final {
            return cause.clone(); // Closed by a layer below.
        }
        let healthy = uptime.is_some_and(|uptime| uptime >= self.rules.healthy_after);
        if healthy {
            lock(&self.outage).iter_mut().for_each(EndpointAttempts::end_outage);
        }
        let passing = matches!(disposition, Disposition::Backoff | Disposition::Immediately);
        if healthy && passing && cause.retry_after().is_none() {
            return cause.clone();
        }
        lock(&self.outage)[self.endpoint].goodbye = disposition == Disposition::Final;
        self.record_failure(now, cause, Disposition::Backoff)
    }

    /// `elsewhere`: how to go on if there is an endpoint that has not been tried.
    fn record_failure(self, now: Instant, cause: &Failure, elsewhere: Disposition) -> Failure {
        let disposition = self.rules.dispositions.lookup(cause);
        let refresh = disposition == Disposition::RefreshCredentials;
        if refresh {
            let mut attempts = lock(&self.outage);
            let is_again = attempts.iter().any(|attempts| attempts.refreshed);
            if !std::mem::replace(&mut attempts[self.endpoint].refreshed, true) {
                // Each endpoint has a credential of its own: what another has refused before is none of
                // this one's, and the session would take it for the same again.
                return match is_again {
                    true => as_session_failure(cause, Disposition::Immediately),
                    false => cause.clone(),
                };
            }
        }
        // Its log line may make a subscriber look at the endpoints: no lock is held here.
        let cool_down = self.cool_down(now, cause, disposition);
        let mut attempts = lock(&self.outage);
        let own = &mut attempts[self.endpoint];
        let first = own.failures == 0;
        own.failures = own.failures.saturating_add(1);
        own.for_good = refresh || disposition == Disposition::Final;

        let mut cool_downs = lock(&self.cool_downs);
        cool_downs.0[self.endpoint] = cool_down;
        // At another endpoint two clients would go on to evict each other.
        let displaced = disposition == Disposition::Final && cause.is_displaced();
        if attempts.len() == 1 || displaced {
            return cause.clone();
        }
        if attempts.iter().all(|attempts| attempts.for_good) {
            // Reconnect waits for those whose refusal may pass.
            return match attempts.iter().any(|attempts| attempts.was_up && !attempts.goodbye) {
                true if attempts[self.endpoint].goodbye => as_session_failure(cause, Disposition::Backoff),
                true => cause.clone(),
                false => none_left(cause),
            };
        }
        let is_new = |endpoint: usize| attempts[endpoint].failures == 0 && cool_downs.cooling(endpoint, now).is_none();
        let all_requested = (0..attempts.len()).all(|endpoint| cool_downs.requested(endpoint, now).is_some());
        match disposition {
            _ if first && (0..attempts.len()).any(is_new) => as_session_failure(cause, elsewhere),
            Disposition::Final if all_requested => cause.clone().with_disposition(Disposition::Backoff),
            _ if all_requested => cause.clone(),
            Disposition::Immediately => as_session_failure(cause, Disposition::Immediately),
            _ => as_session_failure(cause, Disposition::Backoff),
        }
    }

    fn cool_down(&self, now: Instant, cause: &Failure, disposition: Disposition) -> CoolDown {
        // For how long the endpoint asked to be left alone.
        let requested = match (cause.retry_after(), disposition) {
            (Some(wish), _) => Some(wish.delay(self.clock.now()).min(RetryAfter::CAP)),
            (None, Disposition::Wait { least, .. }) => Some(least),
            _ => None,
        };
        let time = self.rules.cool_down.max(requested.unwrap_or_default());
        tracing::warn!(
            target: "tower_ws_reconnect::failover",
            endpoint = self.endpoint,
            kind = cause.kind().as_str(),
            cause = %Causes(cause),
            cool_down_ms = time.as_millis() as u64,
            "the endpoint cools down"
        );
        CoolDown {
            until: Some(later(now, time)),
            requested: requested.map(|requested| later(now, requested)),
            last_failure: Some(cause.clone()),
        }
    }
}

/// The failure of one endpoint, which does not hold for the others.
fn as_session_failure(cause: &Failure, disposition: Disposition) -> Failure {
    if cause.retry_after().is_none() {
        return cause.clone().with_disposition(disposition);
    }
    // The session is not wished to wait, since another endpoint need not be waited for.
    let failure = Failure::new(cause.kind(), "the endpoint wished to be left alone, there is another")
        .with_source(cause.clone())
        .with_disposition(disposition);
    with_status_of(cause, failure)
}

fn none_left(cause: &Failure) -> Failure {
    let failure = Failure::new(cause.kind(), "the last endpoint that was left refused")
        .with_source(NoneLeft { source: cause.clone() })
        .with_disposition(Disposition::Final);
    with_status_of(cause, failure)
}

fn with_status_of(cause: &Failure, failure: Failure) -> Failure {
    match cause.status() {
        Some(status) => failure.with_status(status),
        None => failure,
    }
}
