//! The relay: what a library of its own is told over many connections.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use serde_json::{Value, json};
use support::{Peer, Server, within};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_mcp::{ack_layer, client_layer, relay::Relay};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::{JsonText, memory};

/// A library that has been initialized through a relay, and the server that the test plays.
async fn opened() -> (Relay, Server, Peer) {
    let (transport, listener) = memory::channel::<String>(64);
    let mut relay = Relay::new(JsonText, move |layer| async move {
        let stack = ServiceBuilder::new()
            .layer(client_layer(JsonText))
            .layer(ack_layer(JsonText))
            .layer(ReconnectLayer::new())
            .layer(layer)
            .service(transport);
        stack.oneshot(()).await
    });
    let initialize = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "library", "version": "1" },
        },
    });
    within(relay.send(initialize.to_string())).await.unwrap();
    let mut server = Server(listener);
    let mut peer = server.accept().await;
    peer.initialize(json!({})).await;
    assert_eq!(heard(&mut relay).await["id"], 0);
    (relay, server, peer)
}

async fn heard(relay: &mut Relay) -> Value {
    serde_json::from_str(&within(relay.recv()).await.unwrap()).unwrap()
}

/// The next message with this method.
async fn told(relay: &mut Relay, method: &str) -> Value {
    loop {
        let message = heard(relay).await;
        if message["method"] == method {
            return message;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_connection_that_is_gone_take_no_room() {
    let (mut relay, mut server, mut peer) = opened().await;
    for connection in 0..3 {
        // Less than the library may work on at once, more than that together.
        for id in 0..200 {
            peer.say(json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list" }))
                .await;
            assert_eq!(told(&mut relay, "roots/list").await["id"], connection * 200 + id + 1);
        }
        drop(peer);
        for _ in 0..200 {
            let cancelled = told(&mut relay, "notifications/cancelled").await;
            let id = cancelled["params"]["requestId"].as_u64().unwrap();
            assert!((id - 1) / 200 == connection, "{id}");
        }
        peer = server.accept().await;
        peer.initialize(json!({})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_cancellation_names_the_id_that_the_library_knows() {
    let (mut relay, _server, mut peer) = opened().await;
    for id in ["a", "b"] {
        peer.say(json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list" }))
            .await;
    }
    let first = told(&mut relay, "roots/list").await["id"].clone();
    let second = told(&mut relay, "roots/list").await["id"].clone();
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "a" } }))
        .await;
    let cancelled = told(&mut relay, "notifications/cancelled").await;
    assert_eq!(cancelled["params"]["requestId"], first);
    let answer = json!({ "jsonrpc": "2.0", "id": second, "result": { "roots": [] } });
    within(relay.send(answer.to_string())).await.unwrap();
    loop {
        let message = peer.heard().await;
        if message.get("result").is_some() {
            assert_eq!(message["id"], "b");
            return;
        }
    }
}
