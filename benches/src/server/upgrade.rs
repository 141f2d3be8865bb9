//! The server's side of the opening handshake (RFC 6455 section 4.2).

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::BoxError;

use super::Mode;

/// A parsed upgrade request.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) mode: Mode,
    /// How many bytes the request took.
    pub(crate) length: usize,
    /// The answer to be sent.
    pub(crate) response: String,
}

/// Takes the request at the start of `input`, or `None` if it is not all there.
pub(crate) fn take(input: &[u8]) -> Result<Option<Upgrade>, BoxError> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&input[..end])?;
    let mode = match head.split(' ').nth(1) {
        Some("/echo") => Mode::Echo,
        Some("/rpc") => Mode::Rpc,
        Some("/mcp") => Mode::Mcp,
        path => return Err(format!("no such path: {path:?}").into()),
    };
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, key)| key.trim())
        .ok_or("an upgrade request without a key")?;
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    Ok(Some(Upgrade {
        mode,
        length: end + 4,
        response,
    }))
}
