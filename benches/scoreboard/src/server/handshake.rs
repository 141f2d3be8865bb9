//! The request for an upgrade, and its answer, by hand: a server of a library would not misbehave.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a client asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// With the query.
    target: String,
    key: String,
    protocols: Option<String>,
    authorization: Option<String>,
}

/// Reads one request. Nothing comes behind it before it is answered.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > 16 << 10 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.split("\r\n");
    let target = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let mut asked = Asked {
        target,
        key: String::new(),
        protocols: None,
        authorization: None,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "sec-websocket-key" => asked.key = value,
            "sec-websocket-protocol" => asked.protocols = Some(value),
            "authorization" => asked.authorization = Some(value),
            _ => {}
        }
    }
    Ok(asked)
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Of the header, or of the query: a browser's WebSocket can show no header.
    pub(crate) fn token(&self) -> Option<&str> {
        let header = self
            .authorization
            .as_deref()
            .and_then(|value| value.strip_prefix("Bearer "));
        let (_, query) = self.target.split_once('?').unwrap_or_default();
        let query = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token=").or(pair.strip_prefix("access_token=")));
        header.or(query)
    }

    /// Takes the first subprotocol that is offered, if any.
    pub(crate) async fn upgrade(&self, stream: &mut TcpStream) -> io::Result<()> {
        let accept = derive_accept_key(self.key.as_bytes());
        let protocol = match self.protocols.as_deref().and_then(|offered| offered.split(',').next()) {
            Some(first) => format!("Sec-WebSocket-Protocol: {}\r\n", first.trim()),
            None => String::new(),
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        );
        stream.write_all(answer.as_bytes()).await
    }
}

/// Answers with this status, and ends the connection.
pub(crate) async fn refuse(stream: &mut TcpStream, status: &str, header: &str) -> io::Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
