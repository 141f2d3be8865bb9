use std::task::{Context, Poll};

use tower_service::Service;
use tower_ws_core::{Connection, Length, MapConnection, Measure, Wrap};

use crate::{connection::SubscribeConnection, dialect::Dialect, layer::SubscribeLayer};

/// The service of [`SubscribeLayer`]: each call begins a session. See the [crate docs](crate).
///
/// It is ready when the service below is.
#[derive(Clone, Debug)]
pub struct Subscribe<In, D, M, Me = Length> {
    inner: In,
    layer: SubscribeLayer<D, M, Me>,
}

impl<In, D, M, Me> Subscribe<In, D, M, Me> {
    pub(crate) fn new(inner: In, layer: SubscribeLayer<D, M, Me>) -> Self {
        Self { inner, layer }
    }
}

impl<In, T, D, M, Me> Service<T> for Subscribe<In, D, M, Me>
where
    In: Service<T>,
    In::Response: Connection<Message = M>,
    D: Dialect<M> + Clone,
    M: Clone + Send + 'static,
    Me: Measure<M> + Clone,
{
    type Response = SubscribeConnection<In::Response, D, M, Me>;
    type Error = In::Error;
    type Future = MapConnection<In::Future, SubscribeLayer<D, M, Me>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), In::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<C, D, M, Me> Wrap<C> for SubscribeLayer<D, M, Me>
where
    C: Connection<Message = M>,
    D: Dialect<M>,
    M: Clone + Send + 'static,
    Me: Measure<M>,
{
    type Connection = SubscribeConnection<C, D, M, Me>;

    fn wrap(self, inner: C) -> Self::Connection {
        SubscribeConnection::new(inner, self)
    }
}
