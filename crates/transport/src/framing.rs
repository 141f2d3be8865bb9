use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use http::{HeaderMap, HeaderValue};
use hyper::rt;
use hyper_util::rt::TokioIo;
use tower_ws_core::{BoxError, Failure, Progress};

use crate::{io::Counted, limits::Limits, message::Message, scanned::Scanned, websocket::WebSocket};

/// How bytes become messages once the handshake is done: the part of a WebSocket crate that
/// [`Upgrade`](crate::Upgrade) needs.
///
/// The handshake, its checks and its limits stay the same whatever frames, and so does everything
/// above: a socket is a sink and a stream of [`Message`](crate::Message)s, and
/// [`LiftLayer`](crate::LiftLayer) makes a connection of it. [`Tungstenite`] is the default;
/// `sockudo::Sockudo`, behind a feature, can compress.
///
/// A socket keeps to a few rules that the lift relies on:
///
/// - it takes large messages in [fragments](Message::fragment), with control messages between them;
/// - it answers pings and close frames while somebody reads, and pings come up as messages all the
///   same;
/// - a close frame of either side does not end reading; the end of the bytes does. After a close
///   frame of the peer's that is the end of the stream, without one it is an error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` frames no messages",
    label = "no framing",
    note = "use `Tungstenite`, or `sockudo::Sockudo`"
)]
pub trait Framing {
    /// What the upgrade answers with, over byte streams of type `IO`.
    type Socket<IO>: Stream<Item = Result<Message, BoxError>> + Sink<Message, Error = BoxError> + Send + Unpin
    where
        IO: rt::Read + rt::Write + Unpin + Send + 'static;

    /// What `sec-websocket-extensions` offers. `None`, as by default: then an answer that chooses
    /// one is refused.
    fn offer(&self) -> Option<HeaderValue> {
        None
    }

    /// Makes a socket of what the handshake has left.
    ///
    /// # Errors
    ///
    /// The server's choice among the extensions offered, which is in the headers of its answer, is
    /// not one that was offered or not one that this can follow.
    fn socket<IO>(
        &self,
        stream: Upgraded<IO>,
        limits: &Limits,
        answer: &HeaderMap,
    ) -> impl Future<Output = Result<Self::Socket<IO>, Failure>> + Send
    where
        IO: rt::Read + rt::Write + Unpin + Send + 'static;
}

/// The byte stream of an upgrade, as tokio's `AsyncRead` and `AsyncWrite`: first what came in
/// behind the answer. Its frames have been looked at: a message of too many of them, or one that
/// takes too long, is an error of reading.
pub type Upgraded<IO> = Scanned<Counted<TokioIo<IO>>>;

/// Framing by tungstenite: no extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tungstenite;

impl Framing for Tungstenite {
    type Socket<IO>
        = WebSocket<Upgraded<IO>>
    where
        IO: rt::Read + rt::Write + Unpin + Send + 'static;

    async fn socket<IO>(
        &self,
        stream: Upgraded<IO>,
        limits: &Limits,
        _: &HeaderMap,
    ) -> Result<WebSocket<Upgraded<IO>>, Failure>
    where
        IO: rt::Read + rt::Write + Unpin + Send + 'static,
    {
        Ok(WebSocket::new(stream, limits))
    }
}

pub(crate) fn upgraded<IO>(io: IO, early: Bytes, progress: Progress, limits: &Limits) -> Upgraded<IO> {
    Scanned::new(
        Counted::new(TokioIo::new(io), early, progress, limits.read_buffer),
        limits.scan(),
    )
}
