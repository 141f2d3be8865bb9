use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tower_service::Service;
use tower_ws_core::{BoxError, Failure};

use super::connection::ManualConnection;

/// A service that hands out [`ManualConnection`]s, dial by dial, for tests of layers.
///
/// A dial waits until the test has said what becomes of it. Clones are the same service.
///
/// ```
/// use tower::ServiceExt;
/// use tower_ws_core::{Failure, FailureKind};
/// use tower_ws_test_kit::{ManualDialer, expect};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let dialer = ManualDialer::new();
/// let manual = dialer.accepts();
/// dialer.refuses(Failure::new(FailureKind::Network, "nobody listens"));
///
/// let mut connection = dialer.clone().oneshot(()).await.expect("the first is accepted");
/// assert!(dialer.clone().oneshot(()).await.is_err());
/// assert_eq!(dialer.dials(), 2);
/// manual.say("hello");
/// expect::up(&mut connection).await;
/// assert_eq!(expect::message(&mut connection).await, "hello");
/// # }
/// ```
pub struct ManualDialer<M>(Arc<Mutex<State<M>>>);

struct State<M> {
    outcomes: VecDeque<Result<ManualConnection<M>, Failure>>,
    dials: usize,
    waiting: Vec<Waker>,
}

impl<M> ManualDialer<M> {
    /// Each dial waits.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            outcomes: VecDeque::new(),
            dials: 0,
            waiting: Vec::new(),
        })))
    }

    /// The next dial gives this new connection, which is up.
    pub fn accepts(&self) -> ManualConnection<M> {
        let connection = ManualConnection::new();
        connection.up();
        self.gives(connection.clone());
        connection
    }

    /// The next dial gives this connection, as it is.
    pub fn gives(&self, connection: ManualConnection<M>) {
        self.push(Ok(connection));
    }

    /// The next dial fails.
    pub fn refuses(&self, cause: Failure) {
        self.push(Err(cause));
    }

    /// How many dials were begun.
    #[must_use]
    pub fn dials(&self) -> usize {
        self.state().dials
    }

    fn push(&self, outcome: Result<ManualConnection<M>, Failure>) {
        let mut state = self.state();
        state.outcomes.push_back(outcome);
        state.waiting.drain(..).for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, M> Service<T> for ManualDialer<M> {
    type Response = ManualConnection<M>;
    type Error = BoxError;
    type Future = ManualDial<M>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: T) -> ManualDial<M> {
        self.state().dials += 1;
        ManualDial(self.clone())
    }
}

/// A dial of a [`ManualDialer`].
#[must_use = "futures do nothing unless polled"]
pub struct ManualDial<M>(ManualDialer<M>);

impl<M> Future for ManualDial<M> {
    type Output = Result<ManualConnection<M>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        match state.outcomes.pop_front() {
            Some(outcome) => Poll::Ready(outcome.map_err(Into::into)),
            None => {
                state.waiting.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<M> Clone for ManualDialer<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Default for ManualDialer<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for ManualDialer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ManualDialer")
            .field("dials", &state.dials)
            .field("outcomes", &state.outcomes.len())
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for ManualDial<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualDial").field(&self.0).finish()
    }
}
