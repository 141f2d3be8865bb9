//! What the targets share: a peer that has said everything beforehand, and time that is made up.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{StreamExt, future};
use http::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{BoxError, Causes, Event};
use tower_ws_transport::{Framing, Kind, Limits, Message, TransportLayer};

/// A peer that says all that it will ever say as soon as it has been asked something, in pieces.
#[derive(Clone, Debug)]
pub struct Peer {
    said: Vec<u8>,
    at: usize,
    piece: usize,
    heard: Vec<u8>,
    asked: bool,
    reader: Option<Waker>,
}

/// Stands in what a peer says for the `sec-websocket-accept` that answers the request.
const ACCEPT: &[u8] = b"{accept}";

impl Peer {
    /// One that says this, so many bytes at a time.
    pub fn new(said: impl Into<Vec<u8>>, piece: usize) -> Self {
        Self {
            said: said.into(),
            at: 0,
            piece: piece.max(1),
            heard: Vec::new(),
            asked: false,
            reader: None,
        }
    }

    /// What it has not said yet.
    pub fn unsaid(&self) -> &[u8] {
        &self.said[self.at..]
    }

    /// A connector that reaches it.
    pub fn connector(
        self,
    ) -> impl tower::Service<Uri, Response = TokioIo<Self>, Error = io::Error, Future: Send> + Clone + Send {
        service_fn(move |_: Uri| future::ready(Ok(TokioIo::new(self.clone()))))
    }

    fn accept(&mut self) {
        let heard = String::from_utf8_lossy(&self.heard);
        let key = heard.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let place = self.said.windows(ACCEPT.len()).position(|part| part == ACCEPT);
        if let (Some(key), Some(place)) = (key, place) {
            let accept = derive_accept_key(key.as_bytes());
            self.said.splice(place..place + ACCEPT.len(), accept.into_bytes());
        }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let unsaid = &self.said[self.at..];
        let len = unsaid.len().min(self.piece).min(buf.remaining());
        buf.put_slice(&unsaid[..len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.asked {
            self.heard.extend_from_slice(buf);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.asked && !self.heard.is_empty() {
            self.asked = true;
            self.accept();
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future to its end. The clock is paused: what waits costs nothing, and what hangs is found.
pub fn run<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing of the system");
    }
    let hour = Duration::from_secs(3600);
    RUNTIME.with(|runtime| runtime.block_on(async { timeout(hour, future).await.expect("it hangs") }))
}

/// The right answer to a handshake, with one more header line or none, and what comes behind it.
pub fn upgraded(header: &[u8], behind: &[u8]) -> Vec<u8> {
    let line: &[u8] = if header.is_empty() { b"" } else { b"\r\n" };
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ",
        ACCEPT,
        b"\r\n",
        header,
        line,
        b"\r\n",
        behind,
    ]
    .concat()
}

/// What a connection says from its beginning to its end.
#[derive(Debug, Eq, PartialEq)]
pub struct Told {
    /// Each message: of which kind, and what.
    pub messages: Vec<(Kind, Vec<u8>)>,
    /// The code of the close frame that ended it, if one did. Why else it ended is not compared: of two faults that a peer makes
    /// at once, it is chance which is found first.
    pub closed: Option<u16>,
}

/// The limits of the targets: small, so that inputs reach them.
pub fn limits() -> Limits {
    Limits::default()
        .message_in(MESSAGE)
        .frame_in(MESSAGE)
        .fragments(FRAGMENTS)
}

/// The largest message that is taken.
pub const MESSAGE: usize = 2048;

const FRAGMENTS: u32 = 8;

/// Dials a peer, which answers as it likes, and listens until the connection ends; it has to keep to the laws.
pub fn listen(framing: impl Framing + Clone + Send + Sync + 'static, peer: Peer) -> Result<Told, BoxError> {
    run(async {
        let transport = TransportLayer::new()
            .framing(framing)
            .limits(limits())
            .layer(peer.connector());
        let request = Request::get("ws://server.example/path").body(())?;
        let mut connection = transport.oneshot(request).await?;
        assert!(matches!(connection.next().await, Some(Event::Up(_))));
        let mut messages = Vec::new();
        let down = loop {
            match connection.next().await {
                Some(Event::Message(message)) => messages.push(told(message)),
                Some(Event::Down(down)) => break down,
                other => panic!("nothing was sent: {other:?}"),
            }
        };
        assert!(
            connection.next().await.is_none(),
            "after the last Down there is nothing"
        );
        shown(&down.cause);
        let closed = down.cause.close().map(|close| close.code);
        Ok(Told { messages, closed })
    })
}

fn told(message: Message) -> (Kind, Vec<u8>) {
    if let Kind::Text = message.kind() {
        assert!(message.as_text().is_some(), "a text is UTF-8");
    }
    let kind = message.kind();
    let bytes = message.into_bytes();
    assert!(bytes.len() <= MESSAGE, "no message is larger than allowed");
    (kind, bytes.to_vec())
}

/// An error as it is shown, in both ways, with all its causes. Bounded.
pub fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let shown = format!("{} {error:?}", Causes(error));
    assert!(shown.len() < 8 << 10, "an error of {} bytes: {shown}", shown.len());
    shown
}
