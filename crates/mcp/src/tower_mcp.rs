//! A transport for the client of [`tower-mcp`](::tower_mcp), which lives through the restarts of
//! its server then.
//!
//! What that client sees is in the docs of [`relay`](crate::relay).

use ::tower_mcp::{Error, client::ClientTransport};
use async_trait::async_trait;

use crate::relay::Relay;

/// The transport. See the [module docs](self).
#[derive(Debug)]
pub struct TowerMcpTransport(Relay);

impl TowerMcpTransport {
    /// A transport over a [`Relay`].
    pub fn new(relay: Relay) -> Self {
        Self(relay)
    }
}

#[async_trait]
impl ClientTransport for TowerMcpTransport {
    async fn send(&mut self, message: &str) -> Result<(), Error> {
        let sent = self.0.send(message.to_owned()).await;
        sent.map_err(|closed| Error::Transport(closed.to_string()))
    }

    async fn recv(&mut self) -> Result<Option<String>, Error> {
        Ok(self.0.recv().await)
    }

    fn is_connected(&self) -> bool {
        !self.0.is_closed()
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.0.close().await;
        Ok(())
    }
}
