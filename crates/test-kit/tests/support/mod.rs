//! Clients that are not ours: raw TCP, and plain tokio-tungstenite.
#![allow(dead_code, unreachable_pub, reason = "each suite uses its part")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower_ws_test_kit::Cut;

/// Far beyond what anything here takes.
pub const BOUND: Duration = Duration::from_secs(20);

/// Long enough to believe that nothing comes.
pub const QUIET: Duration = Duration::from_millis(150);

pub const REQUEST: &str = "GET /path?query HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// RFC 6455, section 1.3: the answer to the key above.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub type Client = WebSocketStream<TcpStream>;

pub async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(BOUND, future).await.expect("took too long")
}

/// A connection on which the upgrade was asked for.
pub async fn ask(addr: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(REQUEST.as_bytes()).await.unwrap();
    tcp
}

/// Reads up to the end of the reply's head.
pub async fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(bounded(tcp.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A raw connection after the upgrade.
pub async fn raw(addr: SocketAddr) -> TcpStream {
    let mut tcp = ask(addr).await;
    head(&mut tcp).await;
    tcp
}

/// Reads up to the end of the connection.
pub async fn rest(tcp: &mut TcpStream) -> (Vec<u8>, Cut) {
    let mut bytes = Vec::new();
    let cut = match bounded(tcp.read_to_end(&mut bytes)).await {
        Ok(_) => Cut::Fin,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            Cut::Rst
        }
    };
    (bytes, cut)
}

/// Whether nothing comes, not even an end.
pub async fn is_quiet(tcp: &mut TcpStream) -> bool {
    timeout(QUIET, tcp.read_u8()).await.is_err()
}

pub async fn try_connect(addr: SocketAddr) -> Result<Client, Error> {
    let request = format!("ws://{addr}/").into_client_request()?;
    let tcp = TcpStream::connect(addr).await?;
    Ok(bounded(client_async(request, tcp)).await?.0)
}

pub async fn connect(addr: SocketAddr) -> Client {
    try_connect(addr).await.unwrap()
}

pub async fn next(client: &mut Client) -> Option<Result<Message, Error>> {
    bounded(client.next()).await
}

pub async fn text(client: &mut Client) -> String {
    next(client).await.unwrap().unwrap().into_text().unwrap().to_string()
}
