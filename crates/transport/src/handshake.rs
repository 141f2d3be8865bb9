use std::{fmt, sync::Arc};

use http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL};

use crate::Names;

/// What the server answered to the handshake. Found in the extensions of [`Up`](tower_ws_core::Up).
///
/// `Debug` shows the names of the headers only: a value may be a cookie. Clones share the headers.
#[derive(Clone)]
pub struct Handshake {
    headers: Arc<HeaderMap>,
}

impl Handshake {
    pub(crate) fn new(headers: HeaderMap) -> Self {
        Self {
            headers: Arc::new(headers),
        }
    }

    /// The subprotocol that the server chose, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()
    }

    /// All headers of the answer. At most 16 KiB.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("headers", &Names(&self.headers))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_value() {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "secret".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, "mcp".parse().unwrap());
        let handshake = Handshake::new(headers);
        assert_eq!(handshake.subprotocol(), Some("mcp"));
        let shown = format!("{handshake:?}");
        assert!(shown.contains("set-cookie") && !shown.contains("secret"), "{shown}");
    }
}
