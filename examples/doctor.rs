//! What is wrong on the way to a server, whose fault it is, and what to do.
//!
//! ```text
//! cargo run --example doctor                          # servers that it starts: one that is well, two that are not
//! cargo run --example doctor -- wss://example.com/ws  # yours
//! ```

use tower_ws::core::BoxError;
use tower_ws_test_kit::{Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    if let Some(url) = std::env::args().nth(1) {
        println!("{}", tower_ws::builder(url).examine().await);
        return Ok(());
    }
    let well = Server::start(Script::Echo).await?;
    println!("{}", tower_ws::builder(well.url()).examine().await);
    let refuses = Server::start(Script::status(401, &[])).await?;
    println!("{}", tower_ws::builder(refuses.url()).examine().await);
    well.refuse();
    println!("{}", tower_ws::builder(well.url()).examine().await);
    Ok(())
}
