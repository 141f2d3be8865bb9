use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, error::ProtocolError, protocol::Role},
};
use tower_ws_core::{Alarm, BoxError};

use crate::{
    limits::{IDLE_READ, Limits},
    message::{Kind, Message},
    scanned::Scanned,
};

/// An upgraded WebSocket over a byte stream: a sink and a stream of [`Message`]s.
///
/// Framing, masking, fragments and the answers to pings and close frames are tungstenite's. Answers
/// leave while somebody reads; pings and pongs come up as messages all the same. What it lacks
/// (deadlines, a control lane, `Up` and `Down`) [`LiftLayer`](crate::LiftLayer) adds. Dropping it
/// aborts the connection.
///
/// # A socket that was accepted
///
/// [`From`] takes a stream of tokio-tungstenite's, whichever side it is, so that a server runs over
/// the same layers:
///
/// ```no_run
/// # async fn f(socket: tokio::net::TcpStream) -> Result<(), tower_ws_core::BoxError> {
/// use http::Response;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_ws_core::BoxError;
/// use tower_ws_transport::{LiftLayer, WebSocket};
///
/// let accept = service_fn(async |socket: tokio::net::TcpStream| {
///     let accepted = tokio_tungstenite::accept_async(socket).await?;
///     Ok::<_, BoxError>(Response::new(WebSocket::from(accepted)))
/// });
/// let connection = LiftLayer::new().layer(accept).oneshot(socket).await?;
/// # Ok(()) }
/// ```
///
/// This is the one place where a type of that crate shows: it follows the crate's version.
pub struct WebSocket<IO> {
    /// `None` only while its buffers are made anew.
    inner: Option<WebSocketStream<IO>>,
    buffers: Option<Buffers<IO>>,
}

/// What gives a codec the buffers that it needs, and gives those of an idle one back. tungstenite's
/// have the size that they were made with, and keep what a large message has taken; so the codec is
/// made anew, while nothing is in it.
struct Buffers<IO> {
    limits: Limits,
    /// What is read into. tungstenite clears it on every poll of the socket, also on those that find
    /// nothing, and makes a new one whenever it is full of what somebody keeps.
    read: usize,
    /// Payloads that have come since there was nothing to read, in bytes.
    burst: usize,
    /// [`Scanned::is_between_messages`].
    is_between_messages: fn(&IO) -> bool,
    /// Given to the codec and not flushed, in bytes.
    gathered: usize,
    /// The codec has nothing to write, not even a pong.
    flushed: bool,
    closing: bool,
    /// When the codec was last seen with more memory than it should have.
    stretched: Option<Instant>,
    alarm: Alarm,
}

/// The read buffer of a codec that has much to read: 16 KiB.
const BUSY_READ: usize = 16 << 10;
/// What was written at once and larger leaves the codec with more memory than an idle one should
/// have: 16 KiB.
const LARGE: usize = 16 << 10;
/// After so long it is idle.
const IDLE: Duration = Duration::from_secs(1);

impl<IO> WebSocket<Scanned<IO>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(io: Scanned<IO>, limits: &Limits) -> Self {
        let buffers = Buffers {
            limits: *limits,
            is_between_messages: Scanned::is_between_messages,
            // A session begins with a burst more often than not.
            read: BUSY_READ,
            burst: 0,
            gathered: 0,
            flushed: true,
            closing: false,
            stretched: Some(Instant::now()),
            alarm: Alarm::default(),
        };
        Self {
            inner: Some(buffers.codec(io)),
            buffers: Some(buffers),
        }
    }
}

impl<IO> WebSocket<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    fn codec(&mut self) -> Pin<&mut WebSocketStream<IO>> {
        Pin::new(self.inner.as_mut().expect("it is put back as soon as it is taken"))
    }

    /// There is nothing to read. Ready if the codec was made anew: then it is to be polled again.
    fn poll_buffers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(buffers), Some(codec)) = (&mut self.buffers, &mut self.inner) else {
            return Poll::Pending;
        };
        ready!(buffers.poll_other(codec.get_ref(), cx));
        if let Some(codec) = self.inner.take() {
            self.inner = Some(buffers.codec(codec.into_inner()));
        }
        Poll::Ready(())
    }
}

impl<IO> Buffers<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    fn codec(&self, io: IO) -> WebSocketStream<IO> {
        // Not `from_partially_read`: it would pin the read buffer to the size of what was read.
        WebSocketStream::from_raw_socket(io, Role::Client, Some(self.limits.config(self.read)))
            .now_or_never()
            .expect("nothing is waited for where there is no handshake")
    }

    /// Ready when nothing is in the codec, and it should have other buffers.
    fn poll_other(&mut self, io: &IO, cx: &mut Context<'_>) -> Poll<()> {
        if self.closing || !self.flushed || !(self.is_between_messages)(io) {
            return Poll::Pending;
        }
        if std::mem::take(&mut self.burst) > IDLE_READ {
            self.stretched = Some(Instant::now());
            if self.read < BUSY_READ {
                self.read = BUSY_READ;
                return Poll::Ready(());
            }
        }
        let Some(since) = self.stretched else {
            return Poll::Pending;
        };
        ready!(self.alarm.poll(since + IDLE, Instant::now(), cx));
        self.read = IDLE_READ;
        self.stretched = None;
        self.alarm = Alarm::default();
        Poll::Ready(())
    }
}

impl<IO> From<WebSocketStream<IO>> for WebSocket<IO> {
    fn from(inner: WebSocketStream<IO>) -> Self {
        Self {
            inner: Some(inner),
            buffers: None,
        }
    }
}

impl<IO> Stream for WebSocket<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    type Item = Result<Message, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut polled = self.codec().poll_next(cx);
        while polled.is_pending() {
            ready!(self.poll_buffers(cx));
            polled = self.codec().poll_next(cx);
        }
        if let (Poll::Ready(Some(Ok(message))), Some(buffers)) = (&polled, &mut self.buffers) {
            // The codec has an answer to it.
            buffers.flushed &= !message.is_ping();
            buffers.closing |= message.is_close();
            buffers.burst += message.len();
        }
        polled.map(|next| next.map(|read| read.map(Message).map_err(Into::into)))
    }
}

impl<IO> Sink<Message> for WebSocket<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    type Error = BoxError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.codec().poll_ready(cx).map_err(Into::into)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), BoxError> {
        let closing = message.kind() == Kind::Close;
        if let Some(buffers) = &mut self.buffers {
            buffers.flushed = false;
            buffers.closing |= closing;
            buffers.gathered += message.len();
        }
        match self.codec().start_send(message.0) {
            // It has been said, by this side or in answer to the peer.
            Err(Error::Protocol(ProtocolError::SendAfterClosing)) if closing => Ok(()),
            done => Ok(done?),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let flushed = self.codec().poll_flush(cx);
        if let (Poll::Ready(Ok(())), Some(buffers)) = (&flushed, &mut self.buffers) {
            buffers.flushed = true;
            if std::mem::take(&mut buffers.gathered) > LARGE {
                buffers.stretched = Some(Instant::now());
            }
        }
        flushed.map_err(Into::into)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Some(buffers) = &mut self.buffers {
            buffers.closing = true;
        }
        self.codec().poll_close(cx).map_err(Into::into)
    }
}

/// The codec's own `Debug` shows its buffers, and what is in those is nobody's business.
impl<IO> fmt::Debug for WebSocket<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, SinkExt, StreamExt};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    type Socket = WebSocket<Scanned<DuplexStream>>;

    fn socket() -> (Socket, DuplexStream) {
        let (near, far) = duplex(1 << 20);
        let limits = Limits::default();
        (WebSocket::new(Scanned::new(near, limits.scan()), &limits), far)
    }

    /// A server's binary message of this size.
    fn message(size: u16) -> Vec<u8> {
        let mut frame = vec![0x82, 126];
        frame.extend(size.to_be_bytes());
        frame.resize(4 + usize::from(size), 7);
        frame
    }

    async fn read(socket: &mut Socket) -> usize {
        socket.next().await.expect("open").expect("a message").len()
    }

    /// Does it hold more than an idle one should?
    fn is_large(socket: &Socket) -> bool {
        let buffers = socket.buffers.as_ref().expect("it is one of ours");
        buffers.stretched.is_some() || buffers.burst > 0
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_codec_gives_its_buffers_back_and_goes_on() {
        let (mut socket, mut far) = socket();
        for _ in 0..2 {
            far.write_all(&message(60_000)).await.unwrap();
            assert_eq!(read(&mut socket).await, 60_000);
            assert!(socket.next().now_or_never().is_none());
            assert!(is_large(&socket), "not at once");
            // It wakes whoever reads when it is time, and not before.
            assert!(tokio::time::timeout(IDLE * 2, socket.next()).await.is_err());
            assert!(!is_large(&socket));
        }
        far.write_all(&message(200)).await.unwrap();
        assert_eq!(read(&mut socket).await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_the_buffers_stays_there() {
        let (mut socket, mut far) = socket();
        let large = message(60_000);
        // A message that has not come to its end.
        far.write_all(&large).await.unwrap();
        far.write_all(&large[..30_000]).await.unwrap();
        assert_eq!(read(&mut socket).await, 60_000);
        assert!(tokio::time::timeout(IDLE * 2, socket.next()).await.is_err());
        assert!(is_large(&socket));
        far.write_all(&large[30_000..]).await.unwrap();
        assert_eq!(read(&mut socket).await, 60_000);
        // One that has not been flushed.
        socket.feed(Message::text("not yet")).await.unwrap();
        assert!(tokio::time::timeout(IDLE * 2, socket.next()).await.is_err());
        assert!(is_large(&socket));
        socket.flush().await.unwrap();
        assert!(tokio::time::timeout(IDLE * 2, socket.next()).await.is_err());
        assert!(!is_large(&socket));
        // A pong, which is the codec's own.
        far.write_all(&large).await.unwrap();
        far.write_all(&[0x89, 0]).await.unwrap();
        assert_eq!((read(&mut socket).await, read(&mut socket).await), (60_000, 0));
        assert!(tokio::time::timeout(IDLE * 2, socket.next()).await.is_err());
        assert!(is_large(&socket));
    }
}
