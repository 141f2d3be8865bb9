use std::{borrow::Cow, fmt, future::Future};

use ::rmcp::{
    RoleClient,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use futures_core::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tower_ws_client::{Client, Inbound};
use tower_ws_core::BoxError;

use super::worker::{Connect, Worker};
use crate::McpLayer;

/// How many messages wait between the SDK and the stack, each way: 64. More wait in the SDK's own tasks.
const ROOM: usize = 64;

/// The transport. See the [module docs](super).
pub struct RmcpTransport {
    /// `None` once it is being closed.
    said: Option<mpsc::Sender<TxJsonRpcMessage<RoleClient>>>,
    heard: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
    /// Closed once the worker has ended.
    ended: watch::Receiver<()>,
}

impl RmcpTransport {
    /// A transport over the stack that `connect` makes, which must have the layer that it is given in the place of an
    /// [`McpLayer`].
    ///
    /// Nothing is dialled before the SDK speaks: only then it is known what the server is to be told of the client.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new<K, F, Fut>(codec: K, connect: F) -> Self
    where
        K: Clone + Send + 'static,
        F: FnOnce(McpLayer<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(Client, Inbound), BoxError>> + Send + 'static,
    {
        let connect: Connect = Box::new(move |client, capabilities, only| {
            let (layer, session) = McpLayer::pair(codec, client, capabilities);
            let layer = match only {
                Some(era) => layer.only(era),
                None => layer,
            };
            let connecting: BoxFuture<'static, _> = Box::pin(async move {
                let (client, inbound) = connect(layer).await?;
                Ok((client, inbound, session))
            });
            connecting
        });
        let (said, from_sdk) = mpsc::channel(ROOM);
        let (to_sdk, heard) = mpsc::channel(ROOM);
        let (alive, ended) = watch::channel(());
        tokio::spawn(async move {
            Worker::run(connect, from_sdk, to_sdk).await;
            drop(alive);
        });
        Self {
            said: Some(said),
            heard,
            ended,
        }
    }
}

/// The transport is closed: the session has ended for good, or was closed on request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection to the mcp server is closed for good; the log says why")]
pub struct TransportClosed;

impl Transport<RoleClient> for RmcpTransport {
    type Error = TransportClosed;

    fn name() -> Cow<'static, str> {
        "tower-ws".into()
    }

    /// Resolves when the stack has taken the message, not when it was written.
    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), TransportClosed>> + Send + 'static {
        let said = self.said.clone();
        async move {
            let said = said.ok_or(TransportClosed)?;
            said.send(item).await.map_err(|_| TransportClosed)
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        self.heard.recv().await
    }

    /// Says goodbye, once what is under way has ended or two seconds are over.
    async fn close(&mut self) -> Result<(), TransportClosed> {
        self.said = None;
        self.heard.close();
        // It ends by being dropped.
        while self.ended.changed().await.is_ok() {}
        Ok(())
    }
}

impl fmt::Debug for RmcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RmcpTransport")
            .field("closed", &self.said.is_none())
            .finish_non_exhaustive()
    }
}
