//! The laws of a connection, kept over sockets and pipes.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use support::{Conn, dial, get};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{WebSocketStream, accept_async};
use tokio_util::codec::{Framed, LinesCodec};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::BoxError;
use tower_ws_test::conformance::{self, Harness, Peer, Unsupported};
use tower_ws_transport::{
    Message, TransportLayer, WebSocketConnection,
    lines::{LinesConnection, LinesLayer},
};

/// The server's end of a WebSocket, until it aborts.
struct Far<IO>(Option<WebSocketStream<IO>>);

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
            let _ = ws.close(None).await;
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

struct OverTcp;

impl Harness for OverTcp {
    type Message = Message;
    type Connection = Conn;
    type Peer = Far<TcpStream>;

    async fn connect(&self) -> (Conn, Far<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let accept = async {
            let (tcp, _) = listener.accept().await.unwrap();
            accept_async(tcp).await.unwrap()
        };
        let (connection, ws) = tokio::join!(dial(TransportLayer::new(), &url), accept);
        (connection.unwrap(), Far(Some(ws)))
    }
}

#[tokio::test]
async fn websocket_over_tcp() {
    conformance::transport(OverTcp).await;
}

struct OverPipe;

impl Harness for OverPipe {
    type Message = Message;
    type Connection = WebSocketConnection<TokioIo<DuplexStream>>;
    type Peer = Far<DuplexStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let (near, far) = tokio::io::duplex(4096);
        let mut near = Some(TokioIo::new(near));
        let connector = service_fn(move |_| std::future::ready(near.take().ok_or("one only")));
        let dial = TransportLayer::new().layer(connector).oneshot(get("ws://pipe/"));
        let (connection, ws) = tokio::join!(dial, accept_async(far));
        (connection.unwrap(), Far(Some(ws.unwrap())))
    }
}

#[tokio::test(start_paused = true)]
async fn websocket_over_a_pipe() {
    conformance::transport(OverPipe).await;
}

struct OfLines;

struct FarLines(Option<Framed<DuplexStream, LinesCodec>>);

impl Harness for OfLines {
    type Message = String;
    type Connection = LinesConnection<DuplexStream>;
    type Peer = FarLines;

    async fn connect(&self) -> (Self::Connection, FarLines) {
        let (near, far) = tokio::io::duplex(4096);
        let mut near = Some(near);
        let pipe = service_fn(move |()| std::future::ready(near.take().ok_or(BoxError::from("one only"))));
        let connection = LinesLayer::new().layer(pipe).oneshot(()).await.unwrap();
        (connection, FarLines(Some(Framed::new(far, LinesCodec::new()))))
    }
}

impl Peer<String> for FarLines {
    async fn send(&mut self, line: String) {
        if let Some(lines) = &mut self.0 {
            let _ = lines.send(line).await;
        }
    }

    async fn recv(&mut self) -> Option<String> {
        self.0.as_mut()?.next().await?.ok()
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.0 = None;
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn lines() {
    conformance::transport(OfLines).await;
}
