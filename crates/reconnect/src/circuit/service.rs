use std::{
    fmt,
    task::{Context, Poll, ready},
};

use tokio::sync::watch;
use tokio_util::sync::ReusableBoxFuture;
use tower_service::Service;
use tower_ws_core::{Failure, FailureKind};

use crate::{
    circuit::{CircuitError, CircuitFuture, CircuitOpen},
    handle::{Handle, State},
};

/// The service of [`CircuitLayer`](crate::CircuitLayer).
///
/// It is ready when the service below is, and also when that is not, but the circuit is open:
/// whoever waits for room in an outage is to learn of it.
pub struct Circuit<S> {
    inner: S,
    handle: Handle,
    after: u32,
    state: watch::Receiver<State>,
    /// Resolves when the state changes, while somebody waits for that.
    change: Option<ReusableBoxFuture<'static, watch::Receiver<State>>>,
    /// Readied without the service below: this is the answer.
    refusal: Option<CircuitOpen>,
}

impl<S> Circuit<S> {
    pub(super) fn new(inner: S, handle: Handle, after: u32) -> Self {
        Self {
            inner,
            state: handle.state(),
            handle,
            after,
            change: None,
            refusal: None,
        }
    }

    /// Why nothing is to be sent now, if so.
    fn refusal(&self) -> Option<CircuitOpen> {
        let (attempt, next_attempt, cause) = match &*self.state.borrow() {
            State::BackingOff {
                attempt, until, cause, ..
            } => (*attempt, Some(*until), cause.clone()),
            State::Connecting {
                attempt,
                cause: Some(cause),
            } => (*attempt, None, cause.clone()),
            State::Offline => {
                return Some(CircuitOpen {
                    failures: 0,
                    next_attempt: None,
                    cause: Failure::new(FailureKind::Local, "this side was told to go offline"),
                    offline: true,
                });
            }
            _ => return None,
        };
        let failures = attempt.saturating_sub(1);
        (failures >= self.after).then_some(CircuitOpen {
            failures,
            next_attempt,
            cause,
            offline: false,
        })
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let change = self.change.get_or_insert_with(|| {
            let mut state = self.handle.state();
            // What has happened since the last look counts as a change.
            state.mark_changed();
            ReusableBoxFuture::new(changed(state))
        });
        let mut state = ready!(change.poll(cx));
        state.mark_unchanged();
        change.set(changed(state));
        Poll::Ready(())
    }
}

async fn changed(mut state: watch::Receiver<State>) -> watch::Receiver<State> {
    // It fails when no session can tell of changes any more: then there are none.
    if state.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    state
}

impl<S, R> Service<R> for Circuit<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = CircuitError<S::Error>;
    type Future = CircuitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.refusal = None;
        if let Poll::Ready(ready) = self.inner.poll_ready(cx) {
            return Poll::Ready(ready.map_err(CircuitError::Inner));
        }
        loop {
            self.refusal = self.refusal();
            if self.refusal.is_some() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_change(cx));
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.refusal.take().or_else(|| self.refusal()) {
            Some(open) => {
                // It may hold room that others wait for, and a clone holds none.
                self.inner = self.inner.clone();
                CircuitFuture::open(open)
            }
            None => CircuitFuture::of(self.inner.call(request)),
        }
    }
}

impl<S: Clone> Clone for Circuit<S> {
    fn clone(&self) -> Self {
        // A clone is not ready, and waits for changes of its own.
        Self::new(self.inner.clone(), self.handle.clone(), self.after)
    }
}

impl<S: fmt::Debug> fmt::Debug for Circuit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit")
            .field("inner", &self.inner)
            .field("after", &self.after)
            .field("open", &self.refusal().is_some())
            .finish_non_exhaustive()
    }
}
