//! The scripted connection that a layer under test stands on.

use std::{
    collections::VecDeque,
    fmt,
    future::{Ready, poll_fn, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::{Sink, Stream};
use tokio::time::Instant;
use tower_service::Service;
use tower_ws_core::{Closed, Down, DropReason, Event, Failure, FailureKind, Lane, Outgoing, TicketSteps, Up};

use super::harness::{Peer, Unsupported};

/// How many messages the connection buffers until it is flushed, and how many its peer leaves
/// unread.
const ROOM: usize = 2;

/// The service that a layer under test wraps: each call gives a connection that the suite scripts.
///
/// The connection is strict: it panics when a message is sent without readiness. What it takes
/// reaches the peer only when it is flushed.
pub struct Below<M>(Arc<Mutex<Dials<M>>>);

/// The connection that [`Below`] gives.
pub struct BelowConnection<M>(Arc<Mutex<State<M>>>);

/// The far end of the latest connection that [`Below`] gave.
pub struct Scripted<M>(Arc<Mutex<Dials<M>>>);

struct Dials<M> {
    latest: Option<Arc<Mutex<State<M>>>>,
    count: usize,
    connected: Vec<Waker>,
}

struct State<M> {
    up: Option<Up>,
    inbound: VecDeque<Event<M>>,
    /// What there is to read whenever nothing else is.
    flood: Option<M>,
    down: Option<Down>,
    /// What has been taken and not flushed.
    buffer: VecDeque<M>,
    /// What has been flushed and the peer has not read.
    flushed: VecDeque<M>,
    /// Control messages taken while the buffer was full.
    over: usize,
    granted: bool,
    closed: bool,
    ended: bool,
    flushes: usize,
    taken: Vec<M>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    peer: Option<Waker>,
}

// === impl Below ===

impl<M> Below<M> {
    pub(crate) fn new() -> (Self, Scripted<M>) {
        let dials = Arc::new(Mutex::new(Dials {
            latest: None,
            count: 0,
            connected: Vec::new(),
        }));
        (Self(dials.clone()), Scripted(dials))
    }
}

impl<M: Clone, T> Service<T> for Below<M> {
    type Response = BelowConnection<M>;
    type Error = io::Error;
    type Future = Ready<Result<BelowConnection<M>, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: T) -> Self::Future {
        let state = Arc::new(Mutex::new(State::new()));
        let mut dials = lock(&self.0);
        dials.latest = Some(state.clone());
        dials.count += 1;
        dials.connected.drain(..).for_each(Waker::wake);
        ready(Ok(BelowConnection(state)))
    }
}

impl<M> Clone for Below<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

// === impl BelowConnection ===

impl<M: Clone> Stream for BelowConnection<M> {
    type Item = Event<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<M>>> {
        let mut state = lock(&self.0);
        if let Some(up) = state.up.take() {
            return Poll::Ready(Some(Event::Up(up)));
        }
        if let Some(event) = state.inbound.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(state.down.take().map(Event::Down));
        }
        if let Some(flood) = &state.flood {
            return Poll::Ready(Some(Event::Message(flood.clone())));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<M: Clone> Sink<Outgoing<M>> for BelowConnection<M> {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = lock(&self.0);
        if state.ended || state.closed {
            return Poll::Ready(Err(Closed));
        }
        if state.buffer.len() >= ROOM {
            state.flush();
        }
        if state.buffer.len() >= ROOM {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.granted = true;
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<M>) -> Result<(), Closed> {
        let mut state = lock(&self.0);
        let control = item.lane == Lane::Control;
        let granted = control || std::mem::take(&mut state.granted);
        if state.ended || state.closed {
            if state.ended && state.down.is_none() {
                return Err(Closed);
            }
            state.refuse(item, DropReason::Disconnected);
        } else if !granted {
            drop(state);
            panic!("`start_send` on the connection below without a `poll_ready` that returned `Ready`");
        } else if control && state.buffer.len() >= ROOM && state.over >= Lane::CONTROL_ROOM {
            state.refuse(item, DropReason::Overflow);
        } else if item.drop_reason(Instant::now()) == Some(DropReason::Expired) {
            state.refuse(item, DropReason::Expired);
        } else if item.ticket.as_ref().is_some_and(|ticket| !ticket.mark_sent()) {
            state.refuse(item, DropReason::Cancelled);
        } else {
            if control && state.buffer.len() >= ROOM {
                state.over += 1;
            }
            state.taken.push(item.message.clone());
            state.buffer.push_back(item.message);
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = lock(&self.0);
        state.flushes += 1;
        if state.ended || state.closed {
            return Poll::Ready(Err(Closed));
        }
        state.poll_flush(cx).map(Ok)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = lock(&self.0);
        if state.ended {
            return Poll::Ready(Ok(()));
        }
        state.closed = true;
        state.wake();
        state.poll_flush(cx).map(Ok)
    }
}

impl<M> Drop for BelowConnection<M> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.buffer.clear();
        state.end(Failure::closed_locally());
    }
}

impl<M> fmt::Debug for BelowConnection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BelowConnection").finish_non_exhaustive()
    }
}

// === impl State ===

impl<M> State<M> {
    fn new() -> Self {
        Self {
            up: Some(Up::new()),
            inbound: VecDeque::new(),
            flood: None,
            down: None,
            buffer: VecDeque::new(),
            flushed: VecDeque::new(),
            over: 0,
            granted: false,
            closed: false,
            ended: false,
            flushes: 0,
            taken: Vec::new(),
            reader: None,
            writer: None,
            peer: None,
        }
    }

    fn flush(&mut self) {
        while self.flushed.len() < ROOM
            && let Some(message) = self.buffer.pop_front()
        {
            self.over = self.over.saturating_sub(1);
            self.flushed.push_back(message);
            // Only for news: a task that flushes and receives would wake itself for ever, and a
            // paused clock stand still.
            self.peer.take().into_iter().for_each(Waker::wake);
        }
    }

    fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.flush();
        if self.buffer.is_empty() {
            return Poll::Ready(());
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn refuse(&mut self, item: Outgoing<M>, reason: DropReason) {
        self.inbound.push_back(Event::Dropped(item, reason));
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn end(&mut self, cause: Failure) {
        if !self.ended {
            self.ended = true;
            self.down = Some(Down::new(if self.closed { Failure::closed_locally() } else { cause }));
        }
        self.wake();
    }

    fn wake(&mut self) {
        let waiting = [self.reader.take(), self.writer.take(), self.peer.take()];
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// The next message, `None` once nothing more can come.
    fn take(&mut self) -> Poll<Option<M>> {
        if let Some(message) = self.flushed.pop_front() {
            self.writer.take().into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(message));
        }
        // The peer answers the closing of this side, once everything is read.
        if self.closed && self.buffer.is_empty() {
            self.end(Failure::closed_locally());
        }
        match self.ended {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }
}

// === impl Scripted ===

impl<M> Scripted<M> {
    /// How many connections there have been.
    pub(crate) fn dials(&self) -> usize {
        lock(&self.0).count
    }

    /// How often the connection has been flushed.
    pub(crate) fn flushes(&self) -> usize {
        self.with(|state| state.flushes)
    }

    /// Everything that the connection has taken.
    pub(crate) fn taken<N>(&self, number: impl Fn(&M) -> N) -> Vec<N> {
        self.with(|state| state.taken.iter().map(number).collect())
    }

    pub(crate) fn say(&self, event: Event<M>) {
        self.with(|state| {
            if !state.ended {
                state.inbound.push_back(event);
                state.reader.take().into_iter().for_each(Waker::wake);
            }
        });
    }

    /// The next message that the peer reads.
    pub(crate) fn take(&self) -> Poll<Option<M>> {
        self.with(State::take)
    }

    /// From here on the peer always has this to say, until it runs [`dry`](Self::dry).
    pub(crate) fn floods(&self, message: &M)
    where
        M: Clone,
    {
        self.with(|state| {
            state.flood = Some(message.clone());
            state.reader.take().into_iter().for_each(Waker::wake);
        });
    }

    pub(crate) fn dry(&self) {
        self.with(|state| state.flood = None);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.with(|state| state.closed)
    }

    pub(crate) fn cut(&self, why: &'static str) {
        self.with(|state| {
            state.buffer.clear();
            state.flushed.clear();
            state.end(Failure::new(FailureKind::Network, why));
        });
    }

    fn with<R>(&self, f: impl FnOnce(&mut State<M>) -> R) -> R {
        let latest = lock(&self.0).latest.clone();
        f(&mut lock(
            &latest.expect("a layer dials before its connection is there"),
        ))
    }
}

impl<M> Peer<M> for Scripted<M> {
    async fn send(&mut self, message: M) {
        self.say(Event::Message(message));
    }

    async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| {
            // A layer that redials replaces the connection under this call.
            lock(&self.0).connected.push(cx.waker().clone());
            self.with(|state| {
                let taken = state.take();
                if taken.is_pending() {
                    state.peer = Some(cx.waker().clone());
                }
                taken
            })
        })
        .await
    }

    async fn close(&mut self) -> Result<(), Unsupported> {
        let cause = Failure::new(FailureKind::Closed, "the scripted peer closed");
        self.with(|state| state.end(cause));
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.cut("the scripted peer is gone");
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}

impl<M> fmt::Debug for Below<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Below").finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Scripted<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

/// A panic of the layer under test must not hide behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
