//! An authority of one's own, a client certificate, and a proxy: what dials is made by `Connect`.
//!
//! It starts a `wss` server that nobody else trusts and that wants a certificate of its clients.
//!
//! ```text
//! cargo run --example private_tls
//! ```

use tower_ws::{
    connector::{Connect, proxy::Proxies, tls::Tls},
    core::BoxError,
};
use tower_ws_test_kit::{Authority, Script, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let authority = Authority::new()?;
    let server = Server::start_tls(Script::json_rpc(), authority.mutual()?).await?;

    // With the authorities that everybody trusts, there is no way in, and the error says why.
    let refused = tower_ws::connect(server.url()).await;
    println!("{}", refused.map(drop).expect_err("nobody vouches for it"));

    let (certificate, key) = authority.client_pem()?;
    let tls = Tls::new()
        .only_roots_pem(authority.pem())?
        .client_cert_pem(certificate, key)?;
    let connector = Connect::new()
        .tls(tls)
        // HTTPS_PROXY, ALL_PROXY, NO_PROXY; or `Proxies::all("http://proxy.example:3128")`. This machine is
        // dialled without one.
        .through(Proxies::from_env()?);
    let session = tower_ws::builder(server.url()).connector(connector);
    let (client, _inbound) = session.connect().await?;
    println!("{}", client.request::<_, String>("echo", "hello").await?);
    Ok(())
}
