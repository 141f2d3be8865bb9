//! tower-mcp, `call_tool` over its own WebSocket transport.

use std::convert::Infallible;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use tower_mcp::client::{McpClient, WebSocketClientTransport};

use crate::BoxError;
use crate::drive::calls::{self, Caller};
use crate::kind::{Kind, Target};
use crate::meter::Meter;

pub(crate) const KIND: Kind = Kind {
    name: "tower-mcp",
    threads: 1,
    run: |target, meter| Box::pin(run(target, meter)),
};

async fn run(target: Target, meter: Meter) -> Result<Infallible, BoxError> {
    let transport = WebSocketClientTransport::connect(&format!("ws://{}/mcp", target.address)).await?;
    let client = McpClient::connect(transport).await?;
    client.initialize("tower-ws-benches", "1").await?;
    let mut tasks = JoinSet::new();
    calls::spawn(&mut tasks, &Arc::new(client), &target, &meter);
    calls::first_failure(tasks).await
}

impl Caller for Arc<McpClient> {
    async fn call(&self, text: &str) -> Result<String, BoxError> {
        Ok(self.call_tool_text("echo", json!({ "text": text })).await?)
    }
}
