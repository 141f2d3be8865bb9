use std::{
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;
use tower_ws_core::{Alarm, BoxError};

use super::{KeyedLimitError, keys::Place};

/// The future of [`KeyedRateLimit`](crate::KeyedRateLimit). Dropping it while it waits gives its
/// turn back.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct KeyedRateLimitFuture<S: Service<R>, R, K: Clone + Eq + Hash> {
    #[pin]
    step: Step<S, R, K>,
}

#[pin_project(project = StepProj)]
enum Step<S: Service<R>, R, K: Clone + Eq + Hash> {
    Refused(Option<KeyedLimitError>),
    Waiting {
        place: Place<K>,
        alarm: Alarm,
        service: S,
        request: Option<R>,
    },
    Called(#[pin] S::Future),
}

impl<S: Service<R>, R, K: Clone + Eq + Hash> KeyedRateLimitFuture<S, R, K> {
    pub(super) fn called(future: S::Future) -> Self {
        Self {
            step: Step::Called(future),
        }
    }

    pub(super) fn waiting(place: Place<K>, service: S, request: R) -> Self {
        Self {
            step: Step::Waiting {
                place,
                alarm: Alarm::default(),
                service,
                request: Some(request),
            },
        }
    }

    pub(super) fn refused(error: KeyedLimitError) -> Self {
        Self {
            step: Step::Refused(Some(error)),
        }
    }
}

impl<S, R, K> Future for KeyedRateLimitFuture<S, R, K>
where
    S: Service<R, Error: Into<BoxError>>,
    K: Clone + Eq + Hash,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED: &str = "polled after it was ready, which futures forbid";
        let mut step = self.project().step;
        loop {
            match step.as_mut().project() {
                StepProj::Refused(error) => return Poll::Ready(Err(error.take().expect(POLLED).into())),
                StepProj::Called(future) => return future.poll(cx).map_err(Into::into),
                StepProj::Waiting {
                    place,
                    alarm,
                    service,
                    request,
                } => {
                    loop {
                        while let Some(until) = place.wait() {
                            ready!(alarm.poll(until, Instant::now(), cx));
                        }
                        ready!(service.poll_ready(cx)).map_err(Into::into)?;
                        // That may have taken so long that others' turns have come.
                        if place.wait().is_none() {
                            break;
                        }
                    }
                    let called = service.call(request.take().expect(POLLED));
                    step.set(Step::Called(called));
                }
            }
        }
    }
}

impl<S: Service<R>, R, K: Clone + Eq + Hash> fmt::Debug for KeyedRateLimitFuture<S, R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitFuture").finish_non_exhaustive()
    }
}
