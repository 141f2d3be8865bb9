use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::{Clock, Disposition, Failure, FailureKind};

use crate::outage::later;

/// How much of a `Retry-After` is honoured: without a cap an endpoint could take itself out for good.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) cool_down: Duration,
    pub(super) healthy_after: Duration,
}

/// What all sessions know of the endpoints. No I/O: time is passed in.
#[derive(Debug)]
pub(super) struct Board(Vec<Record>);

pub(super) type Shared = Mutex<Board>;

#[derive(Clone, Debug, Default)]
struct Record {
    cooling: Option<Instant>,
    /// Before this the endpoint asked to be left alone.
    asked: Option<Instant>,
    last_failure: Option<Failure>,
}

/// What one session has tried in the present outage. Its dials and its connection share it.
pub(super) type Trail = Arc<Mutex<Vec<Tried>>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    failures: u32,
    /// Its last failure was final.
    for_good: bool,
    /// It asked for new credentials.
    refreshed: bool,
}

/// One dial, and the connection that comes of it.
pub(super) struct Course {
    board: Arc<Shared>,
    trail: Trail,
    rules: Rules,
    clock: Arc<dyn Clock>,
    endpoint: usize,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Board ===

impl Board {
    pub(super) fn new(endpoints: usize) -> Self {
        Self(vec![Record::default(); endpoints])
    }

    pub(super) fn cooling(&self, endpoint: usize, now: Instant) -> Option<Instant> {
        self.0[endpoint].cooling.filter(|until| *until > now)
    }

    pub(super) fn last_failure(&self, endpoint: usize) -> Option<&Failure> {
        self.0[endpoint].last_failure.as_ref()
    }

    fn choose(&self, tried: &[Tried], now: Instant) -> usize {
        let all = 0..self.0.len();
        all.clone()
            .filter(|&endpoint| self.cooling(endpoint, now).is_none())
            .min_by_key(|&endpoint| tried[endpoint].failures)
            // All are cooling down: `None` for `asked` or for a time that is over is the least.
            .or_else(|| all.min_by_key(|&endpoint| (self.asked(endpoint, now), self.cooling(endpoint, now))))
            .unwrap_or_default()
    }

    fn asked(&self, endpoint: usize, now: Instant) -> Option<Instant> {
        self.0[endpoint].asked.filter(|until| *until > now)
    }

    fn came_up(&mut self, endpoint: usize) {
        let record = &mut self.0[endpoint];
        (record.cooling, record.asked) = (None, None);
    }
}

// === impl Course ===

impl Course {
    pub(super) fn choose(now: Instant, board: Arc<Shared>, trail: Trail, rules: Rules, clock: Arc<dyn Clock>) -> Self {
        let endpoint = {
            // Always in this order.
            let mut tried = lock(&trail);
            let board = lock(&board);
            tried.resize_with(board.0.len(), Tried::default);
            board.choose(&tried, now)
        };
        Self {
            board,
            trail,
            rules,
            clock,
            endpoint,
        }
    }

    pub(super) fn endpoint(&self) -> usize {
        self.endpoint
    }

    pub(super) fn came_up(&self) {
        lock(&self.board).came_up(self.endpoint);
    }

    /// The dial failed. Returns what that is to the session.
    pub(super) fn failed(self, now: Instant, cause: &Failure) -> Failure {
        self.blame(now, cause, Disposition::Immediately)
    }

    /// The connection was lost, and this side has not closed it. Returns what that is to the session.
    pub(super) fn lost(self, now: Instant, uptime: Option<Duration>, cause: &Failure) -> Failure {
        let disposition = cause.disposition();
        if cause.kind() == FailureKind::Local && disposition == Disposition::Final {
            return cause.clone(); // Closed by a layer below.
        }
        let healthy = uptime.is_some_and(|uptime| uptime >= self.rules.healthy_after);
        if healthy {
            lock(&self.trail).fill(Tried::default());
        }
        let passing = matches!(disposition, Disposition::Backoff | Disposition::Immediately);
        if healthy && passing && cause.retry_after().is_none() {
            return cause.clone();
        }
        self.blame(now, cause, Disposition::Backoff)
    }

    /// `elsewhere`: how to go on if there is an endpoint that has not been tried.
    fn blame(self, now: Instant, cause: &Failure, elsewhere: Disposition) -> Failure {
        let disposition = cause.disposition();
        let refresh = disposition == Disposition::RefreshCredentials;
        if refresh && !std::mem::replace(&mut lock(&self.trail)[self.endpoint].refreshed, true) {
            return cause.clone();
        }
        // Whoever logs may look at the endpoints: no lock is held here.
        let record = self.cool_down(now, cause);
        let mut tried = lock(&self.trail);
        let own = &mut tried[self.endpoint];
        let first = own.failures == 0;
        own.failures = own.failures.saturating_add(1);
        own.for_good = refresh || disposition == Disposition::Final;

        let mut board = lock(&self.board);
        board.0[self.endpoint] = record;
        if tried.len() == 1 || displaced(cause) {
            return cause.clone();
        }
        if tried.iter().all(|tried| tried.for_good) {
            return cause.clone().with_disposition(Disposition::Final);
        }
        let is_new = |endpoint: usize| tried[endpoint].failures == 0 && board.cooling(endpoint, now).is_none();
        let all_asked = (0..tried.len()).all(|endpoint| board.asked(endpoint, now).is_some());
        match disposition {
            _ if first && (0..tried.len()).any(is_new) => eased(cause, elsewhere),
            Disposition::Final if all_asked => cause.clone().with_disposition(Disposition::Backoff),
            _ if all_asked => cause.clone(),
            Disposition::Immediately => eased(cause, Disposition::Immediately),
            _ => eased(cause, Disposition::Backoff),
        }
    }

    fn cool_down(&self, now: Instant, cause: &Failure) -> Record {
        let asked = self.asked(cause);
        let time = self.rules.cool_down.max(asked.unwrap_or_default());
        tracing::warn!(
            endpoint = self.endpoint,
            kind = cause.kind().as_str(),
            %cause,
            cool_down_ms = time.as_millis() as u64,
            "the endpoint cools down"
        );
        Record {
            cooling: Some(later(now, time)),
            asked: asked.map(|asked| later(now, asked)),
            last_failure: Some(cause.clone()),
        }
    }

    /// For how long the endpoint asked to be left alone.
    fn asked(&self, cause: &Failure) -> Option<Duration> {
        let asked = match (cause.retry_after(), cause.disposition()) {
            (Some(asked), _) => asked.delay(self.clock.now()).min(RETRY_AFTER_CAP),
            (None, Disposition::Wait { least, .. }) => least,
            _ => return None,
        };
        Some(asked)
    }
}

/// Another connection of the same session took over: elsewhere the two would go on to evict each other.
fn displaced(cause: &Failure) -> bool {
    cause.disposition() == Disposition::Final && cause.close().is_some_and(|close| matches!(close.code, 1000 | 4409))
}

/// The failure of one endpoint, which does not hold for the others.
fn eased(cause: &Failure, disposition: Disposition) -> Failure {
    if cause.retry_after().is_none() {
        return cause.clone().with_disposition(disposition);
    }
    // The session is not asked to wait, since another endpoint need not be waited for.
    let mut failure = Failure::new(cause.kind(), "the endpoint asked to be left alone, there is another")
        .with_source(cause.clone())
        .with_disposition(disposition);
    if let Some(status) = cause.status() {
        failure = failure.with_status(status);
    }
    failure
}
