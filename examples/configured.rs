//! A session whose settings come from a file and the environment, and what is said of settings that are wrong.
//!
//! It starts a server on a loopback WebSocket, writes a file with its address, and connects by it.
//!
//! ```text
//! cargo run --example configured
//! TOWER_WS__CLIENT__TIMEOUT=5s cargo run --example configured
//! ```

use tower_ws::{config::Config, core::BoxError};
use tower_ws_test_kit::{Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = Server::start(Script::json_rpc()).await?;
    let path = std::env::temp_dir().join(format!("tower-ws-{}.toml", std::process::id()));

    std::fs::write(&path, "url = \"http://example.com\"\n\n[health]\nintervall = \"5s\"\n")?;
    if let Err(error) = Config::sources().file(&path).load() {
        println!("{error}\n");
    }

    let settings = format!(
        "url = {:?}\nname = \"orders\"\n\n[client]\ntimeout = \"30s\"\n",
        server.url()
    );
    std::fs::write(&path, &settings)?;
    println!("{settings}");
    let config = Config::sources().file(&path).env().load()?;
    std::fs::remove_file(&path)?;
    println!("a call may take {:?}", config.client.timeout);
    let (client, _inbound) = config.builder()?.connect().await?;
    let echoed: Vec<u32> = client.request("echo", &[1, 2, 3]).await?;
    println!("{echoed:?}");
    Ok(())
}
