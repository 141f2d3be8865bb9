//! The same layers over a pair of channels: the server is a task of this program, and there is no
//! network at all.
//!
//! It drops the connection in the middle of a call. That call may be sent again, so it is, and its
//! caller notices nothing. There are no WebSocket pings here, so health asks by a request of the
//! protocol.
//!
//! ```text
//! cargo run --example memory
//! ```

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    Incoming, Request,
    ack::{AckLayer, JsonRpc},
    client::ClientLayer,
    core::{BoxError, Replay},
    health::{HealthLayer, probe_fn},
    queue::QueueLayer,
    reconnect::ReconnectLayer,
    transport::{JsonText, memory},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // Each socket takes so many messages that its peer has not read.
    let (memory, listener) = memory::channel(16);
    let server = tokio::spawn(serve(listener));
    // The answers are known by an id that no call has.
    let ping = probe_fn(
        |nonce| json!({ "jsonrpc": "2.0", "id": format!("ping {nonce}"), "method": "ping" }).to_string(),
        |line: &String| line.split_once("\"ping ")?.1.split_once('"')?.0.parse().ok(),
    );
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(QueueLayer::new())
        .layer(AckLayer::new(JsonRpc::new(JsonText)))
        .layer(ReconnectLayer::new())
        .layer(HealthLayer::new().probe(ping))
        .service(memory);
    let (client, mut inbound) = stack.oneshot(()).await?;
    tokio::spawn(async move {
        while let Some(item) = inbound.next().await {
            match item {
                Incoming::Up(up) => println!("  up: connection {}", up.epoch),
                Incoming::Down(down) => println!("  down: {}", down.cause),
                _ => {}
            }
        }
    });

    println!("echo: {}", client.request::<_, Value>("echo", &"hello").await?);
    let leave = Request::new("leave").params(&"and back")?.replay(Replay::Safe);
    println!("leave: {}", client.send(leave).await?.result::<Value>()?);
    println!("echo: {}", client.request::<_, Value>("echo", &"still here").await?);
    client.close(Duration::from_secs(1)).await;
    // With the last connection the dialling side is gone, and so is the listener's work.
    println!("closed; the server saw {} connections", server.await?);
    Ok(())
}

/// Echoes parameters. The first call that asks it to leaves it without a connection, and without an
/// answer.
async fn serve(mut listener: memory::Listener<String>) -> usize {
    let mut connections = 0;
    while let Some(mut socket) = listener.accept().await {
        connections += 1;
        while let Some(Ok(line)) = socket.next().await {
            let asked: Value = serde_json::from_str(&line).unwrap_or_default();
            if asked["method"] == "leave" && connections == 1 {
                break;
            }
            let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": asked["params"] });
            if socket.send(answer.to_string()).await.is_err() {
                break;
            }
        }
    }
    connections
}
