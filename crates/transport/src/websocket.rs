use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, error::ProtocolError, protocol::Role},
};
use tower_ws_core::BoxError;

use crate::{
    limits::Limits,
    message::{Kind, Message},
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
    inner: WebSocketStream<IO>,
}

impl<IO> WebSocket<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) async fn new(io: IO, limits: &Limits) -> Self {
        // Not `from_partially_read`: it would pin the read buffer to the size of what was read.
        WebSocketStream::from_raw_socket(io, Role::Client, Some(limits.config()))
            .await
            .into()
    }
}

impl<IO> From<WebSocketStream<IO>> for WebSocket<IO> {
    fn from(inner: WebSocketStream<IO>) -> Self {
        Self { inner }
    }
}

impl<IO> Stream for WebSocket<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    type Item = Result<Message, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.inner).poll_next(cx);
        polled.map(|next| next.map(|read| read.map(Message).map_err(Into::into)))
    }
}

impl<IO> Sink<Message> for WebSocket<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    type Error = BoxError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Pin::new(&mut self.inner).poll_ready(cx).map_err(Into::into)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), BoxError> {
        let closing = message.kind() == Kind::Close;
        match Pin::new(&mut self.inner).start_send(message.0) {
            // It has been said, by this side or in answer to the peer.
            Err(Error::Protocol(ProtocolError::SendAfterClosing)) if closing => Ok(()),
            done => Ok(done?),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(Into::into)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(Into::into)
    }
}

/// The codec's own `Debug` shows its buffers, and what is in those is nobody's business.
impl<IO> fmt::Debug for WebSocket<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}
