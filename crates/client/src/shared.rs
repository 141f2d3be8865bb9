//! What the handles and the driver have in common: one short lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tower_ws_core::{Failure, OutageCause, Phase, Ticket, jsonrpc::Ids, later};

use crate::{
    client::Leftovers,
    config::Config,
    doubt::Doubt,
    error::CallError,
    outbox::{Body, Bound, Entry, Outbox},
    request::Request,
    table::{Answer, GivenUp, Outcome, Table, Wakers},
};

/// Shared by the clients, their calls, the peer's requests and the driver.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) config: Config,
    /// How many answers to the peer found no room.
    refused: AtomicU64,
    /// Room for calls and notifications under way.
    pub(crate) room: Arc<Semaphore>,
    /// Room for the bytes of notifications that wait: nobody else holds them any more.
    pub(crate) notification_bytes: Arc<Semaphore>,
    /// True once the session has ended.
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) stage: Stage,
    pub(crate) outbox: Outbox,
    pub(crate) doubt: Doubt,
    pub(crate) outage_cause: OutageCause,
    driver: Option<Waker>,
    clients: usize,
    leftovers: Leftovers,
}

/// How far the session has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Open,
    /// Nothing new; what is under way may end until then.
    Draining(Option<Instant>),
    Ended(Option<Failure>),
}

impl Shared {
    pub(crate) fn new(config: Config, ids: Ids) -> Self {
        Self {
            state: Mutex::new(State {
                table: Table::new(ids),
                stage: Stage::Open,
                outbox: Outbox::default(),
                doubt: Doubt::new(None, Instant::now()),
                outage_cause: OutageCause::new(),
                driver: None,
                clients: 0,
                leftovers: Leftovers::default(),
            }),
            room: Arc::new(Semaphore::new(config.max_calls)),
            notification_bytes: Arc::new(Semaphore::new(Outbox::NOTIFICATION_BYTES)),
            config,
            refused: AtomicU64::new(0),
            ended: watch::Sender::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the clients' side

    /// How long a request may take.
    pub(crate) fn limit(&self, request: &Request) -> Duration {
        request.timeout.unwrap_or(self.config.timeout)
    }

    /// Accepts a call that was made at this moment, by the task that this waker wakes, if it is
    /// known already. Returns its id.
    pub(crate) fn call(
        &self,
        made: Instant,
        request: &Request,
        permit: OwnedSemaphorePermit,
        waker: Option<Waker>,
    ) -> Result<u64, CallError> {
        let limit = self.limit(request);
        let mut state = self.lock();
        state.refuse_if_over()?;
        let opened = state.table.open(made, limit, Some(permit), waker);
        let id = opened.id;
        let entry = Entry {
            body: Body::Call(state.outbox.write(Some(id), request)),
            ticket: Some(opened.ticket),
            // Also one without a limit says so: layers below have a limit for messages that say nothing.
            deadline: Some(later(made, limit)),
            _permits: None,
        };
        let waker = state.push(entry, opened.earlier);
        drop(state);
        wake(waker);
        Ok(id)
    }

    /// Accepts a notification.
    pub(crate) fn notify(
        &self,
        made: Instant,
        request: &Request,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Result<(), CallError> {
        let deadline = Some(later(made, self.limit(request)));
        let mut state = self.lock();
        state.refuse_if_over()?;
        let entry = Entry {
            body: Body::Call(state.outbox.write(None, request)),
            ticket: None,
            deadline,
            _permits: Some(permits),
        };
        let waker = state.push(entry, false);
        drop(state);
        wake(waker);
        Ok(())
    }

    pub(crate) fn poll_outcome(&self, id: u64, cx: &Context<'_>) -> Poll<Outcome> {
        self.lock().table.poll(id, cx)
    }

    /// A caller lost interest.
    pub(crate) fn abandon(&self, id: u64) {
        self.give_up(id, |_, _| ());
    }

    /// A caller's time is up, by a clock of its own. Whether the peer may have seen the call, and why
    /// there is no connection.
    pub(crate) fn time_is_up(&self, id: u64) -> (bool, Option<Failure>) {
        let told = self.give_up(id, |state, call| {
            state.timed_out(call, Instant::now());
            (call.is_seen, state.outage_cause.get())
        });
        told.unwrap_or((true, None))
    }

    /// Nobody waits for a call any more. `None` if it was settled already.
    fn give_up<T>(&self, id: u64, then: impl FnOnce(&mut State, GivenUp) -> T) -> Option<T> {
        let mut state = self.lock();
        let call = state.table.abandon(id)?;
        state.given_up(call, self.config.cancel.is_some());
        let told = then(&mut state, call);
        // A session that drains may have waited for just this call.
        let looks = !matches!(state.stage, Stage::Open) || state.outbox.has_control() || state.doubt.is_ripe();
        let waker = looks.then(|| state.driver.take()).flatten();
        drop(state);
        wake(waker);
        Some(told)
    }

    /// Answers a request of the peer's.
    pub(crate) fn answer(&self, answer: Bound) {
        self.push_answer(answer, Outbox::push_answer);
    }

    /// Answers at once or not at all.
    pub(crate) fn turn_away(&self, answer: Bound) {
        self.push_answer(answer, Outbox::push_control);
    }

    fn push_answer(&self, answer: Bound, push: impl FnOnce(&mut Outbox, Bound) -> bool) {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Ended(_)) {
            return;
        }
        let is_kept = push(&mut state.outbox, answer);
        let waker = state.driver.take();
        drop(state);
        wake(waker);
        if !is_kept {
            self.refused();
        }
    }

    /// An answer found no room. The 1st, 2nd, 4th, 8th … is logged.
    pub(crate) fn refused(&self) {
        let so_far = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if so_far.is_power_of_two() {
            tracing::warn!(so_far, "an answer to the peer was dropped: it asks, and does not read");
        }
    }

    pub(crate) fn client_made(&self) {
        self.lock().clients += 1;
    }

    pub(crate) fn client_dropped(&self) {
        let mut state = self.lock();
        state.clients -= 1;
        // A close that is under way has its own grace.
        let last = state.clients == 0 && matches!(state.stage, Stage::Open);
        drop(state);
        if last {
            self.drain(self.config.close_grace);
        }
    }

    /// Ends the session once what is under way is done, or after `grace`.
    pub(crate) fn drain(&self, grace: Duration) {
        let until = Instant::now().checked_add(grace);
        let mut state = self.lock();
        if let Stage::Ended(_) = state.stage {
            return;
        }
        // Another handle may have asked for less.
        let until = match state.stage {
            Stage::Draining(Some(earlier)) => Some(until.map_or(earlier, |until| until.min(earlier))),
            _ => until,
        };
        state.stage = Stage::Draining(until);
        let waker = state.driver.take();
        drop(state);
        // Whoever waits for room gets an error instead.
        self.room.close();
        self.notification_bytes.close();
        wake(waker);
    }

    /// Resolves when the session has ended, with what was left. Only the first caller gets that.
    pub(crate) async fn ended(&self) -> Leftovers {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`, so this ends only by being true.
        let _ = ended.wait_for(|&ended| ended).await;
        std::mem::take(&mut self.lock().leftovers)
    }

    /// Why nothing more is accepted, if so.
    pub(crate) fn closed(&self) -> CallError {
        match &self.lock().stage {
            Stage::Ended(cause) => CallError::Closed(cause.clone()),
            _ => CallError::Closed(None),
        }
    }

    // --- the driver's side

    pub(crate) fn settle(&self, id: u64, outcome: Outcome) {
        let waker = self.lock().table.settle(id, outcome);
        wake(waker);
    }

    /// The peer's answer to a call, not before this moment. False if nobody waits for it, or if the
    /// call was never sent.
    pub(crate) fn answered(&self, id: u64, answer: Answer, at: Instant) -> bool {
        let mut state = self.lock();
        state.doubt.answered(at);
        let is_awaited = state.table.may_be_answered(id);
        let waker = is_awaited.then(|| state.table.settle(id, Ok(answer))).flatten();
        drop(state);
        wake(waker);
        is_awaited
    }

    /// Settles each open call for which `judge` has an outcome.
    pub(crate) fn settle_where(&self, judge: impl FnMut(&Ticket) -> Option<CallError>) {
        let wakers = self.lock().table.settle_where(judge);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Settles the calls whose time is up, and takes out the notifications whose time is.
    pub(crate) fn expire(&self, now: Instant, batch: &mut VecDeque<Entry>) -> Vec<Request> {
        let mut state = self.lock();
        let cause = state.outage_cause.get();
        let (expired, wakers): (_, Wakers) = state.table.expire(now, cause.as_ref());
        for call in expired {
            state.given_up(call, self.config.cancel.is_some());
            state.timed_out(call, now);
        }
        let late = state.outbox.expire(now, batch);
        if state.is_idle() && batch.is_empty() {
            // What there was to send, however much at once, has been sent for a while.
            state.outbox = Outbox::default();
            *batch = VecDeque::new();
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        late
    }

    /// The end: settles what is open and says why.
    pub(crate) fn end(&self, cause: Option<Failure>, unsent: impl IntoIterator<Item = Entry>) {
        let mut state = self.lock();
        if let Stage::Ended(_) = state.stage {
            return;
        }
        state.stage = Stage::Ended(cause.clone());
        let queued = state.outbox.end();
        for entry in unsent.into_iter().chain(queued) {
            state.keep_leftover(entry.into_request());
        }
        let mut unanswered = 0;
        let wakers = state.table.settle_where(|ticket| {
            Some(if ticket.may_have_been_seen() {
                unanswered += 1;
                CallError::Interrupted(cause.clone())
            } else {
                CallError::Closed(cause.clone())
            })
        });
        state.leftovers.unanswered = unanswered;
        drop(state);
        self.room.close();
        self.notification_bytes.close();
        wakers.into_iter().for_each(Waker::wake);
        self.ended.send_replace(true);
    }
}

impl State {
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.table.unsettled() == 0
    }

    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Keeps what was accepted and never sent, to be handed back.
    pub(crate) fn keep_leftover(&mut self, request: Option<Request>) {
        self.leftovers.unsent.extend(request);
    }

    fn refuse_if_over(&self) -> Result<(), CallError> {
        match &self.stage {
            Stage::Open => Ok(()),
            Stage::Draining(_) => Err(CallError::Closed(None)),
            Stage::Ended(cause) => Err(CallError::Closed(cause.clone())),
        }
    }

    fn push(&mut self, entry: Entry, urgent: bool) -> Option<Waker> {
        let first = self.outbox.push(entry);
        if first || urgent { self.driver.take() } else { None }
    }

    /// Nobody waits for a call any more.
    fn given_up(&mut self, call: GivenUp, tells_peer: bool) {
        match call.phase {
            Phase::Waiting => self.outbox.abandoned(),
            _ if tells_peer => self.outbox.cancel(call.id),
            _ => {}
        }
    }

    fn timed_out(&mut self, call: GivenUp, now: Instant) {
        if call.phase != Phase::Waiting {
            self.doubt.timed_out(call.made, now);
        }
    }

    /// Says to the layers below that the peer answers nothing, if it has come to that.
    pub(crate) fn look_for_doubt(&mut self) {
        if self.doubt.is_ripe() {
            self.doubt.raise(self.table.oldest_seen());
        }
    }
}

pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
