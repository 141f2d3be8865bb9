//! The far ends that the conformance suite talks to.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, LinesCodec};
use tower_ws_test_kit::conformance::{Peer, Unsupported};
use tower_ws_transport::{Message, WebSocket};

/// The server's end of a WebSocket, until it aborts.
pub struct Far<IO>(pub Option<WebSocket<IO>>);

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer<Message> for Far<IO> {
    async fn send(&mut self, message: Message) {
        if let Some(ws) = &mut self.0 {
            let _ = ws.send(message).await;
        }
    }

    async fn recv(&mut self) -> Option<Message> {
        let next = self.0.as_mut()?.next().await;
        if !matches!(next, Some(Ok(_))) {
            // A server ends the connection once the closing handshake is done (RFC 6455, section 7.1.1).
            self.0 = None;
        }
        next?.ok()
    }

    async fn close(&mut self) -> Result<(), Unsupported> {
        if let Some(ws) = &mut self.0 {
            let _ = ws.close().await;
        }
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.0 = None;
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}

/// The far end of a stream of lines, until it aborts.
pub struct FarLines<IO>(pub Option<Framed<IO, LinesCodec>>);

impl<IO: AsyncRead + AsyncWrite + Unpin> Peer<String> for FarLines<IO> {
    async fn send(&mut self, line: String) {
        if let Some(lines) = &mut self.0 {
            let _ = lines.send(line).await;
        }
    }

    async fn recv(&mut self) -> Option<String> {
        let next = self.0.as_mut()?.next().await;
        if next.is_none() {
            // A server lets go of a stream that has ended.
            self.0 = None;
        }
        next?.ok()
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.0 = None;
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}
