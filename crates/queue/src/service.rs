use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{Connection, Length, MapConnection};

use crate::{
    connection::QueueConnection,
    layer::QueueLayer,
    store::{MakeStore, MemoryStore},
};

/// The service of [`QueueLayer`]: each connection that comes up has a queue of its own. See the
/// [crate docs](crate).
#[derive(Clone)]
pub struct Queue<I, Z = Length, S = MemoryStore> {
    inner: I,
    layer: QueueLayer<Z, S>,
}

impl<I, Z, S> Queue<I, Z, S> {
    pub(crate) fn new(inner: I, layer: QueueLayer<Z, S>) -> Self {
        Self { inner, layer }
    }
}

impl<I, T, Z, S> Service<T> for Queue<I, Z, S>
where
    I: Service<T, Response: Connection>,
    Z: Clone,
    S: MakeStore<<I::Response as Connection>::Message> + Clone,
{
    type Response = QueueConnection<I::Response, Z, S::Store>;
    type Error = I::Error;
    type Future = MapConnection<I::Future, QueueLayer<Z, S>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<I: fmt::Debug, Z, S> fmt::Debug for Queue<I, Z, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
