use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::time::Instant;
use tower_ws_core::{jsonrpc::Ids, later};

use crate::{
    era::{Era, MODERN_VERSION},
    progress::Reports,
    replay::Replays,
    server::{Capabilities, Implementation, ServerInfo},
};

/// What the layer and the calls of one session have in common. Clones share it.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    client: Implementation,
    capabilities: Capabilities,
    /// The client's, the opening's and the acknowledging layer's ids, from one counter.
    ids: Ids,
    reports: Reports,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    /// What the server is expected to speak.
    pub(crate) expected: Option<Expected>,
    pub(crate) server: Option<ServerInfo>,
    pub(crate) replays: Replays,
    /// What each request to a modern server says of itself: members of `_meta`, without braces.
    metadata: Arc<str>,
}

/// What a server is expected to speak, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) era: Era,
    pub(crate) since: Instant,
    /// It has opened a connection so; otherwise it has only failed to answer what came before.
    pub(crate) is_known: bool,
}

/// For so long a server is taken for a legacy one before it is asked again whether it still is.
const LEGACY: Duration = Duration::from_secs(600);

impl Expected {
    /// What to begin with now.
    pub(crate) fn at(self, now: Instant) -> Option<Self> {
        (self.era == Era::Modern || now < later(self.since, LEGACY)).then_some(self)
    }
}

impl Session {
    pub(crate) fn new(client: Implementation, capabilities: Capabilities) -> Self {
        let state = State {
            expected: None,
            server: None,
            replays: Replays::default(),
            metadata: metadata(&client, &capabilities, None),
        };
        Self(Arc::new(Shared {
            client,
            capabilities,
            ids: Ids::random(),
            reports: Reports::default(),
            state: Mutex::new(state),
        }))
    }

    /// What the server said of itself when the last connection opened; `None` before the first has.
    pub fn server(&self) -> Option<ServerInfo> {
        self.lock().server.clone()
    }

    pub(crate) fn era(&self) -> Option<Era> {
        self.lock().server.as_ref().map(ServerInfo::era)
    }

    /// The name and version that the server is told.
    pub fn client(&self) -> &Implementation {
        &self.0.client
    }

    /// What the server is told that this client can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    pub(crate) fn ids(&self) -> &Ids {
        &self.0.ids
    }

    pub(crate) fn reports(&self) -> &Reports {
        &self.0.reports
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each request to a modern server says of itself: members of `_meta`, without braces.
    pub(crate) fn metadata(&self) -> Arc<str> {
        self.lock().metadata.clone()
    }

    /// From now on a modern server is to send log messages of this level and above.
    pub(crate) fn set_level(&self, level: &str) {
        self.lock().metadata = metadata(&self.0.client, &self.0.capabilities, Some(level));
    }
}

fn metadata(client: &Implementation, capabilities: &Capabilities, level: Option<&str>) -> Arc<str> {
    let mut metadata = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": client,
    });
    if let Some(level) = level {
        metadata["io.modelcontextprotocol/logLevel"] = level.into();
    }
    let text = metadata.to_string();
    // An object has its braces.
    text[1..text.len() - 1].into()
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", &self.0.client)
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}
