//! rmcp, `call_tool` over tokio-tungstenite, as a sink and a stream of its messages: it has no WebSocket
//! transport.

use std::convert::Infallible;
use std::future::ready;

use futures_util::{SinkExt, StreamExt};
use rmcp::model::{CallToolRequestParams, ClientConfig};
use rmcp::service::{Peer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::{RoleClient, ServiceExt};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::{BoxError, tuned};

pub(crate) const KIND: Kind = Kind {
    name: "rmcp",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let (sink, stream) = tuned::connect(&target, "/mcp", 16 * 1024).await?.split();
    let sink = sink.with(|message: TxJsonRpcMessage<RoleClient>| {
        let text = serde_json::to_string(&message).map_err(|error| tungstenite::Error::Io(error.into()));
        ready(text.map(Message::text))
    });
    let stream = stream.filter_map(|message| {
        let message = message.ok();
        ready(
            message
                .and_then(|message| serde_json::from_slice::<RxJsonRpcMessage<RoleClient>>(&message.into_data()).ok()),
        )
    });
    let service = ClientConfig::default().serve((sink, stream)).await?;
    let mut tasks = JoinSet::new();
    calls::spawn(&mut tasks, service.peer(), &target, &meter);
    calls::first_failure(tasks).await
}

impl Caller for Peer<RoleClient> {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        let mut params = CallToolRequestParams::new("echo");
        params.arguments = json!({ "text": text }).as_object().cloned();
        let result = self.call_tool(params).await?;
        let content = result.content.first().and_then(|content| content.as_text());
        Ok(content.ok_or("no text")?.text.clone())
    }
}
