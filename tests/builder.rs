//! Whatever the builder is given stands in its place, in a real session.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{SECOND, bounded, builder, millis};
use tokio::net::TcpListener;
use tokio_tungstenite::{accept_async, tungstenite};
use tower_ws::{
    Incoming, Message,
    ack::{AckLayer, JsonRpc},
    core::Failure,
    health::{HealthLayer, JsonRpcPing},
    messages::Event,
    queue::MemoryStore,
    rate_limit::{Quota, RateLimitLayer},
    reconnect::{Decision, FailoverLayer, History},
    spool::Spool,
    subscribe::{Channels, Heard, JsonRpc as Ethereum, SubscribeLayer, Update},
    transport::{JsonText, sockudo::Sockudo},
};
use tower_ws_test_kit::{Cut, Script, Server};

/// A node whose every connection ends after one notification, under an id of its own.
async fn node() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 1u64.. {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            let Some(Ok(asked)) = socket.next().await else { continue };
            let asked: Value = serde_json::from_str(asked.to_text().unwrap()).unwrap();
            let id = format!("0x{number:x}");
            let told = json!({ "subscription": id, "result": number, "channel": "trades" });
            let news = match asked.get("op") {
                Some(_) => told,
                None => {
                    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": id });
                    socket
                        .send(tungstenite::Message::text(answer.to_string()))
                        .await
                        .unwrap();
                    json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": told })
                }
            };
            socket.send(tungstenite::Message::text(news.to_string())).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn subscriptions_stand_below_calls() {
    let (subscribe, handle) = SubscribeLayer::pair(Ethereum::new(JsonText));
    let session = builder(node().await).subscribe(subscribe).connect();
    let (_client, _inbound) = bounded(session).await.unwrap();
    let subscriber = handle.json_rpc(JsonText);
    let subscribing = subscriber.subscribe::<u64>("eth_subscribe", &["newHeads"], "eth_unsubscribe");
    let mut heads = bounded(subscribing).await.unwrap();
    let (mut items, mut resumed) = (Vec::new(), 0);
    while items.len() < 3 {
        match bounded(heads.next()).await.unwrap() {
            Heard::Item(number) => items.push(number),
            Heard::Update(Update::Resumed(_)) => resumed += 1,
            _ => {}
        }
    }
    assert_eq!((items, resumed), (vec![1, 2, 3], 2));
}

#[tokio::test]
async fn subscriptions_stand_below_plain_messages() {
    let standing = Message::from(r#"{"op":"subscribe","channel":"trades"}"#);
    let subscribe = SubscribeLayer::new(Channels::new(JsonText)).standing(standing);
    let session = builder(node().await).subscribe(subscribe).messages().connect();
    let (_sender, mut events) = bounded(session).await.unwrap();
    let mut said = 0;
    while said < 3 {
        if let Event::Message(message) = bounded(events.next()).await.unwrap() {
            assert!(message.as_text().unwrap().contains("trades"));
            said += 1;
        }
    }
}

/// The server's front answers WebSocket pings; only a question to the application tells.
#[tokio::test]
async fn health_asks_a_question_of_ones_own() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let health = HealthLayer::new().interval(millis(50)).timeout(SECOND);
    let session = builder(server.url()).health(health).probe(JsonRpcPing::new(JsonText));
    let (client, _inbound) = bounded(session.connect()).await.unwrap();
    bounded(server.wait_received(2)).await;
    let received = server.received();
    let asked = received
        .iter()
        .filter(|received| received.message.as_text().unwrap().contains("\"ping\""));
    assert!(asked.count() >= 2, "{received:?}");
    let echoed: u64 = bounded(client.request("echo", &7)).await.unwrap();
    assert_eq!(echoed, 7);
}

/// What the process leaves behind, the next session sends.
#[tokio::test]
async fn a_store_of_ones_own_outlives_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    let strategy = JsonRpc::new(JsonText).safe_methods(["put"]);
    let server = Server::start(Script::json_rpc()).await.unwrap();
    for _ in 0..2 {
        let spool = Spool::open(&path, strategy.clone()).unwrap();
        let session = builder(server.url())
            .store(spool.clone())
            .ack(AckLayer::new(strategy.clone()));
        let (client, _inbound) = bounded(session.connect()).await.unwrap();
        let echoed: u64 = bounded(client.request("put", &7)).await.unwrap();
        assert_eq!(echoed, 7);
        assert_eq!(spool.handle().snapshot().messages, 0);
        client.close(SECOND).await;
        bounded(spool.close()).await;
    }
    // And for plain messages.
    let session = builder(server.url()).store(MemoryStore).messages().connect();
    let (sender, _events) = bounded(session).await.unwrap();
    bounded(sender.send("hello")).await.unwrap();
}

#[tokio::test]
async fn another_framing_another_policy_and_a_limit() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let policy = move |_: &Failure, _: &History| match counter.fetch_add(1, Ordering::Relaxed) {
        0 => Decision::RetryAfter(millis(10)),
        _ => Decision::GiveUp,
    };
    let limit = RateLimitLayer::new().messages(Quota::per_second(50.try_into().unwrap()));
    let session = builder(server.url())
        .framing(Sockudo::default())
        .policy(policy)
        .rate_limit(limit)
        .name("orders")
        .layer(tower::layer::layer_fn(|below: tower_ws::Dial| below));
    let (client, mut inbound) = bounded(session.connect()).await.unwrap();
    let echoed: u64 = bounded(client.request("echo", &1)).await.unwrap();
    assert_eq!(echoed, 1);
    for ends in [false, true] {
        // The last item of the one before is an `Up`.
        while !matches!(bounded(inbound.next()).await.unwrap(), Incoming::Up(_)) {}
        server.cut(Cut::Rst);
        let Incoming::Down(down) = bounded(inbound.next()).await.unwrap() else {
            panic!("it is cut")
        };
        assert_eq!(down.will_retry, !ends);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn failover_with_its_own_settings() {
    let (bad, good) = (
        Server::start(Script::status(503, &[])).await.unwrap(),
        Server::start(Script::json_rpc()).await.unwrap(),
    );
    let session = builder(bad.url())
        .fallback(good.url())
        .failover(FailoverLayer::new().cool_down(3600 * SECOND))
        .layer(tower::layer::layer_fn(|below: tower_ws::Dial| below));
    let (client, _inbound) = bounded(session.connect()).await.unwrap();
    let echoed: u64 = bounded(client.request("echo", &1)).await.unwrap();
    assert_eq!(echoed, 1);
}
