//! A transport for [`rmcp`](https://docs.rs/rmcp), the official SDK: an unmodified client of it
//! lives through the restarts of its server.
//!
//! ```text
//! let service = handler.serve(TokioChildProcess::new(command)?).await?;          // before
//! let service = handler.serve(tower_ws::mcp::rmcp_transport(url)).await?;        // after
//! ```
//!
//! With a stack of one's own, [`RmcpTransport::new`]. What the SDK sees is in the docs of
//! [`relay`](crate::relay).

use std::{borrow::Cow, future::Future};

use ::rmcp::{
    RoleClient,
    model::ErrorData,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};

use crate::relay::{Interrupted, Relay, RelayClosed};

/// The transport. See the [module docs](self).
#[derive(Debug)]
pub struct RmcpTransport(Relay);

impl RmcpTransport {
    /// A transport over a [`Relay`].
    pub fn new(relay: Relay) -> Self {
        Self(relay)
    }
}

impl Transport<RoleClient> for RmcpTransport {
    type Error = RelayClosed;

    fn name() -> Cow<'static, str> {
        "tower-ws".into()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), RelayClosed>> + Send + 'static {
        let sending = serde_json::to_string(&item).map(|text| self.0.send(text));
        async move {
            match sending {
                Ok(sending) => sending.await,
                Err(error) => {
                    tracing::warn!(kind = ?error.classify(), "a message of the sdk's is no json: it was left out");
                    Ok(())
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            match serde_json::from_str(&self.0.recv().await?) {
                Ok(message) => return Some(message),
                // The kind only: the text may quote what was said.
                Err(error) => tracing::warn!(kind = ?error.classify(), "the sdk cannot read what the server said"),
            }
        }
    }

    async fn close(&mut self) -> Result<(), RelayClosed> {
        self.0.close().await;
        Ok(())
    }
}

/// What became of a request, if this is the error of one that was never answered. `None`: the
/// server's own error.
pub fn interrupted(error: &ErrorData) -> Option<Interrupted> {
    Interrupted::of(error.code.0.into(), error.data.as_ref())
}
