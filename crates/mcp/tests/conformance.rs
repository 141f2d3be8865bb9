//! The laws of a connection, with a server that is opened in each era.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::json;
use support::Peer as Server;
use tower::{Layer, ServiceExt};
use tower_ws_core::OpeningConnection;
use tower_ws_mcp::{Capabilities, Era, Implementation, McpConnection, McpLayer};
use tower_ws_test_kit::conformance::{self, Harness, Peer};
use tower_ws_transport::{JsonText, memory};

struct Opened(Era);
struct FarEnd(Option<memory::Socket<String>>);

impl Harness for Opened {
    type Message = String;
    type Connection = McpConnection<OpeningConnection<String>, JsonText>;
    type Peer = FarEnd;

    async fn connect(&self) -> (Self::Connection, FarEnd) {
        let (transport, mut listener) = memory::channel::<String>(64);
        let (layer, _) = McpLayer::pair(JsonText, Implementation::new("test", "1"), Capabilities::new());
        let dial = tokio::spawn(layer.only(self.0).layer(transport).oneshot(()));
        let mut server = Server(listener.accept().await.unwrap());
        match self.0 {
            Era::Modern => server.modern().await,
            Era::Legacy => server.initialize(json!({})).await,
        }
        (dial.await.unwrap().unwrap(), FarEnd(Some(server.0)))
    }
}

impl Peer<String> for FarEnd {
    async fn send(&mut self, message: String) {
        use futures_util::SinkExt;
        if let Some(socket) = &mut self.0 {
            let _ = socket.send(message).await;
        }
    }

    async fn recv(&mut self) -> Option<String> {
        use futures_util::StreamExt;
        let message = self.0.as_mut()?.next().await.and_then(Result::ok);
        if message.is_none() {
            self.0 = None;
        }
        message
    }
}

#[tokio::test(start_paused = true)]
async fn a_modern_connection_keeps_the_laws() {
    conformance::transport(Opened(Era::Modern)).await;
}

#[tokio::test(start_paused = true)]
async fn a_legacy_connection_keeps_the_laws() {
    conformance::transport(Opened(Era::Legacy)).await;
}
