//! Subscriptions over JSON-RPC that live across redials, although the server gives them another id each time.
//!
//! It starts a node on a loopback WebSocket that tells of new blocks and breaks the connection off after two of
//! them, and reads until it has seen seven.
//!
//! ```text
//! cargo run --example subscriptions
//! ```

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, tungstenite::Message};
use tower_ws::{
    core::BoxError,
    subscribe::{Heard, JsonRpc, SubscribeLayer},
    transport::JsonText,
};

#[derive(Debug, Deserialize)]
struct Head {
    number: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let node = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", node.local_addr()?);
    tokio::spawn(serve(node));

    let (subscribe, handle) = SubscribeLayer::pair(JsonRpc::new(JsonText));
    let (client, _inbound) = tower_ws::builder(url).subscribe(subscribe).connect().await?;
    let subscriber = handle.json_rpc(JsonText);
    let mut heads = subscriber
        .subscribe::<Head>("eth_subscribe", &["newHeads"], "eth_unsubscribe")
        .await?;
    while let Some(heard) = heads.next().await {
        match heard {
            Heard::Item(head) => {
                println!("block {}", head.number);
                if head.number >= 7 {
                    break;
                }
            }
            // Lost, and why; resumed, and what is missing; ended, and why.
            Heard::Update(update) => println!("  {update}"),
            other => println!("  {other:?}"),
        }
    }
    client.close(std::time::Duration::from_secs(1)).await;
    Ok(())
}

/// The node.
async fn serve(listener: TcpListener) {
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        if let Err(error) = tell(stream, &mut number).await {
            eprintln!("the node: {error}");
        }
    }
}

async fn tell(stream: TcpStream, number: &mut u64) -> Result<(), BoxError> {
    let mut socket = accept_async(stream).await?;
    let asked = socket.next().await.ok_or("nobody subscribes")??;
    let asked: Value = serde_json::from_str(asked.to_text()?)?;
    // Another one on each connection.
    let id = format!("0x{number:x}");
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": id });
    socket.send(Message::text(answer.to_string())).await?;
    for _ in 0..2 {
        *number += 1;
        let params = json!({ "subscription": id, "result": { "number": number } });
        let news = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params });
        socket.send(Message::text(news.to_string())).await?;
    }
    // Broken off without a word.
    Ok(())
}
