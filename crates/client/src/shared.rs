//! What the handles and the driver have in common: one short lock.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tower_ws_core::{Failure, Phase, Ticket, jsonrpc::Ids};

use crate::{
    client::Leftovers,
    config::Config,
    error::CallError,
    request::Request,
    table::{Outcome, Table, Wakers},
};

/// Shared by the clients, their calls, the peer's requests and the driver.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) config: Config,
    /// Room for calls and notifications under way.
    pub(crate) room: Arc<Semaphore>,
    /// True once the session has ended.
    ended: watch::Sender<bool>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) stage: Stage,
    /// Accepted, and not yet with the connection.
    out: VecDeque<Entry>,
    /// How many entries of `out` nobody waits for any more.
    cancelled_in_out: usize,
    /// How many entries of `out` are answers to the peer.
    answers: usize,
    /// Ahead of `out`: what is worth sending only now.
    control: VecDeque<Entry>,
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

/// A message on its way to the connection.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) body: Body,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// A request with its id, or a notification.
    Call(Option<u64>, Request),
    /// An answer to a request that came in this epoch.
    Answer(u64, Bytes),
}

impl Entry {
    /// The request, if somebody may still want it sent.
    fn into_request(self) -> Option<Request> {
        match self.body {
            Body::Call(_, request) if !self.ticket.is_some_and(|ticket| ticket.is_cancelled()) => Some(request),
            _ => None,
        }
    }
}

impl Shared {
    /// How many control messages wait for a connection at most. More than a connection takes at a
    /// time; a peer that pings faster than it reads loses answers.
    const CONTROL_ROOM: usize = 64;

    /// How many answers to the peer wait for a connection at most: as many as calls by default. A
    /// peer that asks and does not read makes no more of them: further ones are dropped.
    const ANSWERS: usize = 1024;

    pub(crate) fn new(config: Config, ids: Ids) -> Self {
        Self {
            state: Mutex::new(State {
                table: Table::new(ids),
                stage: Stage::Open,
                out: VecDeque::new(),
                cancelled_in_out: 0,
                answers: 0,
                control: VecDeque::new(),
                driver: None,
                clients: 0,
                leftovers: Leftovers::default(),
            }),
            room: Arc::new(Semaphore::new(config.max_calls)),
            config,
            ended: watch::Sender::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock but allocation, and that aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the clients' side

    /// Accepts a call. Returns its id.
    pub(crate) fn call(&self, request: Request, permit: OwnedSemaphorePermit) -> Result<u64, CallError> {
        let limit = request.timeout.unwrap_or(self.config.timeout);
        let now = Instant::now();
        let mut state = self.lock();
        state.refuse_if_over()?;
        let opened = state.table.open(now, limit, Some(permit));
        let id = opened.id;
        let entry = Entry {
            body: Body::Call(Some(id), request),
            ticket: Some(opened.ticket),
            deadline: now.checked_add(limit),
            _permit: None,
        };
        let waker = state.push(entry, opened.earlier);
        drop(state);
        wake(waker);
        Ok(id)
    }

    /// Accepts a notification.
    pub(crate) fn notify(&self, request: Request, permit: OwnedSemaphorePermit) -> Result<(), CallError> {
        let limit = request.timeout.unwrap_or(self.config.timeout);
        let deadline = Instant::now().checked_add(limit);
        let mut state = self.lock();
        state.refuse_if_over()?;
        let entry = Entry {
            body: Body::Call(None, request),
            ticket: None,
            deadline,
            _permit: Some(permit),
        };
        let waker = state.push(entry, false);
        drop(state);
        wake(waker);
        Ok(())
    }

    pub(crate) fn poll_outcome(&self, id: u64, cx: &Context<'_>) -> Poll<Outcome> {
        self.lock().table.poll(id, cx)
    }

    /// A caller gave up.
    pub(crate) fn abandon(&self, id: u64) {
        let mut state = self.lock();
        let Some(phase) = state.table.abandon(id) else {
            return;
        };
        if phase == Phase::Waiting {
            state.given_up();
        }
        // A session that drains may have waited for just this call.
        let waker = (!matches!(state.stage, Stage::Open))
            .then(|| state.driver.take())
            .flatten();
        drop(state);
        wake(waker);
        if phase != Phase::Waiting {
            wake(self.tell_peer(id));
        }
    }

    /// Tells the peer that nobody waits for this call any more, if its protocol can. The
    /// application's closure runs without the lock: it may use the client.
    fn tell_peer(&self, id: u64) -> Option<Waker> {
        let notice = self.config.cancel.as_ref()?.notice(id);
        let mut state = self.lock();
        state.push_control(Body::Call(None, notice));
        state.driver.take()
    }

    /// Answers a request of the peer's.
    pub(crate) fn answer(&self, answer: Body) {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Ended(_)) {
            return;
        }
        if state.answers >= Self::ANSWERS {
            return tracing::debug!("an answer was dropped: the peer asks, and does not read");
        }
        state.answers += 1;
        let entry = Entry {
            body: answer,
            ticket: None,
            deadline: None,
            _permit: None,
        };
        let waker = state.push(entry, false);
        drop(state);
        wake(waker);
    }

    /// Answers at once or not at all.
    pub(crate) fn turn_away(&self, answer: Body) {
        let mut state = self.lock();
        state.push_control(answer);
        let waker = state.driver.take();
        drop(state);
        wake(waker);
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
        state.stage = Stage::Draining(until);
        let waker = state.driver.take();
        drop(state);
        // Whoever waits for room gets an error instead.
        self.room.close();
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

    pub(crate) fn settle(&self, id: u64, outcome: Outcome) -> bool {
        let mut state = self.lock();
        let known = state.table.is_open(id);
        let waker = state.table.settle(id, outcome);
        drop(state);
        wake(waker);
        known
    }

    /// Settles each open call for which `judge` has an outcome.
    pub(crate) fn settle_where(&self, judge: impl FnMut(&Ticket) -> Option<CallError>) {
        let wakers = self.lock().table.settle_where(judge);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Settles the calls whose time is up.
    pub(crate) fn expire(&self, now: Instant) {
        let mut state = self.lock();
        let (expired, wakers): (_, Wakers) = state.table.expire(now);
        for (_, phase) in &expired {
            if *phase == Phase::Waiting {
                state.given_up();
            }
        }
        drop(state);
        for (id, phase) in expired {
            if phase != Phase::Waiting {
                wake(self.tell_peer(id));
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The end: settles what is open and says why.
    pub(crate) fn end(&self, cause: Option<Failure>, unsent: impl IntoIterator<Item = Entry>) {
        let mut state = self.lock();
        if let Stage::Ended(_) = state.stage {
            return;
        }
        state.stage = Stage::Ended(cause.clone());
        let out = std::mem::take(&mut state.out);
        for entry in unsent.into_iter().chain(out) {
            state.keep_leftover(entry.into_request());
        }
        state.control.clear();
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
        wakers.into_iter().for_each(Waker::wake);
        self.ended.send_replace(true);
    }
}

impl State {
    /// Moves the control messages into `urgent`, and fills `batch` up to `most` entries.
    pub(crate) fn refill(&mut self, urgent: &mut VecDeque<Entry>, batch: &mut VecDeque<Entry>, most: usize) {
        urgent.append(&mut self.control);
        let more = most.saturating_sub(batch.len()).min(self.out.len());
        for entry in self.out.drain(..more) {
            self.answers -= usize::from(matches!(entry.body, Body::Answer(..)));
            batch.push_back(entry);
        }
        if self.out.is_empty() {
            self.cancelled_in_out = 0;
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.control.is_empty() && self.table.unsettled() == 0
    }

    pub(crate) fn park_driver(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// A control message: to be sent now or not at all.
    pub(crate) fn push_control(&mut self, body: Body) {
        if self.control.len() < Shared::CONTROL_ROOM {
            self.control.push_back(Entry {
                body,
                ticket: None,
                deadline: None,
                _permit: None,
            });
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
        let first = self.out.is_empty();
        self.out.push_back(entry);
        if first || urgent { self.driver.take() } else { None }
    }

    /// Nobody waits for a call any more whose message was not sent: takes it out of the queue.
    fn given_up(&mut self) {
        self.cancelled_in_out += 1;
        // Most of the queue may be gone during an outage, and all of it is memory.
        if self.cancelled_in_out > 32 && self.cancelled_in_out * 2 > self.out.len() {
            self.out
                .retain(|entry| !entry.ticket.as_ref().is_some_and(Ticket::is_cancelled));
            self.cancelled_in_out = 0;
        }
    }
}

pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
