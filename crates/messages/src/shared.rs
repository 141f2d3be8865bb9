//! What the senders, the events and the driver have in common: one short lock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tower_ws_core::{Failure, OutageCause, later};

use crate::{
    error::{Reason, SendError},
    layer::MessagesLayer,
    outbox::{Outbox, Until},
    sender::Outcome,
};

pub(crate) struct Shared<M> {
    state: Mutex<State<M>>,
    pub(crate) config: MessagesLayer<M>,
    /// True once the session has ended.
    ended: watch::Sender<bool>,
}

pub(crate) struct State<M> {
    pub(crate) outbox: Outbox<M>,
    pub(crate) stage: Stage,
    pub(crate) outage_cause: OutageCause,
    /// Accepted, not sent, and nobody waits: for whoever closes the session.
    pub(crate) leftovers: Vec<M>,
    driver: Option<Waker>,
    senders: usize,
    is_read: bool,
}

/// How far the session has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Open,
    /// Nothing new; what is under way may end until then.
    Draining(Instant),
    Ended(Option<Failure>),
}

impl<M> Shared<M> {
    pub(crate) fn new(config: MessagesLayer<M>) -> Arc<Self> {
        let state = State {
            outbox: Outbox::new(),
            stage: Stage::Open,
            outage_cause: OutageCause::new(),
            leftovers: Vec::new(),
            driver: None,
            senders: 0,
            is_read: true,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            config,
            ended: watch::Sender::new(false),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<M>> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the program's side

    /// Accepts a message, and gives its serial number.
    pub(crate) fn push(&self, message: M, bytes: usize, until: Until) -> Result<u64, SendError<M>> {
        let mut state = self.lock();
        let cause = match &state.stage {
            Stage::Open => None,
            Stage::Draining(_) => Some(None),
            Stage::Ended(cause) => Some(cause.clone()),
        };
        if let Some(cause) = cause {
            return Err(SendError::new(Some(message), Reason::Closed(cause)));
        }
        if until == Until::Nothing {
            let (waiting, held) = state.outbox.unattended();
            if waiting >= self.config.room || held >= MessagesLayer::<M>::BYTES {
                return Err(SendError::new(Some(message), Reason::Full { waiting }));
            }
        }
        let serial = state.outbox.push(message, bytes, until);
        let waker = state.driver.take();
        drop(state);
        wake(waker);
        Ok(serial)
    }

    /// A sender waits no longer, by its own choice.
    pub(crate) fn give_up(&self, serial: u64) {
        let mut state = self.lock();
        if state.outbox.take_back(serial).is_none() {
            state.outbox.give_up(serial);
        }
        state.look_if_draining();
    }

    /// The time of a sender is up; the stack may have taken its message at just this moment.
    pub(crate) fn time_is_up(&self, serial: u64, until: Until, limit: Duration) -> Result<Outcome, SendError<M>> {
        let mut state = self.lock();
        let message = state.outbox.take_back(serial);
        if message.is_none() && until == Until::Taken {
            return Ok(Outcome::Taken);
        }
        let sent = message.is_none() && state.outbox.give_up(serial).unwrap_or(true);
        let cause = state.outage_cause.get();
        state.look_if_draining();
        Err(SendError::new(message, Reason::TimedOut { limit, sent, cause }))
    }

    pub(crate) fn sender_made(&self) {
        self.lock().senders += 1;
    }

    pub(crate) fn sender_dropped(&self) {
        let mut state = self.lock();
        state.senders -= 1;
        self.end_if_alone(state);
    }

    pub(crate) fn reader_dropped(&self) {
        let mut state = self.lock();
        state.is_read = false;
        self.end_if_alone(state);
    }

    /// A session that nobody can say anything in, or hear anything of, ends in order.
    fn end_if_alone(&self, state: MutexGuard<'_, State<M>>) {
        let is_alone = state.senders == 0 && !state.is_read && matches!(state.stage, Stage::Open);
        drop(state);
        if is_alone {
            self.drain(self.config.close_grace);
        }
    }

    /// Ends the session once what is under way is done, or after `grace`.
    pub(crate) fn drain(&self, grace: Duration) {
        let until = later(Instant::now(), grace);
        let mut state = self.lock();
        state.stage = match state.stage {
            Stage::Ended(_) => return,
            // Another handle may have asked for less.
            Stage::Draining(earlier) => Stage::Draining(earlier.min(until)),
            Stage::Open => Stage::Draining(until),
        };
        let waker = state.driver.take();
        drop(state);
        wake(waker);
    }

    /// Resolves when the session has ended, with what was left. Only the first caller gets that.
    pub(crate) async fn ended(&self) -> Vec<M> {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`, so this ends only by being true.
        let _ = ended.wait_for(|&ended| ended).await;
        std::mem::take(&mut self.lock().leftovers)
    }

    // --- the driver's side

    /// The end: settles what is open and says why. Gives what was left and nobody asked for.
    pub(crate) fn end(&self, cause: Option<&Failure>) -> Vec<M> {
        let mut state = self.lock();
        let was_asked = matches!(state.stage, Stage::Draining(_));
        if let Stage::Ended(_) = state.stage {
            return Vec::new();
        }
        state.stage = Stage::Ended(cause.cloned());
        let (mut left, wakers) = state.outbox.end(cause);
        if was_asked {
            let State { leftovers, .. } = &mut *state;
            leftovers.append(&mut left);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.ended.send_replace(true);
        left
    }
}

impl<M> State<M> {
    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// A session that drains may have waited for just this.
    fn look_if_draining(&mut self) {
        if matches!(self.stage, Stage::Draining(_)) {
            wake(self.driver.take());
        }
    }
}

pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
