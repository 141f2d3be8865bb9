use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{BoxError, Connection, Length, Measure};

use crate::{
    connection::MetricsConnection,
    future::MetricsFuture,
    meter::{Meter, Meters},
};

/// The service of [`MetricsLayer`](crate::MetricsLayer). See the [crate docs](crate).
///
/// Clones share their counters. The service below is called as it is: its readiness is this one's.
#[derive(Clone)]
pub struct Metrics<S, M = Length> {
    inner: S,
    meters: Arc<Meters>,
    measure: M,
}

impl<S, M> Metrics<S, M> {
    pub(crate) fn new(inner: S, meters: Arc<Meters>, measure: M) -> Self {
        Self { inner, meters, measure }
    }
}

impl<S, T, M> Service<T> for Metrics<S, M>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
    M: Measure<<S::Response as Connection>::Message> + Clone,
{
    type Response = MetricsConnection<S::Response, M>;
    type Error = BoxError;
    type Future = MetricsFuture<S::Future, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let meter = Meter::new(&self.meters, self.measure.clone());
        MetricsFuture::new(self.inner.call(target), meter)
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Metrics<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
