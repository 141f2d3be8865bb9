use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use hyper::rt;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, error::ProtocolError, protocol::Role},
};

use crate::{framing::Upgraded, limits::Limits};

/// An upgraded WebSocket: a sink and a stream of [`Message`]s.
///
/// Framing, masking, fragments and the answers to pings and close frames are tungstenite's. Answers
/// leave while somebody reads; pings and pongs come up as messages all the same. What it lacks
/// (deadlines, a control lane, `Up` and `Down`) [`LiftLayer`](crate::LiftLayer) adds. Dropping it
/// aborts the connection.
pub struct WebSocket<IO> {
    inner: WebSocketStream<Upgraded<IO>>,
}

impl<IO> WebSocket<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    pub(crate) async fn new(io: Upgraded<IO>, limits: &Limits) -> Self {
        // Not `from_partially_read`: it would pin the read buffer to the size of what was read.
        let inner = WebSocketStream::from_raw_socket(io, Role::Client, Some(limits.config())).await;
        Self { inner }
    }
}

impl<IO> Stream for WebSocket<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl<IO> Sink<Message> for WebSocket<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let closing = message.is_close();
        match Pin::new(&mut self.inner).start_send(message) {
            // It has been said, by this side or in answer to the peer.
            Err(Error::Protocol(ProtocolError::SendAfterClosing)) if closing => Ok(()),
            done => done,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// The codec's own `Debug` shows its buffers, and what is in those is nobody's business.
impl<IO> fmt::Debug for WebSocket<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}
