//! The official SDK over tower-ws: a program written for stdio, moved by changing one line.
//!
//! The server is killed and started again; the program does not notice, but for a call whose
//! outcome nobody can know.
//!
//! ```text
//! cargo run --example rmcp_client
//! ```

#[path = "support/mcp_server.rs"]
mod mcp_server;

use std::{sync::Arc, time::Duration};

use mcp_server::McpServer;
use rmcp::{
    RoleClient, ServiceError, ServiceExt,
    model::{CallToolRequestParams, ClientConfig},
    service::Peer,
};
use serde_json::json;
use tokio::{sync::Notify, time::sleep};
use tower_ws::{core::BoxError, mcp};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut server = McpServer::start().await?;
    let url = format!("ws://{}/mcp", server.addr());

    // It was: `TokioChildProcess::new(Command::new("the-server"))?`
    let transport = mcp::rmcp_transport(url);
    let service = ClientConfig::default().serve(transport).await?;
    if let Some(info) = service.peer_info() {
        println!("connected; the protocol is {}", info.protocol_version);
    }

    let stop = Arc::new(Notify::new());
    let calling = tokio::spawn(call_all_the_time(service.peer().clone(), stop.clone()));
    sleep(Duration::from_millis(300)).await;
    println!("the server says that it goes away");
    server.close(1001, "going away");
    sleep(Duration::from_millis(1500)).await;
    println!("the server is killed, and started again");
    server.kill();
    sleep(Duration::from_millis(200)).await;
    server.restart().await?;
    sleep(Duration::from_secs(3)).await;
    stop.notify_one();

    let (answered, unknown) = calling.await??;
    println!("{answered} calls were answered, the outcome of {unknown} is unknown");
    println!("{} reached the tool", server.used());
    println!("the server's tools: {}", service.list_all_tools().await?[0].name);
    service.cancel().await?;
    println!("closed in order");
    Ok(())
}

/// How many calls were answered, and of how many nobody knows.
async fn call_all_the_time(peer: Peer<RoleClient>, stop: Arc<Notify>) -> Result<(u64, u64), ServiceError> {
    let (mut answered, mut unknown) = (0, 0);
    loop {
        let mut call = CallToolRequestParams::new("add");
        call.arguments = json!({ "a": answered, "b": 1 }).as_object().cloned();
        tokio::select! {
            () = stop.notified() => return Ok((answered, unknown)),
            outcome = peer.call_tool(call) => match outcome {
                Ok(_) => answered += 1,
                // Sent, and never answered. Whether to try again is for the program to say.
                Err(ServiceError::McpError(error)) if mcp::rmcp::interrupted(&error).is_some() => unknown += 1,
                Err(error) => return Err(error),
            },
        }
    }
}
