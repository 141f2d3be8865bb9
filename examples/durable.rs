//! A queue that survives the process: what was accepted while nobody listened is sent by the next one.
//!
//! The first session never gets through to its server and is dropped, as a process that is killed would drop it. The
//! second, with the same file, sends what the first has accepted.
//!
//! ```text
//! cargo run --example durable
//! ```

use std::time::Duration;

use tower_ws::{
    Request,
    ack::{AckLayer, JsonRpc},
    core::{BoxError, Replay},
    spool::Spool,
    transport::JsonText,
};
use tower_ws_test_kit::{Cut, Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let path = std::env::temp_dir().join(format!("tower-ws-durable-{}.db", std::process::id()));
    // Both the spool and the layer that sends again know by it what an answer is, and what may go twice.
    let strategy = JsonRpc::new(JsonText);
    let server = Server::start(Script::json_rpc()).await?;

    let spool = Spool::open(&path, strategy.clone())?;
    let session = tower_ws::builder(server.url())
        .store(spool.clone())
        .ack(AckLayer::new(strategy.clone()));
    let (client, _inbound) = session.connect().await?;
    server.refuse();
    server.cut(Cut::Rst);
    for reading in [20, 21, 22] {
        let request = Request::new("telemetry/put").params(&[reading])?.replay(Replay::Safe);
        client.notify(request).await?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("on the disk: {} messages", spool.handle().snapshot().messages);
    drop((client, _inbound));
    spool.close().await;

    server.listen()?;
    let spool = Spool::open(&path, strategy.clone())?;
    println!("found again: {}", spool.handle().snapshot().recovered);
    let session = tower_ws::builder(server.url())
        .store(spool.clone())
        .ack(AckLayer::new(strategy));
    let (client, _inbound) = session.connect().await?;
    server.wait_received(3).await;
    for received in server.received() {
        println!("the server got {}", received.message.as_text().unwrap_or_default());
    }
    client.close(Duration::from_secs(1)).await;
    spool.close().await;
    for suffix in ["", "-wal", "-lock"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    Ok(())
}
