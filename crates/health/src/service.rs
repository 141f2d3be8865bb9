use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{Connection, MapConnection, Probe, Shared, Wrap};

use crate::{
    connection::HealthConnection,
    hub::{ConnectionStats, Hub},
    layer::Settings,
};

/// The service of [`HealthLayer`](crate::HealthLayer): each connection of the one below is watched. See the [crate
/// docs](crate).
#[derive(Clone, Debug)]
pub struct Health<S, P> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept here.
    inner: S,
    attach: Attach<P>,
}

/// How the connection below becomes a [`HealthConnection`].
#[derive(Clone)]
pub struct Attach<P> {
    probe: P,
    settings: Settings,
    hub: Shared<Hub>,
}

impl<S, P> Health<S, P> {
    pub(crate) fn new(inner: S, probe: P, settings: Settings, hub: Shared<Hub>) -> Self {
        let attach = Attach { probe, settings, hub };
        Self { inner, attach }
    }
}

impl<S, T, P> Service<T> for Health<S, P>
where
    S: Service<T, Response: Connection>,
    P: Probe<<S::Response as Connection>::Message> + Clone,
{
    type Response = HealthConnection<S::Response, P>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, Attach<P>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.attach.clone())
    }
}

impl<C, P> Wrap<C> for Attach<P> {
    type Connection = HealthConnection<C, P>;

    fn wrap(self, inner: C) -> Self::Connection {
        HealthConnection::new(inner, self.probe, self.settings, ConnectionStats::begin(&self.hub))
    }
}

impl<P> fmt::Debug for Attach<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attach")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
