//! The recommended stack over a Unix socket: a connector is a `tower::Service` from an address to a
//! byte stream, and the rest does not notice.
//!
//! ```text
//! cargo run --example unix_socket
//! ```

#[cfg(unix)]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), tower_ws::core::BoxError> {
    use std::{path::PathBuf, sync::Arc, time::Duration};

    use futures_util::{SinkExt, StreamExt};
    use hyper_util::rt::TokioIo;
    use serde_json::{Value, json};
    use tokio::net::{UnixListener, UnixStream};
    use tokio_tungstenite::{accept_async, tungstenite::Message};
    use tower::service_fn;
    use tower_ws::Incoming;

    let path: Arc<PathBuf> = Arc::new(std::env::temp_dir().join(format!("tower-ws-{}.socket", std::process::id())));
    let _ = std::fs::remove_file(&*path);
    let listener = UnixListener::bind(&*path)?;
    println!("a server listens on {}", path.display());
    // It echoes parameters, and leaves after two calls.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut socket) = accept_async(stream).await else {
                continue;
            };
            for _ in 0..2 {
                let Some(Ok(Message::Text(text))) = socket.next().await else {
                    break;
                };
                let asked: Value = serde_json::from_str(&text).unwrap_or_default();
                let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": asked["params"] });
                let _ = socket.send(Message::text(answer.to_string())).await;
            }
        }
    });

    let socket = path.clone();
    let dial = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(&*socket).await.map(TokioIo::new) }
    });
    // The address says what the handshake asks for; where that goes, the connector knows.
    let (client, mut inbound) = tower_ws::builder("ws://localhost/rpc")
        .connector(dial)
        .connect()
        .await?;
    tokio::spawn(async move {
        while let Some(item) = inbound.next().await {
            match item {
                Incoming::Up(up) => println!("  up: connection {}", up.epoch),
                Incoming::Down(down) => println!("  down: {}", down.cause),
                _ => {}
            }
        }
    });
    for n in 0..4 {
        println!("echo: {}", client.request::<_, Value>("echo", &n).await?);
    }
    client.close(Duration::from_secs(1)).await;
    std::fs::remove_file(&*path)?;
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("this machine has no Unix sockets");
}
