//! A token that is fetched, shown in each handshake, and fetched anew when the server refuses it.
//!
//! It starts a server on a loopback WebSocket that refuses the second dial with 401, as one does whose tokens
//! expire.
//!
//! ```text
//! cargo run --example auth
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use tower_ws::{
    Incoming,
    auth::{Credential, Credentials},
    core::BoxError,
};
use tower_ws_test_kit::{Cut, Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let server = Server::start(Script::json_rpc()).await?;

    static FETCHED: AtomicU32 = AtomicU32::new(0);
    let credentials = Credentials::new(|| async {
        // From a token endpoint, say. `Credential::expires` has it renewed before it does.
        let token = format!("token-{}", FETCHED.fetch_add(1, Ordering::Relaxed) + 1);
        println!("  fetched {token}");
        Ok(Credential::new(token))
    });
    let session = tower_ws::builder(server.url()).bearer(credentials);
    let (client, mut inbound) = session.connect().await?;
    println!("{}", client.request::<_, String>("echo", "hello").await?);

    // The connection is lost, and the token is no good any more.
    server.play_each([Script::status(401, &[]), Script::json_rpc()]);
    server.cut(Cut::Rst);
    while let Some(item) = inbound.next().await {
        match item {
            Incoming::Up(up) if up.epoch > 1 => break,
            Incoming::Up(_) => {}
            other => println!("  {other:?}"),
        }
    }
    println!("{}", client.request::<_, String>("echo", "hello again").await?);
    for request in server.requests() {
        println!("the server saw {:?}", request.headers["authorization"]);
    }
    Ok(())
}
