//! GraphQL subscriptions by `graphql-transport-ws`: `connection_init` opens each connection, and what was subscribed
//! to is said again on the next.
//!
//! It starts a server on a loopback WebSocket that breaks each connection off after two items.
//!
//! ```text
//! cargo run --example graphql
//! ```

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_hdr_async, tungstenite};
use tower_ws::{
    Message,
    core::{BoxError, DispositionTable, Failure, FailureKind, OpeningContext, OpeningLayer},
    subscribe::{GraphQl, Heard, SubscribeLayer},
    transport::{JsonText, TransportLayer},
};

/// Said on each connection before anything else.
async fn init(mut talk: OpeningContext<Message>) -> Result<OpeningContext<Message>, Failure> {
    talk.send(Message::from(r#"{"type":"connection_init"}"#)).await?;
    let answer = talk.recv().await?;
    match answer.as_text().is_some_and(|text| text.contains("connection_ack")) {
        true => Ok(talk),
        false => Err(Failure::new(FailureKind::Protocol, "the server did not acknowledge")),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/graphql", listener.local_addr()?);
    tokio::spawn(serve(listener));

    let (subscribe, handle) = SubscribeLayer::pair(GraphQl::new(JsonText));
    let session = tower_ws::builder(url)
        .transport(TransportLayer::new().subprotocols(["graphql-transport-ws"]))
        .dispositions(DispositionTable::graphql_ws())
        .layer(OpeningLayer::new("graphql", init))
        .subscribe(subscribe)
        .messages();
    let (sender, _events) = session.connect().await?;
    let query = json!({ "query": "subscription { price }" });
    let message = json!({ "id": "prices", "type": "subscribe", "payload": query });
    let mut prices = handle.subscribe(Message::from(message.to_string()));
    let mut seen = 0;
    while let Some(heard) = prices.next().await {
        match heard {
            Heard::Item(message) => {
                println!("{}", message.as_text().unwrap_or_default());
                seen += 1;
                if seen == 5 {
                    break;
                }
            }
            Heard::Update(update) => println!("  {update}"),
            other => println!("  {other:?}"),
        }
    }
    sender.close(std::time::Duration::from_secs(1)).await;
    Ok(())
}

/// The server.
async fn serve(listener: TcpListener) {
    let mut price = 100;
    while let Ok((stream, _)) = listener.accept().await {
        if let Err(error) = tell(stream, &mut price).await {
            eprintln!("the server: {error}");
        }
    }
}

async fn tell(stream: TcpStream, price: &mut u32) -> Result<(), BoxError> {
    use tungstenite::handshake::server::{ErrorResponse, Request, Response};
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let choose = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let chosen = "graphql-transport-ws".parse().expect("is a header's value");
        response.headers_mut().insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, choose).await?;
    while let Some(message) = socket.next().await {
        let message: Value = serde_json::from_str(message?.to_text()?)?;
        if message["type"] == "connection_init" {
            let ack = json!({ "type": "connection_ack" });
            socket.send(tungstenite::Message::text(ack.to_string())).await?;
        }
        if message["type"] == "subscribe" {
            for _ in 0..2 {
                *price += 1;
                let next = json!({ "id": message["id"], "type": "next", "payload": { "data": { "price": price } } });
                socket.send(tungstenite::Message::text(next.to_string())).await?;
            }
            // Broken off without a word.
            return Ok(());
        }
    }
    Ok(())
}
