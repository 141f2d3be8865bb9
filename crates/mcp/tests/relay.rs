//! The relay: what a library of its own is told over many connections.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Peer, Server, within};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_core::{BoxError, Failure, FailureKind};
use tower_ws_mcp::{ack_layer, client_layer, relay::Relay};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::{JsonText, memory};

/// A relay, and the server that the test plays.
fn relay() -> (Relay, Server) {
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

fn initialize(version: &str) -> String {
    let client = json!({ "name": "library", "version": "1", "icons": [{ "src": "i" }], "description": "d" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string()
}

/// A library that has been initialized through a relay, and the server.
async fn opened() -> (Relay, Server, Peer) {
    let (mut relay, mut server) = relay();
    within(relay.send(initialize("2025-11-25"))).await.unwrap();
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

async fn say(relay: &Relay, what: Value) {
    within(relay.send(what.to_string())).await.unwrap();
}

/// A library that says all before it listens, and a server that answers none before it has all.
#[tokio::test(start_paused = true)]
async fn five_thousand_calls_at_once() {
    const CALLS: u64 = 5000;
    let (mut relay, _server, mut peer) = opened().await;
    let serving = tokio::spawn(async move {
        for _ in 0..CALLS {
            let said = peer.heard().await;
            let n = said["params"]["n"].clone();
            peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/told" }))
                .await;
            peer.answer(&said["id"], json!({ "n": n })).await;
        }
        peer
    });
    for n in 1..=CALLS {
        say(
            &relay,
            json!({ "jsonrpc": "2.0", "id": n, "method": "tools/call", "params": { "n": n } }),
        )
        .await;
    }
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < CALLS as usize {
        let message = heard(&mut relay).await;
        if let Some(id) = message["id"].as_u64() {
            assert_eq!(message["result"]["n"], id, "{message}");
            answered.insert(id);
        }
    }
    within(serving).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_as_long_as_it_takes() {
    let (mut relay, _server, mut peer) = opened().await;
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": "slow", "method": "tools/call" }),
    )
    .await;
    let (id, _) = peer.asked("tools/call").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    peer.answer(&id, json!({})).await;
    assert_eq!(heard(&mut relay).await["id"], "slow");

    // Unless the library gives it up.
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": "dropped", "method": "tools/call" }),
    )
    .await;
    let (id, _) = peer.asked("tools/call").await;
    let params = json!({ "requestId": "dropped" });
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }),
    )
    .await;
    let (_, cancelled) = peer.asked("notifications/cancelled").await;
    assert_eq!(cancelled["requestId"], id);
}

#[tokio::test(start_paused = true)]
async fn three_hundred_requests_that_nobody_answers() {
    let (mut relay, _server, mut peer) = opened().await;
    for id in 0..300 {
        peer.say(json!({ "jsonrpc": "2.0", "id": id, "method": "roots/list" }))
            .await;
        assert_eq!(told(&mut relay, "roots/list").await["id"], id + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listen_is_known_by_the_librarys_id() {
    const ID: &str = "io.modelcontextprotocol/subscriptionId";
    let (mut relay, mut server) = relay();
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover" }),
    )
    .await;
    let mut peer = server.accept().await;
    peer.modern().await;
    assert_eq!(heard(&mut relay).await["id"], 0);
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": "mine", "method": "subscriptions/listen", "params": { "notifications": {} } }),
    )
    .await;
    let (mut id, _) = peer.asked("subscriptions/listen").await;
    for connection in 0..2 {
        let params = json!({ "_meta": { ID: id } });
        peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params }))
            .await;
        let acknowledged = told(&mut relay, "notifications/subscriptions/acknowledged").await;
        assert_eq!(acknowledged["params"]["_meta"][ID], "mine");
        if connection == 0 {
            drop(peer);
            peer = server.accept().await;
            peer.modern().await;
            (id, _) = peer.asked("subscriptions/listen").await;
        }
    }
    peer.answer(&id, json!({ "resultType": "complete", "_meta": { ID: id } }))
        .await;
    loop {
        let message = heard(&mut relay).await;
        if message["id"] == "mine" {
            assert_eq!(message["result"]["_meta"][ID], "mine");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_hears_of_the_library_what_it_says_of_itself() {
    let (relay, mut server) = relay();
    within(relay.send(initialize("2025-06-18"))).await.unwrap();
    let mut peer = server.accept().await;
    let (_, params) = peer.asked("initialize").await;
    assert_eq!(params["protocolVersion"], "2025-06-18");
    assert_eq!(params["clientInfo"]["icons"], json!([{ "src": "i" }]));
    assert_eq!(params["clientInfo"]["description"], "d");
}

#[tokio::test(start_paused = true)]
async fn the_library_hears_why_there_is_no_session() {
    let refused = || Failure::new(FailureKind::Auth, "the server wants credentials").with_status(401);
    let mut relay = Relay::new(JsonText, move |_| async move { Err(BoxError::from(refused())) });
    within(relay.send(initialize("2025-11-25"))).await.unwrap();
    let answer = heard(&mut relay).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(0), &json!(-32000)));
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.contains("wants credentials (http status 401)"), "{said}");
    assert_eq!(within(relay.recv()).await, None);
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
