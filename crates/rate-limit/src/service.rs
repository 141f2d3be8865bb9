use std::{
    fmt,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;
use tower_service::Service;
use tower_ws_core::{Alarm, BoxError, Connection, Length};

use crate::{
    booking::{Booking, Due},
    connection::RateLimitConnection,
    future::RateLimitFuture,
    layer::Settings,
    throttle::NoSignal,
    turns::NoTurn,
};

/// The service of [`RateLimitLayer`](crate::RateLimitLayer). See the [crate docs](crate).
///
/// A dial waits for its turn in `poll_ready`, before the service below is readied, so that it keeps
/// nothing of it occupied. Dropping the service, or a future that waits for its readiness and owns
/// it, gives the turn back.
///
/// Use its readiness soon. A call that comes later than its turn holds is made all the same, since
/// the contract of [`Service`] has no other way, and is made up for by the next dial: it waits
/// longer.
pub struct RateLimit<S, Me = Length, G = NoSignal> {
    inner: S,
    measure: Me,
    signal: G,
    settings: Settings,
    turn: Option<Booking>,
    /// Its turn has come, and it is ready until it is called.
    ready: bool,
    alarm: Alarm,
}

impl<S, Me, G> RateLimit<S, Me, G> {
    pub(crate) fn new(inner: S, measure: Me, signal: G, settings: Settings) -> Self {
        Self {
            inner,
            measure,
            signal,
            settings,
            turn: None,
            ready: false,
            alarm: Alarm::default(),
        }
    }

    /// Resolves when a dial may begin.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoTurn>> {
        let Some(dials) = &self.settings.dials else {
            return Poll::Ready(Ok(()));
        };
        loop {
            let now = Instant::now();
            let Some(turn) = &mut self.turn else {
                // A dial has no size, so that it is never too large.
                let Ok(turn) = dials.book(now, 0) else {
                    return Poll::Ready(Ok(()));
                };
                self.turn = Some(turn);
                continue;
            };
            match turn.due(now, cx) {
                Due::At(at) => ready!(self.alarm.poll(at, now, cx)),
                Due::Missed => turn.book_again(),
                Due::Asked => return Poll::Pending,
                Due::Now => return Poll::Ready(Ok(())),
                Due::Never(none) => {
                    // Whoever tries again asks again.
                    self.turn = None;
                    return Poll::Ready(Err(none));
                }
            }
        }
    }

    fn begin(&mut self) {
        let Some(dials) = &self.settings.dials else {
            return;
        };
        let now = Instant::now();
        let due = self.turn.take().is_some_and(|turn| turn.spend_due(now));
        // Too late, or not readied: it counts ahead, and others wait for it.
        if !due && let Ok(turn) = dials.book(now, 0) {
            turn.spend();
        }
    }
}

impl<S, T, Me, G> Service<T> for RateLimit<S, Me, G>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
    Me: Clone,
    G: Clone,
{
    type Response = RateLimitConnection<S::Response, Me, G>;
    type Error = BoxError;
    type Future = RateLimitFuture<S::Future, Me, G>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.ready {
            ready!(self.poll_turn(cx))?;
        }
        let polled = self.inner.poll_ready(cx);
        self.ready |= polled.is_ready();
        polled.map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        self.ready = false;
        self.begin();
        let dial = self.inner.call(target);
        RateLimitFuture::new(dial, self.measure.clone(), self.signal.clone(), self.settings.clone())
    }
}

impl<S: Clone, Me: Clone, G: Clone> Clone for RateLimit<S, Me, G> {
    fn clone(&self) -> Self {
        // A clone is not ready: it waits for a turn of its own.
        Self::new(
            self.inner.clone(),
            self.measure.clone(),
            self.signal.clone(),
            self.settings.clone(),
        )
    }
}

impl<S: fmt::Debug, Me, G> fmt::Debug for RateLimit<S, Me, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
