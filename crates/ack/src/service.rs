use std::task::{Context, Poll};

use tower_service::Service;
use tower_ws_core::{Connection, Length, MapConnection, Measure, Wrap};

use crate::{connection::AckConnection, layer::AckLayer, strategy::Strategy};

/// The service of [`AckLayer`]: each call begins a session. See the [crate docs](crate).
///
/// It is ready when the service below is.
#[derive(Clone, Debug)]
pub struct Ack<In, S, Me = Length> {
    inner: In,
    layer: AckLayer<S, Me>,
}

impl<In, S, Me> Ack<In, S, Me> {
    pub(crate) fn new(inner: In, layer: AckLayer<S, Me>) -> Self {
        Self { inner, layer }
    }
}

impl<In, T, S, Me> Service<T> for Ack<In, S, Me>
where
    In: Service<T>,
    In::Response: Connection<Message: Clone>,
    S: Strategy<<In::Response as Connection>::Message> + Clone,
    Me: Measure<<In::Response as Connection>::Message> + Clone,
{
    type Response = AckConnection<In::Response, S, Me>;
    type Error = In::Error;
    type Future = MapConnection<In::Future, AckLayer<S, Me>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), In::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<C, S, Me> Wrap<C> for AckLayer<S, Me>
where
    C: Connection<Message: Clone>,
    S: Strategy<C::Message>,
{
    type Connection = AckConnection<C, S, Me>;

    fn wrap(self, inner: C) -> Self::Connection {
        AckConnection::new(inner, self)
    }
}
