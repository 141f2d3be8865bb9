use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_ws_core::{BoxError, Connection, Failure, Length, find};

use crate::{
    connection::RateLimitConnection,
    layer::Settings,
    throttle::{NoSignal, asked_for},
};

/// The future of [`RateLimit`](crate::RateLimit): a dial whose turn has come.
///
/// Errors pass as they are. One by which the server says that it is too much makes all who share
/// the limit of dials pause.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct RateLimitFuture<F, Me = Length, G = NoSignal> {
    #[pin]
    inner: F,
    wrap: Option<(Me, G, Settings)>,
}

impl<F, Me, G> RateLimitFuture<F, Me, G> {
    pub(crate) fn new(inner: F, measure: Me, signal: G, settings: Settings) -> Self {
        Self {
            inner,
            wrap: Some((measure, signal, settings)),
        }
    }
}

impl<F, C, E, Me, G> Future for RateLimitFuture<F, Me, G>
where
    F: Future<Output = Result<C, E>>,
    C: Connection,
    E: Into<BoxError>,
{
    type Output = Result<RateLimitConnection<C, Me, G>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let dialled = ready!(this.inner.poll(cx));
        let (measure, signal, settings) = this
            .wrap
            .take()
            .expect("polled after it was ready, which futures forbid");
        Poll::Ready(match dialled {
            Ok(connection) => Ok(RateLimitConnection::new(connection, measure, signal, settings)),
            Err(error) => {
                let error = error.into();
                if let Some(failure) = find::<Failure>(&*error) {
                    settings.heed(failure);
                }
                Err(error)
            }
        })
    }
}

impl Settings {
    /// Pauses the dials, if that is what the server wants.
    pub(crate) fn heed(&self, failure: &Failure) {
        if let Some(dials) = &self.dials
            && let Some(pause) = asked_for(failure, self.clock.now())
        {
            dials.pause(pause);
        }
    }
}

impl<F, Me, G> fmt::Debug for RateLimitFuture<F, Me, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}
