//! A market feed: channels are subscribed to on each connection, trades come in as values, and the
//! program sees each gap.
//!
//! It starts an exchange on a loopback WebSocket that knows one channel and breaks the connection
//! off after a while, as real ones do, and reads until it has seen three connections.
//!
//! ```text
//! cargo run --example market_feed
//! ```

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, tungstenite::Message};
use tower_ws::{core::BoxError, messages::Event};

/// What the program says.
#[derive(Serialize)]
struct Subscribe {
    op: &'static str,
    channel: &'static str,
}

/// What the exchange says.
#[derive(Debug, Deserialize)]
struct Trade {
    sequence: u64,
    price: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let exchange = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/feed", exchange.local_addr()?);
    tokio::spawn(serve(exchange));

    let builder = tower_ws::builder(url).name("trades").messages();
    let (sender, mut events) = builder.connect_json::<Trade, Subscribe>().await?;
    let (mut connections, mut last) = (0, 0);
    while let Some(event) = events.next().await {
        match event {
            // What was subscribed to went with the last connection.
            Event::Up(up) => {
                connections = up.epoch;
                println!("connection {connections}");
                let (op, channel) = ("subscribe", "trades");
                sender.send(&Subscribe { op, channel }).await?;
            }
            Event::Message(trade) => {
                let missing = trade.sequence - last - 1;
                println!("  trade {} at {} ({missing} missing)", trade.sequence, trade.price);
                last = trade.sequence;
                if connections == 3 {
                    break;
                }
            }
            Event::Down(down) => println!("  it is down: {}", down.cause),
            // A gap, a message that is no trade, one of ours that was not delivered.
            other => println!("  {other:?}"),
        }
    }
    sender.close(std::time::Duration::from_secs(1)).await;
    Ok(())
}

/// The exchange.
async fn serve(listener: TcpListener) {
    let mut sequence = 0;
    while let Ok((stream, _)) = listener.accept().await {
        // What happens while nobody listens.
        sequence += 2;
        if let Err(error) = trade(stream, &mut sequence).await {
            eprintln!("the exchange: {error}");
        }
    }
}

async fn trade(stream: TcpStream, sequence: &mut u64) -> Result<(), BoxError> {
    let mut socket = accept_async(stream).await?;
    let asked = socket.next().await.ok_or("nobody subscribes")??;
    if !asked.to_text()?.contains("trades") {
        return Err("no such channel".into());
    }
    for _ in 0..3 {
        *sequence += 1;
        let price = 100.0 + (*sequence % 7) as f64;
        let trade = format!(r#"{{"sequence":{sequence},"price":{price}}}"#);
        socket.send(Message::text(trade)).await?;
    }
    // Broken off without a word.
    Ok(())
}
