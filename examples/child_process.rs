//! The same layers over a child process: JSON-RPC by lines over its stdin and stdout.
//!
//! The program starts itself as its server. In the middle the server crashes; it is started again,
//! and the session goes on. There are no WebSocket pings here, so health asks by a request of the
//! protocol.
//!
//! ```text
//! cargo run --example child_process
//! ```

use std::{
    env,
    io::{BufRead, Write},
    process::exit,
};

use serde_json::{Value, json};
use tokio::process::Command;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    CallError, Incoming, Request,
    ack::{AckLayer, JsonRpc},
    client::ClientLayer,
    core::{BoxError, Replay},
    health::{HealthLayer, JsonRpcPing},
    queue::QueueLayer,
    reconnect::ReconnectLayer,
    transport::{JsonText, lines::LinesLayer, process::Process},
};

const SERVER: &str = "EXAMPLE_IS_THE_SERVER";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    if env::var_os(SERVER).is_some() {
        serve();
    }
    let program = env::current_exe()?;
    let server = Process::new(move || {
        let mut command = Command::new(&program);
        command.env(SERVER, "yes");
        command
    });
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(QueueLayer::new())
        .layer(AckLayer::new(JsonRpc::new(JsonText)))
        .layer(ReconnectLayer::new())
        .layer(HealthLayer::new().probe(JsonRpcPing::new(JsonText)))
        .layer(LinesLayer::new())
        .service(server);
    let (client, mut inbound) = stack.oneshot(()).await?;
    tokio::spawn(async move {
        while let Some(item) = inbound.next().await {
            match item {
                Incoming::Up(up) => println!("  the server runs: connection {}", up.epoch),
                Incoming::Down(down) => println!("  the server has ended: {}", down.cause),
                _ => {}
            }
        }
    });

    println!("echo: {}", client.request::<_, Value>("echo", &"hello").await?);
    let crash = Request::new("crash").replay(Replay::Unsafe);
    match client.send(crash).await {
        Err(error @ CallError::Interrupted(_)) => println!("crash: {error}"),
        other => println!("crash: {other:?}"),
    }
    println!("echo: {}", client.request::<_, Value>("echo", &"still here").await?);
    client.close(std::time::Duration::from_secs(1)).await;
    println!("closed: the server was told by the end of its stdin");
    Ok(())
}

/// The server: a line in, a line out, until its stdin ends.
fn serve() -> ! {
    for line in std::io::stdin().lock().lines() {
        let asked: Value = line
            .ok()
            .and_then(|line| serde_json::from_str(&line).ok())
            .unwrap_or_default();
        if asked["method"] == "crash" {
            exit(3);
        }
        let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": asked["params"] });
        // Nobody reads any more: the end.
        if writeln!(std::io::stdout(), "{answer}").is_err() {
            break;
        }
    }
    exit(0)
}
