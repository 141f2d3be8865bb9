//! What happens after the upgrade.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy, sink};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tower_ws_transport::Message;

use super::connection::{Command, Link};
use super::{Script, wire};
use crate::cut::Cut;

/// How long a connection waits for the answer to its close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

const FRAGMENT: usize = 64 * 1024;

pub(super) async fn session<S>(io: &mut S, mut early: Vec<u8>, script: &Script, link: &mut Link) -> io::Result<Cut>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match script {
        Script::CutMidFrame(cut) => {
            let mut bytes = wire::header(wire::FIN | wire::TEXT, 1000);
            bytes.extend([b'a'; 10]);
            io.write_all(&bytes).await?;
            io.flush().await?;
            return Ok(*cut);
        }
        Script::CloseNoFin { code, reason } => {
            io.write_all(&wire::close(*code, reason)).await?;
            io.flush().await?;
            copy(io, &mut sink()).await?;
            return std::future::pending().await;
        }
        Script::FragmentBomb => {
            let mut fragment = wire::frame(wire::BINARY, &[0; FRAGMENT]);
            loop {
                wire::blast(io, &fragment, &mut early).await?;
                early.clear();
                fragment[0] = wire::CONTINUATION;
            }
        }
        _ => {}
    }
    if let Some(bytes) = fault(script) {
        wire::blast(io, &bytes, &mut early).await?;
    }
    let io = Muted {
        io,
        muted: matches!(script, Script::Silent),
    };
    // The client's limits are under test, not the server's; and a thousand connections should fit
    // into memory.
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None)
        .read_buffer_size(16 * 1024);
    let ws = WebSocketStream::from_partially_read(io, early, Role::Server, Some(config)).await;
    match converse(ws, script, link).await {
        Ok(cut) => Ok(cut),
        Err(Error::Io(error)) => Err(error),
        Err(_) => Ok(Cut::Fin),
    }
}

/// The bytes that a script writes right after the upgrade.
fn fault(script: &Script) -> Option<Vec<u8>> {
    use wire::{CONTINUATION, FIN, PING, PONG, RSV1, TEXT, frame, header};
    Some(match script {
        Script::OversizeFrame { claims } => {
            let mut bytes = header(FIN | wire::BINARY, *claims);
            bytes.resize(bytes.len() + 1024, 0);
            bytes
        }
        Script::EmptyFragments(count) => {
            let mut bytes = Vec::with_capacity(2 * count + 5);
            for n in 0..*count {
                bytes.extend(header(if n == 0 { TEXT } else { CONTINUATION }, 0));
            }
            bytes.extend(frame(FIN | if *count == 0 { TEXT } else { CONTINUATION }, b"end"));
            bytes
        }
        Script::InvalidUtf8 => frame(FIN | TEXT, b"\xc3\x28"),
        Script::MaskedFrame => {
            let key = [1, 2, 3, 4];
            let mut bytes = header(FIN | TEXT, 4);
            bytes[1] |= 0x80;
            bytes.extend(key);
            bytes.extend(b"mask".iter().zip(key).map(|(byte, key)| byte ^ key));
            bytes
        }
        Script::Rsv1 => frame(FIN | RSV1 | TEXT, b"rsv1"),
        Script::BadOpcode => frame(FIN | 3, b"opcode 3"),
        Script::UnsolicitedPong => frame(FIN | PONG, b"unsolicited"),
        Script::PingFlood(count) => frame(FIN | PING, b"flood").repeat(*count),
        Script::DataAfterClose => {
            let mut bytes = wire::close(1000, "");
            bytes.extend(frame(FIN | TEXT, b"late"));
            bytes
        }
        Script::Raw(bytes) => bytes.to_vec(),
        _ => return None,
    })
}

async fn converse<S>(mut ws: WebSocketStream<Muted<&mut S>>, script: &Script, link: &mut Link) -> Result<Cut, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = match script {
        Script::Close { after, .. } | Script::Fin { after } | Script::Rst { after } => Some(Instant::now() + *after),
        Script::DataAfterClose => return farewell(ws, link).await,
        _ => None,
    };
    let reads = !matches!(script, Script::StopReading);
    let mut manners = Manners::of(script);
    let mut due = VecDeque::new();
    loop {
        tokio::select! {
            Some(command) = link.commands.recv() => match command {
                Command::Push(message) => aside(&mut ws, &wire::message(&message)).await?,
                Command::Close(code, reason) => {
                    aside(&mut ws, &wire::close(code, &reason)).await?;
                    return farewell(ws, link).await;
                }
            },
            () = until(end) => return match script {
                Script::Close { code, reason, .. } => {
                    aside(&mut ws, &wire::close(*code, reason)).await?;
                    farewell(ws, link).await
                }
                Script::Rst { .. } => Ok(Cut::Rst),
                _ => Ok(Cut::Fin),
            },
            () = until(due.front().map(|(at, _)| *at)) => {
                if let Some((_, answer)) = due.pop_front() {
                    ws.send(theirs(answer)).await?;
                }
            }
            message = ws.next(), if reads => match message {
                Some(Ok(message)) => {
                    // Pongs and the answer to a close frame leave with the next poll.
                    let Some(data) = data(&message) else { continue };
                    link.received(data.clone());
                    match manners.answer(data) {
                        Answer::None => {}
                        Answer::Now(answer) => ws.send(theirs(answer)).await?,
                        Answer::After(delay, answer) => due.push_back((Instant::now() + delay, answer)),
                        Answer::Cut(cut) => return Ok(cut),
                    }
                }
                Some(Err(Error::ConnectionClosed)) | None => {
                    // A server that says nothing does not end first.
                    if ws.get_ref().muted {
                        copy(ws.get_mut(), &mut sink()).await?;
                    }
                    return Ok(Cut::Fin);
                }
                Some(Err(error)) => return Err(error),
            },
        }
    }
}

/// Writes bytes beside the library, between two of its frames.
async fn aside<S>(ws: &mut WebSocketStream<Muted<&mut S>>, bytes: &[u8]) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    ws.flush().await?;
    let io = &mut ws.get_mut().io;
    io.write_all(bytes).await?;
    io.flush().await?;
    Ok(())
}

/// After our close frame: waits for the peer's, then ends.
async fn farewell<S>(mut ws: WebSocketStream<Muted<&mut S>>, link: &Link) -> Result<Cut, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = async {
        while let Some(Ok(message)) = ws.next().await {
            if message.is_close() {
                return;
            }
            data(&message).into_iter().for_each(|data| link.received(data));
        }
    };
    // Whether the answer came or not: the end is the same.
    let _ = timeout(CLOSE_WAIT, answer).await;
    Ok(Cut::Fin)
}

/// What is data among the messages of the library.
fn data(message: &tungstenite::Message) -> Option<Message> {
    match message {
        tungstenite::Message::Text(text) => Some(Message::text(text.as_str())),
        tungstenite::Message::Binary(bytes) => Some(Message::binary(bytes.clone())),
        _ => None,
    }
}

/// Data as a message of the library.
fn theirs(message: Message) -> tungstenite::Message {
    match message.as_text() {
        Some(text) => tungstenite::Message::text(text),
        None => tungstenite::Message::Binary(message.into_bytes()),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

// === Manners ===

/// How data messages are answered.
enum Manners {
    Echo,
    JsonRpc { delay: Duration },
    Flaky { left: usize, cut: Cut },
    Silent,
}

enum Answer {
    None,
    Now(Message),
    After(Duration, Message),
    Cut(Cut),
}

impl Manners {
    fn of(script: &Script) -> Self {
        match *script {
            Script::JsonRpc { delay } => Self::JsonRpc { delay },
            Script::Flaky { answers, cut } => Self::Flaky { left: answers, cut },
            Script::Silent => Self::Silent,
            _ => Self::Echo,
        }
    }

    fn answer(&mut self, message: Message) -> Answer {
        match self {
            Self::Echo => Answer::Now(message),
            Self::Silent => Answer::None,
            Self::JsonRpc { delay } => match json_rpc(&message) {
                Some(answer) if delay.is_zero() => Answer::Now(answer),
                Some(answer) => Answer::After(*delay, answer),
                None => Answer::None,
            },
            Self::Flaky { left, cut } => match json_rpc(&message) {
                Some(_) if *left == 0 => Answer::Cut(*cut),
                Some(answer) => {
                    *left -= 1;
                    Answer::Now(answer)
                }
                None => Answer::None,
            },
        }
    }
}

/// The response to a JSON-RPC request; `None` for anything else.
fn json_rpc(message: &Message) -> Option<Message> {
    let mut request: Value = serde_json::from_str(message.as_text()?).ok()?;
    request.get("method")?;
    let id = request.get_mut("id")?.take();
    let result = request.get_mut("params").map(Value::take);
    let response = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    Some(Message::text(response.to_string()))
}

// === Muted ===

/// A stream whose writes can be swallowed: the library answers pings and close frames on its own,
/// and a silent server does not.
struct Muted<S> {
    io: S,
    muted: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Muted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Muted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.muted {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
