//! The handshake (RFC 6455, section 4.2), and all the ways of getting it wrong.

use std::fmt::Write as _;
use std::io;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection::Link;
use super::{Recorded, Script, wire};
use crate::cut::Cut;

/// Where the handshake led.
pub(super) enum Upgrade {
    /// Frames from here on; these bytes came behind the request.
    Done(Vec<u8>),
    Ended(Cut),
}

pub(super) async fn upgrade<S>(io: &mut S, script: &Script, link: &mut Link) -> io::Result<Upgrade>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut early = Vec::new();
    if let Script::Garbage = script {
        io.read_buf(&mut early).await?;
        io.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").await?;
        return Ok(Upgrade::Ended(Cut::Fin));
    }
    let request = match request(io, &mut early).await {
        Ok(request) => request,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            io.write_all(&status(400, &[], "")).await?;
            return Ok(Upgrade::Ended(Cut::Fin));
        }
        Err(error) => return Err(error),
    };
    let reply = reply(script, &request);
    link.requested(request);
    match script {
        Script::NeverReply => return Ok(Upgrade::Ended(link.hold(io).await?)),
        Script::CutBeforeReply(cut) => return Ok(Upgrade::Ended(*cut)),
        Script::CutMidReply(cut) => {
            io.write_all(&reply[..reply.len() / 2]).await?;
            io.flush().await?;
            return Ok(Upgrade::Ended(*cut));
        }
        Script::Status { code, headers, body } => {
            io.write_all(&status(*code, headers, body)).await?;
            return Ok(Upgrade::Ended(Cut::Fin));
        }
        Script::EndlessHeader => {
            io.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX-Endless: ").await?;
            loop {
                io.write_all(&[b'a'; 8192]).await?;
            }
        }
        Script::SlowReply { interval } => {
            for byte in reply {
                sleep(*interval).await;
                io.write_all(&[byte]).await?;
                io.flush().await?;
            }
        }
        _ => {
            io.write_all(&reply).await?;
            io.flush().await?;
        }
    }
    Ok(Upgrade::Done(early))
}

/// Longer requests are refused.
const MAX_REQUEST: usize = 64 * 1024;

/// Reads and parses a request; what comes behind it stays in `buffer`.
async fn request<S>(io: &mut S, buffer: &mut Vec<u8>) -> io::Result<Request>
where
    S: AsyncRead + Unpin,
{
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        // A ClientHello sent to a server without TLS has no end that could be waited for.
        if buffer.len() > MAX_REQUEST || buffer.first().is_some_and(|first| !first.is_ascii_uppercase()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if io.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = buffer.split_off(end);
    let head = std::mem::replace(buffer, rest);
    std::str::from_utf8(&head)
        .ok()
        .and_then(parse)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A request, before it has the number of its connection.
pub(super) struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    at: Instant,
}

impl Request {
    pub(super) fn of(self, connection: usize) -> Recorded {
        Recorded {
            connection,
            method: self.method,
            path: self.path,
            headers: self.headers,
            at: self.at,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ');
    let method = first.next()?.parse().ok()?;
    let path = first.next()?.to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            name.parse::<HeaderName>().ok()?,
            value.trim().parse::<HeaderValue>().ok()?,
        );
    }
    let at = Instant::now();
    headers.contains_key("sec-websocket-key").then_some(Request {
        method,
        path,
        headers,
        at,
    })
}

fn reply(script: &Script, request: &Request) -> Vec<u8> {
    let mut reply = String::from("HTTP/1.1 101 Switching Protocols\r\n");
    let mut header = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = write!(reply, "{name}: {value}\r\n");
    };
    if !matches!(script, Script::NoUpgradeHeader) {
        header("Upgrade", "websocket");
    }
    if !matches!(script, Script::NoConnectionHeader) {
        header("Connection", "Upgrade");
    }
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let other = derive_accept_key(b"the key of somebody else");
    match script {
        Script::NoAccept => {}
        Script::WrongAccept => header("Sec-WebSocket-Accept", &other),
        Script::DoubleAccept => {
            header("Sec-WebSocket-Accept", &accept);
            header("Sec-WebSocket-Accept", &other);
        }
        _ => header("Sec-WebSocket-Accept", &accept),
    }
    let offered = request
        .header("sec-websocket-protocol")
        .and_then(|offered| offered.split(',').next());
    match (script, offered) {
        (Script::NoSubprotocol, _) => {}
        (Script::Subprotocol(name), _) => header("Sec-WebSocket-Protocol", name),
        (_, Some(first)) => header("Sec-WebSocket-Protocol", first.trim()),
        (_, None) => {}
    }
    match script {
        Script::Extension(names) => header("Sec-WebSocket-Extensions", names),
        Script::ManyHeaders(count) => {
            for n in 0..*count {
                header(&format!("X-Header-{n}"), "value");
            }
        }
        _ => {}
    }
    reply.push_str("\r\n");
    let mut reply = reply.into_bytes();
    if let Script::EarlyData(text) = script {
        reply.extend(wire::frame(wire::FIN | wire::TEXT, text.as_bytes()));
    }
    reply
}

fn status(code: u16, headers: &[(String, String)], body: &str) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(code)
        .ok()
        .and_then(|code| code.canonical_reason());
    let mut reply = format!("HTTP/1.1 {code} {}\r\n", reason.unwrap_or("Unknown"));
    for (name, value) in headers {
        // Writing to a string does not fail.
        let _ = write!(reply, "{name}: {value}\r\n");
    }
    let _ = write!(
        reply,
        "Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    reply.into_bytes()
}
