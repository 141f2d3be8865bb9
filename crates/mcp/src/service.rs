use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{
    BoxError, Connection, Length, MapConnection, Measure, Opening, OpeningConnection, OpeningFuture, Wrap,
    jsonrpc::Codec,
};

use crate::{connection::McpConnection, layer::McpLayer, opening::McpDialogue};

/// The service of [`McpLayer`](crate::McpLayer): each connection of the one below is opened as MCP
/// wants it. See the [crate docs](crate).
#[derive(Clone)]
pub struct McpService<S, K> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept
    // here.
    inner: Opening<S, McpDialogue<K>>,
    layer: McpLayer<K>,
}

impl<S, K> McpService<S, K> {
    pub(crate) fn new(inner: Opening<S, McpDialogue<K>>, layer: McpLayer<K>) -> Self {
        Self { inner, layer }
    }
}

impl<S, K, T, C> Service<T> for McpService<S, K>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    Length: Measure<C::Message>,
    K: Codec<C::Message> + Clone + Send + Sync + 'static,
{
    type Response = McpConnection<OpeningConnection<C::Message>, K>;
    type Error = BoxError;
    type Future = MapConnection<OpeningFuture<C::Message>, McpLayer<K>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<C, K> Wrap<C> for McpLayer<K> {
    type Connection = McpConnection<C, K>;

    fn wrap(self, inner: C) -> Self::Connection {
        McpConnection::new(inner, self.codec, self.session)
    }
}

impl<S, K> fmt::Debug for McpService<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpService")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}
