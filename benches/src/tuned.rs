//! A tokio-tungstenite connection the way its fastest users open it.
//!
//! The handshake is done by hand. The crate's own client handshake hands over a buffer of 4 KiB,
//! and as soon as replies outlive the poll that read them, the read buffer falls back to that size
//! whatever the configuration says.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::BoxError;
use crate::kind::Target;

/// Opens `path` of the peer, to be framed by tokio-tungstenite.
pub(crate) async fn connect(
    target: &Target,
    path: &str,
    read_buffer: usize,
) -> Result<WebSocketStream<TcpStream>, BoxError> {
    let stream = upgraded(target, path).await?;
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
}

/// Opens `path` of the peer. Nagle's algorithm is off, since batching does its work.
pub(crate) async fn upgraded(target: &Target, path: &str) -> Result<TcpStream, BoxError> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;

    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
        target.address
    );
    stream.write_all(request.as_bytes()).await?;

    // Nothing can follow the response, as the peer of an echo speaks second: the reader is dropped
    // empty.
    let mut lines = BufReader::new(&mut stream).lines();
    let mut accepted = false;
    while let Some(line) = lines.next_line().await?
        && !line.is_empty()
    {
        accepted |= line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-accept") && value == derive_accept_key(key.as_bytes())
        });
    }
    if !accepted {
        return Err("the peer did not accept the upgrade".into());
    }
    Ok(stream)
}
