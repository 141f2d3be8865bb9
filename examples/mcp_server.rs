//! A small MCP server over the same layers, and a client of it.
//!
//! A connection has no sides: the layers that make calls of a client's connection make them of an
//! accepted one, too. Here the bottom of the stack accepts sockets instead of opening them, health
//! watches the client, and a `tower::Service` answers the requests. The server speaks both eras of
//! the protocol; the client finds out by itself.
//!
//! ```text
//! cargo run --example mcp_server
//! ```

use std::time::Duration;

use http::Response;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_ws::{
    client::{Asked, ClientLayer},
    core::{BoxError, jsonrpc::RpcError},
    health::HealthLayer,
    mcp::{self, Implementation, MODERN_VERSION},
    transport::{JsonText, LiftLayer, WebSocket},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/mcp", listener.local_addr()?);
    println!("an MCP server listens on {url}");
    tokio::spawn(serve(listener));

    let (mcp, _inbound) = mcp::connect(&url, Implementation::new("example", "1")).await?;
    if let Some(server) = mcp.server() {
        println!("connected to {:?}, era {}", server.implementation(), server.era());
    }
    for tool in mcp.tools().all().await? {
        println!("a tool: {}, {}", tool.name, tool.description.unwrap_or_default());
    }
    let sum = mcp.call_tool("add", &json!({ "a": 19, "b": 23 })).await?;
    println!("19 + 23 = {}", sum.text());
    let failed = mcp.call_tool("add", &json!({ "a": "many" })).await?;
    println!("a + nothing: {}", failed.text());
    mcp.close(Duration::from_secs(1)).await;
    Ok(())
}

/// Accepts clients, for as long as the listener lives.
async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(session(socket));
    }
}

/// One client: the stack of a client, upside down at its bottom only.
async fn session(socket: TcpStream) -> Result<(), BoxError> {
    let accept = service_fn(|socket: TcpStream| async {
        accept_async(socket)
            .await
            .map(|accepted| Response::new(WebSocket::from(accepted)))
    });
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        // A client that has vanished is let go.
        .layer(HealthLayer::new())
        .layer(LiftLayer::new())
        .service(accept);
    // By the first the server could ask the client something.
    let (_client, inbound) = stack.oneshot(socket).await?;
    let mut rest = inbound.answer_with(service_fn(|asked: Asked| async move { answer(&asked) }));
    while let Some(item) = rest.next().await {
        println!("  the server sees: {item:?}");
    }
    Ok(())
}

/// The protocol, as far as this server goes: two ways to begin, one tool.
fn answer(asked: &Asked) -> Result<Value, BoxError> {
    let params: Value = asked.params().unwrap_or_default();
    match asked.method() {
        "server/discover" => Ok(json!({
            "resultType": "complete",
            "supportedVersions": [MODERN_VERSION],
            "capabilities": { "tools": {} },
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "example-server", "version": "1" } },
        })),
        "initialize" => Ok(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "example-server", "version": "1" },
        })),
        "ping" => Ok(json!({})),
        "tools/list" => {
            let schema = json!({
                "type": "object",
                "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
                "required": ["a", "b"],
            });
            let tool = json!({ "name": "add", "description": "adds two integers", "inputSchema": schema });
            Ok(json!({ "resultType": "complete", "tools": [tool] }))
        }
        "tools/call" if params["name"] == "add" => {
            let (a, b) = (params["arguments"]["a"].as_i64(), params["arguments"]["b"].as_i64());
            let sum = a.zip(b).and_then(|(a, b)| a.checked_add(b));
            let text = sum.map_or("add wants the integers a and b".to_owned(), |sum| sum.to_string());
            let content = json!([{ "type": "text", "text": text }]);
            Ok(json!({ "resultType": "complete", "content": content, "isError": sum.is_none() }))
        }
        "tools/call" => Err(RpcError::new(-32602, "there is no such tool").into()),
        other => Err(RpcError::new(RpcError::METHOD_NOT_FOUND, format!("there is no method {other}")).into()),
    }
}
