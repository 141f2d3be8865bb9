use std::task::{Context, Poll};

use tower_service::Service;
use tower_ws_core::{Connection, MapConnection, Ping, Probe};

use crate::{connection::HealthConnection, layer::HealthLayer};

/// The service of [`HealthLayer`](crate::HealthLayer): each connection of the one below is watched.
/// See the [crate docs](crate).
#[derive(Clone, Debug)]
pub struct Health<S, P = Ping> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept
    // here.
    inner: S,
    layer: HealthLayer<P>,
}

impl<S, P> Health<S, P> {
    pub(crate) fn new(inner: S, layer: HealthLayer<P>) -> Self {
        Self { inner, layer }
    }
}

impl<S, T, P> Service<T> for Health<S, P>
where
    S: Service<T, Response: Connection>,
    P: Probe<<S::Response as Connection>::Message> + Clone,
{
    type Response = HealthConnection<S::Response, P>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, HealthLayer<P>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}
