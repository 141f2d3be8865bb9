use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::{Sink, Stream};
use tokio::time::Instant;
use tower_ws_core::{Closed, Down, DropReason, Event, Failure, Outgoing, TicketSteps, Up};

use super::{gate::Gate, inbox::Inbox};

/// A connection that a test drives by hand.
///
/// Clones are the same connection: one goes under the layer, the test keeps another. At first it is
/// ready and has no event. It takes a last look at each message, as [`Lift`](tower_ws_core::Lift)
/// does: what is cancelled or expired comes back. Closing it makes no event, either.
///
/// Reader and writer are woken apart: the reader by an event, the writer when the test changes
/// whether it has to wait. Each has one waker, that of its last poll.
///
/// ```
/// use futures_util::{SinkExt, StreamExt};
/// use tower_ws_test_kit::{ManualConnection, expect};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let manual = ManualConnection::new();
/// // Under a layer in a real test.
/// let (mut sink, mut stream) = manual.clone().split();
/// manual.up();
/// manual.say("hello");
/// expect::up(&mut stream).await;
/// assert_eq!(expect::message(&mut stream).await, "hello");
///
/// manual.takes(0);
/// let writer = tokio::spawn(async move { sink.send("world".into()).await });
/// tokio::task::yield_now().await;
/// assert!(manual.sent().is_empty());
/// manual.takes(1);
/// assert!(expect::within(expect::SECOND, writer).await.is_ok());
/// assert_eq!(manual.sent(), ["world"]);
/// # }
/// ```
pub struct ManualConnection<M>(Arc<Mutex<State<M>>>);

struct State<M> {
    epoch: u64,
    inbox: Inbox<Event<M>>,
    gate: Gate,
    sent: Vec<Outgoing<M>>,
    flushes: usize,
    is_closed: bool,
}

impl<M> ManualConnection<M> {
    /// Ready, and without an event.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            epoch: 0,
            inbox: Inbox::default(),
            gate: Gate::default(),
            sent: Vec::new(),
            flushes: 0,
            is_closed: false,
        })))
    }

    /// Says [`Up`] with the next epoch. What was broken or not ready is ready again.
    pub fn up(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.gate.set_broken(false);
        state.gate.open();
        let mut up = Up::new();
        up.epoch = state.epoch;
        state.inbox.push(Event::Up(up));
    }

    /// Says [`Down`] with the epoch of the last [`up`](Self::up). The stream does not end yet.
    pub fn down(&self, cause: Failure, will_retry: bool) {
        let mut state = self.state();
        let mut down = Down::new(cause);
        down.epoch = state.epoch;
        down.will_retry = will_retry;
        state.inbox.push(Event::Down(down));
    }

    /// Says that the peer sent this message.
    pub fn say(&self, message: M) {
        self.event(Event::Message(message));
    }

    /// Says this event, as it is.
    pub fn event(&self, event: Event<M>) {
        self.state().inbox.push(event);
    }

    /// The flood is over.
    pub fn dry(&self) {
        self.state().inbox.dry();
    }

    /// Ends the stream, once everything before has been read.
    pub fn end(&self) {
        self.state().inbox.end();
    }

    /// It is ready for so many more messages, and then no more.
    pub fn takes(&self, messages: usize) {
        self.state().gate.set_room(messages);
    }

    /// Whether a message may be sent. A flush is another matter.
    pub fn set_ready(&self, is_ready: bool) {
        self.takes(if is_ready { usize::MAX } else { 0 });
    }

    /// Whether a flush, and so a close, comes to its end.
    pub fn set_flush(&self, is_flushed: bool) {
        self.state().gate.set_flush(is_flushed);
    }

    /// From here on it is ready, and gives everything back as [`DropReason::Disconnected`].
    pub fn breaks(&self) {
        let mut state = self.state();
        state.gate.set_broken(true);
        state.gate.open();
    }

    /// How many flushes came to their end.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.state().flushes
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Clone + Send + 'static> ManualConnection<M> {
    /// From here on the peer always has this to say: a read never finds nothing, until it runs
    /// [`dry`](Self::dry).
    pub fn floods(&self, message: M) {
        self.state().inbox.flood(move || Event::Message(message.clone()));
    }
}

impl<M: Clone> ManualConnection<M> {
    /// The messages that it took and did not give back, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<M> {
        self.state().sent.iter().map(|item| item.message.clone()).collect()
    }

    /// The messages that it took after so many.
    #[must_use]
    pub fn sent_after(&self, messages: usize) -> Vec<M> {
        let state = self.state();
        let later = state.sent.iter().skip(messages);
        later.map(|item| item.message.clone()).collect()
    }

    /// The same as [`sent`](Self::sent), with what the layers above say of each.
    #[must_use]
    pub fn sent_items(&self) -> Vec<Outgoing<M>> {
        self.state().sent.clone()
    }
}

impl<M> State<M> {
    /// Why this message does not go out.
    fn refuse(&self, item: &Outgoing<M>) -> Option<DropReason> {
        if self.gate.is_broken() {
            return Some(DropReason::Disconnected);
        }
        item.drop_reason(Instant::now()).or_else(|| {
            let ticket = item.ticket.as_ref()?;
            ticket.enter(self.epoch);
            (!ticket.mark_sent()).then_some(DropReason::Cancelled)
        })
    }
}

impl<M> Stream for ManualConnection<M> {
    type Item = Event<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<M>>> {
        self.state().inbox.poll(cx)
    }
}

impl<M> Sink<Outgoing<M>> for ManualConnection<M> {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.state().gate.poll_ready(cx).map(Ok)
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<M>) -> Result<(), Closed> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Closed);
        }
        match state.refuse(&item) {
            Some(reason) => state.inbox.push(Event::Dropped(item, reason)),
            None => {
                state.gate.take();
                state.sent.push(item);
            }
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.state();
        let polled = state.gate.poll_flush(cx);
        state.flushes += usize::from(polled.is_ready());
        polled.map(Ok)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.state();
        state.is_closed = true;
        state.gate.poll_flush(cx).map(Ok)
    }
}

impl<M> Clone for ManualConnection<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Default for ManualConnection<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for ManualConnection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ManualConnection")
            .field("epoch", &state.epoch)
            .field("unread", &state.inbox.len())
            .field("sent", &state.sent.len())
            .field("gate", &state.gate)
            .finish_non_exhaustive()
    }
}
