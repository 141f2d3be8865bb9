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
pub struct Queue<I, Me = Length, S = MemoryStore> {
    inner: I,
    layer: QueueLayer<Me, S>,
}

impl<I, Me, S> Queue<I, Me, S> {
    pub(crate) fn new(inner: I, layer: QueueLayer<Me, S>) -> Self {
        Self { inner, layer }
    }
}

impl<I, T, Me, S> Service<T> for Queue<I, Me, S>
where
    I: Service<T, Response: Connection>,
    Me: Clone,
    S: MakeStore<<I::Response as Connection>::Message> + Clone,
{
    type Response = QueueConnection<I::Response, Me, S::Store>;
    type Error = I::Error;
    type Future = MapConnection<I::Future, QueueLayer<Me, S>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<I: fmt::Debug, Me, S> fmt::Debug for Queue<I, Me, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
