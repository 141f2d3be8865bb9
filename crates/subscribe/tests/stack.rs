//! The layer in its place: client and ack above, reconnect and a rate limit below.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{num::NonZeroU32, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_ack::{AckLayer, JsonRpc as Acks};
use tower_ws_client::{Client, ClientLayer, Inbound};
use tower_ws_core::{Event, Readings, boxed};
use tower_ws_rate_limit::{Quota, RateLimitLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_subscribe::{Handle, JsonRpc, SubscribeLayer};
use tower_ws_transport::{
    JsonText,
    memory::{self, Listener, Socket},
};

const LIMIT: Duration = Duration::from_secs(600);

async fn hears(socket: &mut Socket<String>) -> Value {
    let said = timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(&said).unwrap()
}

async fn answers(socket: &mut Socket<String>, request: &Value, result: Value) {
    let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
    socket.send(answer.to_string()).await.unwrap();
}

/// At most five messages within a second.
fn limited() -> RateLimitLayer {
    let five = NonZeroU32::new(5).unwrap();
    RateLimitLayer::new().messages(Quota::strict(five, Duration::from_secs(1)).unwrap())
}

async fn session(
    layer: SubscribeLayer<JsonRpc<JsonText>, String>,
) -> (Client, Inbound, Listener<String>, Socket<String>) {
    let (transport, mut listener) = memory::channel(4);
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(AckLayer::new(Acks::new(JsonText).safe_methods(["*"])))
        .layer(layer)
        .layer(ReconnectLayer::new().seed(1))
        .layer(limited())
        .service(transport);
    let (session, socket) = tokio::join!(stack.oneshot(()), listener.accept());
    let (client, inbound) = session.unwrap();
    (client, inbound, listener, socket.unwrap())
}

fn begin(handle: &Handle<String>, what: &str) -> tower_ws_subscribe::Subscription<String> {
    let text = json!({ "jsonrpc": "2.0", "id": 0, "method": "eth_subscribe", "params": [what] });
    handle.subscribe(text.to_string())
}

#[tokio::test(start_paused = true)]
async fn what_stands_is_said_before_what_goes_again_and_that_before_what_is_new() {
    let (layer, handle) = SubscribeLayer::pair(JsonRpc::ethereum(JsonText));
    let (client, _inbound, mut listener, mut socket) = session(layer).await;
    let asks = client.request::<_, String>("eth_subscribe", &["logs"]);
    let server = async {
        let asked = hears(&mut socket).await;
        answers(&mut socket, &asked, json!("0xa")).await;
    };
    let (id, ()) = tokio::join!(asks, server);
    assert_eq!(id.unwrap(), "0xa");
    let _heads = begin(&handle, "newHeads");
    let asked = hears(&mut socket).await;
    answers(&mut socket, &asked, json!("0xb")).await;
    // Sent, not answered, and sent again.
    let call = |method: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.request::<_, Value>(method, &()).await })
    };
    let again = call("again");
    assert_eq!(hears(&mut socket).await["method"], "again");
    drop(socket);
    let new = call("new");
    let mut socket = listener.accept().await.unwrap();
    let mut methods = Vec::new();
    for _ in 0..4 {
        let said = hears(&mut socket).await;
        methods.push((said["method"].clone(), said["params"][0].clone()));
        answers(&mut socket, &said, json!("0xc")).await;
    }
    let expected = [("eth_subscribe", json!("logs")), ("eth_subscribe", json!("newHeads"))];
    let expected = expected
        .into_iter()
        .chain([("again", Value::Null), ("new", Value::Null)]);
    assert_eq!(
        methods,
        expected
            .map(|(method, first)| (method.into(), first))
            .collect::<Vec<_>>()
    );
    assert_eq!(again.await.unwrap().unwrap(), "0xc");
    assert_eq!(new.await.unwrap().unwrap(), "0xc");
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_hundred_subscriptions_no_longer_than_the_patience_and_the_limit_is_kept() {
    let (layer, handle) = SubscribeLayer::pair(JsonRpc::ethereum(JsonText));
    let (client, _inbound, mut listener, mut socket) = session(layer).await;
    let _all: Vec<_> = (0..100).map(|n| begin(&handle, &n.to_string())).collect();
    for n in 0..100 {
        let asked = hears(&mut socket).await;
        answers(&mut socket, &asked, json!(n)).await;
    }
    drop(socket);
    let mut socket = listener.accept().await.unwrap();
    let up = Instant::now();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request::<_, Value>("call", &()).await })
        })
        .collect();
    let mut times = Vec::new();
    let mut called = Vec::new();
    while times.len() < 110 {
        let said = hears(&mut socket).await;
        let at = up.elapsed();
        times.push(at);
        if said["method"] == "call" {
            called.push(at);
        }
        answers(&mut socket, &said, json!(times.len())).await;
    }
    // Its own patience, and a turn.
    assert!(
        called[0] >= Duration::from_secs(5) && called[0] <= Duration::from_secs(6),
        "{called:?}"
    );
    // In turns: ten calls among ten subscriptions, at five a second.
    assert!(called[9] <= Duration::from_secs(10), "{called:?}");
    for window in times.windows(6) {
        assert!(window[5] - window[0] >= Duration::from_millis(999), "{window:?}");
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn its_numbers_are_shown() {
    let (transport, mut listener) = memory::channel::<String>(4);
    let layer = SubscribeLayer::new(JsonRpc::ethereum(JsonText))
        .standing(json!({ "jsonrpc": "2.0", "id": 0, "method": "eth_subscribe", "params": ["a"] }).to_string());
    let stack = ServiceBuilder::new().layer(layer).service(transport);
    let (connection, _socket) = tokio::join!(stack.oneshot(()), listener.accept());
    let mut connection = boxed(connection.unwrap());
    let Some(Event::Up(up)) = connection.next().await else {
        panic!("no connection")
    };
    assert_eq!(up.layers.last(), Some(&"subscribe"));
    assert!(up.extensions.get::<Handle<String>>().is_some());
    let mut names = Vec::new();
    up.sources()[0].read(&mut |reading| names.push(reading.name));
    names.dedup();
    assert!(names.iter().all(|name| name.starts_with("subscribe_")), "{names:?}");
    assert_eq!(names.len(), 6);
}
