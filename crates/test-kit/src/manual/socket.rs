use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream};
use tower_ws_core::BoxError;

use super::{gate::Gate, inbox::Inbox};

/// A socket that a test drives by hand: a plain `Sink + Stream` of messages, for tests of
/// [`Lift`](tower_ws_core::Lift).
///
/// Its words are those of [`ManualConnection`](super::ManualConnection), and so are its wakers.
///
/// ```
/// use futures_util::SinkExt;
/// use tower_ws_core::Lift;
/// use tower_ws_test_kit::{ManualSocket, expect};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let socket = ManualSocket::new();
/// let mut connection = Lift::new(socket.clone());
/// expect::up(&mut connection).await;
/// socket.say("hello".to_owned());
/// assert_eq!(expect::message(&mut connection).await, "hello");
/// assert!(connection.send("world".to_owned().into()).await.is_ok());
/// assert_eq!(socket.sent(), ["world"]);
///
/// socket.end();
/// expect::down(&mut connection).await;
/// # }
/// ```
pub struct ManualSocket<M>(Arc<Mutex<State<M>>>);

struct State<M> {
    inbox: Inbox<Result<M, BoxError>>,
    gate: Gate,
    sent: Vec<M>,
    flushed: usize,
    writes: usize,
}

impl<M> ManualSocket<M> {
    /// Ready, and silent.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            inbox: Inbox::default(),
            gate: Gate::default(),
            sent: Vec::new(),
            flushed: 0,
            writes: 0,
        })))
    }

    /// This message comes in.
    pub fn say(&self, message: M) {
        self.state().inbox.push(Ok(message));
    }

    /// Reading fails with this error.
    pub fn fail(&self, error: impl Into<BoxError>) {
        self.state().inbox.push(Err(error.into()));
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

    /// Whether the peer reads: while it does not, nothing is ready, flushed or closed.
    pub fn set_ready(&self, is_ready: bool) {
        let mut state = self.state();
        state.gate.set_room(if is_ready { usize::MAX } else { 0 });
        state.gate.set_flush(is_ready);
    }

    /// From here on every write fails.
    pub fn breaks(&self) {
        self.state().gate.set_broken(true);
    }

    /// How many of the messages have been flushed.
    #[must_use]
    pub fn flushed(&self) -> usize {
        self.state().flushed
    }

    /// How often a write, a flush or a close was tried.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Clone + Send + 'static> ManualSocket<M> {
    /// From here on the peer always has this to say: a read never finds nothing, until it runs
    /// [`dry`](Self::dry).
    pub fn floods(&self, message: M) {
        self.state().inbox.flood(move || Ok(message.clone()));
    }
}

impl<M: Clone> ManualSocket<M> {
    /// The messages that it took, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<M> {
        self.state().sent.clone()
    }
}

impl<M> State<M> {
    fn poll_write(&mut self, poll: impl FnOnce(&mut Gate) -> Poll<()>) -> Poll<Result<(), BoxError>> {
        self.writes += 1;
        match self.gate.is_broken() {
            true => Poll::Ready(Err(broken_pipe())),
            false => poll(&mut self.gate).map(Ok),
        }
    }
}

fn broken_pipe() -> BoxError {
    io::Error::from(io::ErrorKind::BrokenPipe).into()
}

impl<M> Stream for ManualSocket<M> {
    type Item = Result<M, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.state().inbox.poll(cx)
    }
}

impl<M> Sink<M> for ManualSocket<M> {
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.state().poll_write(|gate| gate.poll_ready(cx))
    }

    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), BoxError> {
        let mut state = self.state();
        if state.gate.is_broken() {
            return Err(broken_pipe());
        }
        state.gate.take();
        state.sent.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut state = self.state();
        ready!(state.poll_write(|gate| gate.poll_flush(cx)))?;
        state.flushed = state.sent.len();
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll_flush(cx)
    }
}

impl<M> Clone for ManualSocket<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Default for ManualSocket<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for ManualSocket<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ManualSocket")
            .field("unread", &state.inbox.len())
            .field("sent", &state.sent.len())
            .field("flushed", &state.flushed)
            .field("gate", &state.gate)
            .finish_non_exhaustive()
    }
}
