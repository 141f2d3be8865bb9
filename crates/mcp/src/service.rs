use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{
    BoxError, Connection, MapConnection, Opening, OpeningConnection, OpeningFuture, Wrap, jsonrpc::Codec,
};

use crate::{connection::McpConnection, opening::McpDialogue, session::Session};

/// The service of [`McpLayer`](crate::McpLayer): each connection of the one below is opened as MCP wants it. See the [crate
/// docs](crate).
#[derive(Clone)]
pub struct Speak<S, K> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept here.
    inner: Opening<S, McpDialogue<K>>,
    codec: K,
    session: Session,
}

/// How an opened connection becomes an [`McpConnection`].
#[derive(Debug)]
pub struct Stamp<K> {
    codec: K,
    session: Session,
}

impl<S, K> Speak<S, K> {
    pub(crate) fn new(inner: Opening<S, McpDialogue<K>>, codec: K, session: Session) -> Self {
        Self { inner, codec, session }
    }
}

impl<S, K, T, C> Service<T> for Speak<S, K>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    K: Codec<C::Message> + Clone + Send + Sync + 'static,
{
    type Response = McpConnection<OpeningConnection<C::Message>, K>;
    type Error = BoxError;
    type Future = MapConnection<OpeningFuture<C::Message>, Stamp<K>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let stamp = Stamp {
            codec: self.codec.clone(),
            session: self.session.clone(),
        };
        MapConnection::new(self.inner.call(target), stamp)
    }
}

impl<C, K> Wrap<C> for Stamp<K> {
    type Connection = McpConnection<C, K>;

    fn wrap(self, inner: C) -> Self::Connection {
        McpConnection::new(inner, self.codec, self.session)
    }
}

impl<S, K> fmt::Debug for Speak<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Speak")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
