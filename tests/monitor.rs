//! How a session fares, as a readiness endpoint sees it.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{SECOND, bounded, builder, millis};
use tower_ws::{
    Client, Inbound, Incoming,
    monitor::{Health, Monitor},
    subscribe::{JsonRpc, SubscribeLayer},
    transport::JsonText,
};
use tower_ws_test_kit::{Cut, Script, Server};

async fn connect(server: &Server) -> (Client, Inbound, Monitor) {
    let session = builder(server.url()).subscribe(SubscribeLayer::new(JsonRpc::new(JsonText)));
    let (client, mut inbound) = bounded(session.connect()).await.unwrap();
    let Some(Incoming::Up(up)) = bounded(inbound.next()).await else {
        panic!("the first item is `Up`")
    };
    (client, inbound, Monitor::of(&up))
}

#[tokio::test]
async fn up_down_and_over() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound, monitor) = connect(&server).await;
    assert_eq!(monitor.health(), Health::Ok);
    let echoed: u64 = bounded(client.request("echo", &7)).await.unwrap();
    assert_eq!(echoed, 7);
    let numbers = monitor.snapshot().numbers;
    assert_eq!(numbers["ack_in_flight"], 0.0, "{numbers:?}");
    assert_eq!(numbers["reconnect_sessions{state=\"connected\"}"], 1.0, "{numbers:?}");

    server.refuse();
    server.cut(Cut::Rst);
    let Some(Incoming::Down(_)) = bounded(inbound.next()).await else {
        panic!("it is cut")
    };
    tokio::time::sleep(millis(200)).await;
    let health = monitor.health();
    let Health::Down { down_for, .. } = &health else {
        panic!("{health}")
    };
    assert!((millis(150)..20 * SECOND).contains(down_for), "{health}");
    assert!(!health.is_ready());
    assert!(health.to_string().starts_with("down for "), "{health}");

    server.listen().unwrap();
    let Some(Incoming::Up(_)) = bounded(inbound.next()).await else {
        panic!("it is back")
    };
    assert_eq!(monitor.health(), Health::Ok);

    client.close(SECOND).await;
    while bounded(inbound.next()).await.is_some() {}
    assert_eq!(monitor.health().to_string(), "over: closed by this side");
    assert!(!monitor.health().is_ready());
}

#[test]
fn for_machines() {
    let health = Health::Down {
        why: "refused".into(),
        down_for: Duration::from_millis(1500),
        next_attempt_in: Some(Duration::from_millis(250)),
    };
    let expected = json!({ "status": "down", "why": "refused", "down_for_s": 1.5, "next_attempt_in_s": 0.25 });
    assert_eq!(serde_json::to_value(health).unwrap(), expected);
    let expected: Value = json!({ "status": "ok" });
    assert_eq!(serde_json::to_value(Health::Ok).unwrap(), expected);
}

/// There is a connection, and not all is well with it.
#[tokio::test]
async fn up_and_not_well() {
    let server = Server::start(Script::Silent).await.unwrap();
    let (layer, subscriptions) = SubscribeLayer::pair(JsonRpc::new(JsonText));
    let (client, mut inbound) = bounded(builder(server.url()).subscribe(layer).connect()).await.unwrap();
    let Some(Incoming::Up(up)) = bounded(inbound.next()).await else {
        panic!("the first item is `Up`")
    };
    let monitor = Monitor::of(&up);
    assert_eq!(monitor.health(), Health::Ok);
    // Asked for, and never answered.
    let subscriber = subscriptions.json_rpc(JsonText);
    let subscribing = tokio::spawn(async move {
        let asking = subscriber.subscribe::<u64>("eth_subscribe", &["ticks"], "eth_unsubscribe");
        asking.await.map(drop)
    });
    bounded(server.wait_received(1)).await;
    let health = monitor.health();
    let expected = "degraded: the server does not have 1 of 1 subscriptions";
    assert_eq!((health.to_string().as_str(), health.is_ready()), (expected, true));
    assert!(format!("{monitor:?}").starts_with("Monitor(Degraded"), "{monitor:?}");
    subscribing.abort();
    drop(client);
}
