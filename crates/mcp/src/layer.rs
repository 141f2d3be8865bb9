use std::{fmt, time::Duration};

use tower_layer::Layer;
use tower_ws_core::OpeningLayer;

use crate::{
    era::Era,
    opening::McpDialogue,
    server::{Capabilities, Implementation},
    service::McpService,
    session::Session,
};

/// Speaks MCP on each connection. See the [crate docs](crate).
///
/// One layer serves one session: what it has learnt (the era, what is subscribed to) is repeated on
/// each of the session's connections.
#[derive(Clone)]
pub struct McpLayer<K> {
    pub(crate) codec: K,
    pub(crate) session: Session,
    only: Option<Era>,
    preferred: Option<String>,
    timeout: Duration,
}

impl<K> McpLayer<K> {
    /// How long the opening of a connection may take by default: 10 s, beside the time that the
    /// dial may take.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// A layer, and the session that [`Mcp`](crate::Mcp) is made of. `client` and `capabilities`
    /// are what each server is told of this side.
    pub fn pair(codec: K, client: Implementation, capabilities: Capabilities) -> (Self, Session) {
        let session = Session::new(client, capabilities);
        let layer = Self {
            codec,
            session: session.clone(),
            only: None,
            preferred: None,
            timeout: Self::TIMEOUT,
        };
        (layer, session)
    }

    /// Speaks this era only, and asks for no other: then a server may take [as
    /// long](Self::timeout) to answer as the whole opening does, which is right for one that is slow
    /// to start. Default: whatever the server speaks, the modern one first.
    #[must_use]
    pub fn only(mut self, era: Era) -> Self {
        self.only = Some(era);
        self
    }

    /// Offers this revision to a legacy server, instead of the newest; any other of
    /// [`LEGACY_VERSIONS`](crate::LEGACY_VERSIONS) that it answers with is taken too. One that is
    /// none of them is not offered.
    #[must_use]
    pub fn prefer(mut self, version: impl Into<String>) -> Self {
        self.preferred = Some(version.into());
        self
    }

    /// Sets how long the opening of a connection may take: finding out the era, the handshake, and
    /// what is repeated.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<K> fmt::Debug for McpLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpLayer")
            .field("session", &self.session)
            .field("only", &self.only)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S, K: Clone> Layer<S> for McpLayer<K> {
    type Service = McpService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let dialogue = McpDialogue::new(
            self.codec.clone(),
            self.session.clone(),
            self.only,
            self.preferred.as_deref(),
        );
        let opening = OpeningLayer::new("mcp", dialogue).timeout(self.timeout);
        McpService::new(opening.layer(inner), self.clone())
    }
}
