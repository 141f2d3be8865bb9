use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use tower_ws_core::{Failure, Lease, OutageCause, Server, Shared, Up};

use crate::handle::{Handle, State, Transition};

/// What a session and its handles share.
#[derive(Debug)]
pub(crate) struct Hub {
    state: watch::Sender<State>,
    down_since: Mutex<Option<Instant>>,
    /// Made for the first who listens: sessions are many, listeners few.
    transitions: OnceLock<broadcast::Sender<Transition>>,
    reconnect: AtomicBool,
    offline: AtomicBool,
    /// Whoever drives the session.
    driver: AtomicWaker,
    discarded: AtomicU64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::default()),
            down_since: Mutex::new(None),
            transitions: OnceLock::new(),
            reconnect: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            driver: AtomicWaker::new(),
            discarded: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn down_since(&self) -> Option<Instant> {
        *self.down_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.transitions
            .get_or_init(|| broadcast::Sender::new(Handle::LAG))
            .subscribe()
    }

    pub(crate) fn ask_to_reconnect(&self) {
        self.reconnect.store(true, Ordering::Release);
        self.driver.wake();
    }

    pub(crate) fn set_offline(&self, offline: bool) {
        self.offline.store(offline, Ordering::Release);
        self.driver.wake();
    }

    pub(crate) fn discarded(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }
}

/// A session's end of the [`Hub`]: tells each transition once, to the log, the watchers and the
/// listeners.
#[derive(Debug)]
pub(crate) struct Session {
    hub: Lease<Hub>,
    outage_cause: OutageCause,
    /// Of the last connection.
    server: Option<Server>,
    epoch: u64,
    attempt: u32,
    ended: bool,
}

impl Session {
    pub(crate) fn begin(pair: Option<&Shared<Hub>>) -> Self {
        Self {
            hub: Lease::of(pair, Hub::new),
            outage_cause: OutageCause::new(),
            server: None,
            epoch: 0,
            attempt: 0,
            ended: false,
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.hub.shared())
    }

    pub(crate) fn outage_cause(&self) -> OutageCause {
        self.outage_cause.clone()
    }

    /// Whose the last connection was, if the transport tells.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// True if somebody asked to reconnect since the last look.
    pub(crate) fn take_reconnect(&self) -> bool {
        // The load spares the cache line that the handles share: this is looked at with every
        // event.
        self.hub.reconnect.load(Ordering::Acquire) && self.hub.reconnect.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.hub.offline.load(Ordering::Acquire)
    }

    /// Leaves word whom commands should wake. False if one came in meanwhile.
    pub(crate) fn register_for_commands(&self, cx: &Context<'_>, offline: bool) -> bool {
        self.hub.driver.register(cx.waker());
        !self.hub.reconnect.load(Ordering::Acquire) && self.is_offline() == offline
    }

    pub(crate) fn wake_driver(&self) {
        self.hub.driver.wake();
    }

    pub(crate) fn discard(&self) {
        let discarded = self.hub.discarded.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(
            epoch = self.epoch,
            discarded,
            "a control message was discarded: there is no connection, and nobody reads"
        );
    }

    pub(crate) fn connecting(&mut self, attempt: u32, cause: Option<Failure>) {
        self.attempt = attempt;
        // Whoever waits for a first connection has nothing else to look at.
        match (self.epoch, &cause) {
            (0, None) => tracing::info!(epoch = 0, attempt, "dialling"),
            (epoch, _) => tracing::debug!(epoch, attempt, "dialling"),
        }
        self.tell(State::Connecting { attempt, cause }, None, None);
    }

    /// What is logged on the way belongs to this attempt.
    pub(crate) fn dial_span(&self) -> tracing::Span {
        tracing::info_span!("dial", epoch = self.epoch + 1, attempt = self.attempt)
    }

    /// A connection is up; returns its number.
    pub(crate) fn connected(&mut self, up: &Up) -> u64 {
        self.epoch += 1;
        let epoch = self.epoch;
        self.server = up.extensions.get::<Server>().cloned();
        let server = self.server.as_ref().map(tracing::field::display);
        tracing::info!(epoch, attempt = self.attempt, connection = %up.connection, server, "connected");
        self.outage_cause.set(None);
        self.tell(State::Connected { epoch }, None, None);
        epoch
    }

    pub(crate) fn backing_off(&mut self, attempt: u32, until: Instant, cause: &Failure, final_at: Option<Instant>) {
        self.attempt = attempt;
        let delay = until.saturating_duration_since(Instant::now());
        let delay_ms = delay.as_millis() as u64;
        tracing::debug!(epoch = self.epoch, attempt, delay_ms, "backing off");
        self.outage_cause.set(Some(cause.clone()));
        let state = State::BackingOff {
            attempt,
            until,
            cause: cause.clone(),
            final_at,
        };
        self.tell(state, Some(cause.clone()), Some(delay));
    }

    pub(crate) fn offline(&mut self) {
        tracing::warn!(
            epoch = self.epoch,
            attempt = self.attempt,
            "offline on request; not dialling"
        );
        self.tell(State::Offline, None, None);
    }

    pub(crate) fn closed(&mut self) {
        self.ended = true;
        tracing::info!(epoch = self.epoch, attempt = self.attempt, "the session is closed");
        self.tell(State::Closed, None, None);
    }

    pub(crate) fn failed(&mut self, cause: &Failure) {
        self.ended = true;
        self.tell(State::Failed { cause: cause.clone() }, Some(cause.clone()), None);
    }

    fn tell(&self, state: State, cause: Option<Failure>, delay: Option<Duration>) {
        if let Some(listeners) = self.hub.transitions.get() {
            let (epoch, attempt) = (self.epoch, self.attempt);
            // An error means that nobody listens any more.
            let _ = listeners.send(Transition {
                state: state.clone(),
                epoch,
                attempt,
                cause,
                delay,
            });
        }
        let mut down_since = self.hub.down_since.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            State::Connected { .. } => *down_since = None,
            _ => _ = down_since.get_or_insert_with(Instant::now),
        }
        drop(down_since);
        self.hub.state.send_replace(state);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.ended {
            self.closed();
        }
    }
}
