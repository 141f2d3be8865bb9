use std::{
    mem,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{BoxError, Connection, Failure};

use crate::{
    backoff::Backoff, connection::ReconnectConnection, dialer::Dialer, error::ReconnectError, future::ReconnectFuture,
    layer::Settings, policy::Policy,
};

/// The service of [`ReconnectLayer`](crate::ReconnectLayer): each call begins a session. See the
/// [crate docs](crate).
///
/// It is ready when the service below is; that very instance goes with the call, and dials all
/// connections of the session.
#[derive(Clone, Debug)]
pub struct Reconnect<S, P = Backoff> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept
    // here.
    inner: S,
    policy: P,
    settings: Settings,
}

impl<S, P> Reconnect<S, P> {
    pub(crate) fn new(inner: S, policy: P, settings: Settings) -> Self {
        Self {
            inner,
            policy,
            settings,
        }
    }
}

impl<S, T, P> Service<T> for Reconnect<S, P>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>> + Clone,
    T: Clone,
    P: Policy + Clone,
{
    type Response = ReconnectConnection<S, T, P>;
    type Error = ReconnectError;
    type Future = ReconnectFuture<S, T, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|error| ReconnectError::Unready {
            cause: Failure::of(error),
        })
    }

    fn call(&mut self, target: T) -> Self::Future {
        // The readied service goes, a clone stays.
        let fresh = self.inner.clone();
        let readied = mem::replace(&mut self.inner, fresh);
        ReconnectFuture::new(Dialer::new(readied, target, self.policy.clone(), &self.settings))
    }
}
