//! A scripted server: what it is asked, in order, and what it answers, on any number of
//! connections.

#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_client::{Inbound, Incoming};
use tower_ws_core::BoxError;
use tower_ws_mcp::{Capabilities, Implementation, Mcp, McpLayer, ack_layer, client_layer, relay::Relay};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::{
    JsonText,
    memory::{self, Listener, Socket},
};

/// One connection, as the server sees it.
pub(crate) struct Peer(pub(crate) Socket<String>);

impl Peer {
    /// What the client says next.
    pub(crate) async fn heard(&mut self) -> Value {
        let said = within(self.0.next())
            .await
            .expect("the client is there")
            .expect("it can be read");
        serde_json::from_str(&said).expect("the client speaks JSON")
    }

    /// The same, which must be a call of this method. Gives its id and parameters.
    pub(crate) async fn asked(&mut self, method: &str) -> (Value, Value) {
        let said = self.heard().await;
        assert_eq!(said["method"], method, "{said}");
        (said["id"].clone(), said["params"].clone())
    }

    pub(crate) async fn say(&mut self, what: Value) {
        within(self.0.send(what.to_string())).await.expect("the client reads");
    }

    pub(crate) async fn answer(&mut self, id: &Value, result: Value) {
        self.say(json!({ "jsonrpc": "2.0", "id": id, "result": result })).await;
    }

    pub(crate) async fn refuse(&mut self, id: &Value, code: i64, data: Value) {
        self.say(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": "no", "data": data } }))
            .await;
    }

    /// Opens as a modern server.
    pub(crate) async fn modern(&mut self) {
        let (id, params) = self.asked("server/discover").await;
        assert_eq!(params["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        self.answer(&id, discovered(&["2026-07-28"], json!({ "tools": {} })))
            .await;
    }

    /// Opens as a legacy server that was asked for nothing else before.
    pub(crate) async fn initialize(&mut self, capabilities: Value) {
        let (id, params) = self.asked("initialize").await;
        let version = params["protocolVersion"].clone();
        let result = json!({
            "protocolVersion": version, "capabilities": capabilities,
            "serverInfo": { "name": "old", "version": "1" },
        });
        self.answer(&id, result).await;
        let (id, _) = self.asked("notifications/initialized").await;
        assert_eq!(id, Value::Null);
    }

    /// Opens as a legacy server, which knows no `server/discover`.
    pub(crate) async fn legacy(&mut self) {
        let (id, _) = self.asked("server/discover").await;
        self.refuse(&id, -32601, Value::Null).await;
        self.initialize(json!({ "tools": {} })).await;
    }
}

pub(crate) fn discovered(versions: &[&str], capabilities: Value) -> Value {
    json!({
        "resultType": "complete", "supportedVersions": versions, "capabilities": capabilities,
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "new", "version": "2" } },
    })
}

pub(crate) struct Server(pub(crate) Listener<String>);

impl Server {
    pub(crate) async fn accept(&mut self) -> Peer {
        Peer(within(self.0.accept()).await.expect("the client dials"))
    }
}

/// A relay, and the server that the test plays.
pub(crate) fn relay() -> (Relay, Server) {
    let (transport, listener) = memory::channel::<String>(64);
    let relay = Relay::new(JsonText, move |layer| async move {
        let stack = ServiceBuilder::new()
            .layer(client_layer(JsonText))
            .layer(ack_layer(JsonText))
            .layer(ReconnectLayer::new())
            .layer(layer)
            .service(transport);
        stack.oneshot(()).await
    });
    (relay, Server(listener))
}

pub(crate) type Connecting = tokio::task::JoinHandle<Result<(Mcp, Inbound), BoxError>>;

/// A client of a server that the test plays, over the whole stack.
pub(crate) fn connect() -> (Server, Connecting) {
    connect_with(|layer| layer)
}

pub(crate) fn connect_with(configure: impl FnOnce(McpLayer<JsonText>) -> McpLayer<JsonText>) -> (Server, Connecting) {
    let (transport, listener) = memory::channel::<String>(64);
    let (layer, session) = McpLayer::pair(JsonText, Implementation::new("test", "1"), Capabilities::new());
    let stack = ServiceBuilder::new()
        .layer(client_layer(JsonText))
        .layer(QueueLayer::new())
        .layer(ack_layer(JsonText))
        .layer(ReconnectLayer::new())
        .layer(configure(layer))
        .service(transport);
    let connecting = tokio::spawn(async move {
        let (client, inbound) = stack.oneshot(()).await?;
        Ok((Mcp::new(client, session), inbound))
    });
    (Server(listener), connecting)
}

/// The client of a server that has been opened.
pub(crate) async fn connected(connecting: Connecting) -> (Mcp, Inbound) {
    within(connecting).await.unwrap().expect("it is connected")
}

/// The next `Up`.
pub(crate) async fn up(inbound: &mut Inbound) -> tower_ws_core::Up {
    loop {
        match within(inbound.next()).await.expect("the session lives") {
            Incoming::Up(up) => return up,
            _ => continue,
        }
    }
}

/// The next notification.
pub(crate) async fn told(inbound: &mut Inbound) -> (String, Value) {
    loop {
        if let Incoming::Notification(said) = within(inbound.next()).await.expect("the session lives") {
            return (said.method().to_owned(), said.params().unwrap());
        }
    }
}

/// A bound for what must not hang. The clock is paused, so it costs nothing.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(600), future).await.expect("it hangs")
}
