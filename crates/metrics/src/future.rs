use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_ws_core::{BoxError, Failure, FailureKind, Length, find};

use crate::{connection::MetricsConnection, meter::Meter};

/// The future of [`Metrics`](crate::Metrics): a dial, or the beginning of a session.
///
/// Errors pass as they are. Dropping it counts a dial as cancelled, and a session as dropped.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct MetricsFuture<F, M = Length> {
    #[pin]
    inner: F,
    meter: Option<Meter<M>>,
}

impl<F, M> MetricsFuture<F, M> {
    pub(crate) fn new(inner: F, meter: Meter<M>) -> Self {
        Self {
            inner,
            meter: Some(meter),
        }
    }
}

impl<F, C, E, M> Future for MetricsFuture<F, M>
where
    F: Future<Output = Result<C, E>>,
    E: Into<BoxError>,
{
    type Output = Result<MetricsConnection<C, M>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let dialled = ready!(this.inner.poll(cx));
        let mut meter = this
            .meter
            .take()
            .expect("polled after it was ready, which futures forbid");
        Poll::Ready(match dialled {
            Ok(connection) => {
                meter.watch.connected();
                Ok(MetricsConnection::new(connection, meter))
            }
            Err(error) => {
                let error = error.into();
                let status = find::<Failure>(&*error).and_then(Failure::status);
                meter.watch.failed(FailureKind::of(&*error), status);
                Err(error)
            }
        })
    }
}

impl<F, M> fmt::Debug for MetricsFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFuture").finish_non_exhaustive()
    }
}
