//! Shutting down in order: what has been accepted is sent and answered within a grace, and the rest is handed back.
//!
//! ```text
//! cargo run --example shutdown
//! ```

use std::time::Duration;

use futures_util::future::join_all;
use tower_ws::core::BoxError;
use tower_ws_test_kit::{Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let slow = Script::JsonRpc {
        delay: Duration::from_millis(300),
    };
    let server = Server::start(slow).await?;
    let (client, _inbound) = tower_ws::connect(server.url()).await?;
    let calls: Vec<_> = (0..3)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.request::<_, u32>("echo", &n).await })
        })
        .collect();
    // A program would wait for `tokio::signal::ctrl_c()` here.
    tokio::time::sleep(Duration::from_millis(50)).await;

    println!("closing");
    let leftovers = client.close(Duration::from_secs(5)).await;
    for call in join_all(calls).await {
        println!("  answered: {}", call??);
    }
    println!(
        "not sent: {}, not answered: {}",
        leftovers.unsent.len(),
        leftovers.unanswered
    );
    let late = client.request::<_, u32>("echo", &4).await;
    println!("a call after that: {}", late.expect_err("the session is over"));
    Ok(())
}
