//! The peer's requests, answered by a service.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{convert::Infallible, time::Duration};

use serde_json::{Value, json};
use support::{Puppet, Text, settle};
use tokio::sync::Semaphore;
use tower::{ServiceBuilder, service_fn, timeout::TimeoutLayer};
use tower_ws_client::*;
use tower_ws_core::jsonrpc::RpcError;

fn request(id: u64, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": { "n": id }, "id": id })
}

/// What the peer was answered, by id.
async fn answer(puppet: &Puppet, id: u64) -> Value {
    let sent = puppet.sent().await;
    sent.into_iter().find(|sent| sent["id"] == id).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_and_does_not_read_makes_a_bounded_pile() {
    let (puppet, _client, inbound) = Puppet::start(&ClientLayer::new(Text));
    let _rest = inbound.answer_with(service_fn(|_: Asked| async { Ok::<_, Infallible>(()) }));
    settle().await;
    puppet.pull(|strings| strings.ready = false);
    for id in 0..5_000 {
        puppet.say(&request(id, "flood"));
        tokio::task::yield_now().await;
    }
    settle().await;
    puppet.pull(|strings| strings.ready = true);
    let sent = puppet.sent().await.len();
    assert!((1_024..1_400).contains(&sent), "{sent} answers were kept");
    puppet.say(&request(9_999, "later"));
    assert_eq!(answer(&puppet, 9_999).await["result"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn results_and_errors_reach_the_peer_and_the_rest_passes() {
    let (puppet, _client, inbound) = Puppet::start(&ClientLayer::new(Text));
    let handler = service_fn(|asked: Asked| async move {
        match asked.method() {
            "roots/list" => Ok(asked.params::<Value>().unwrap()),
            "secret" => Err("the password is hunter2".into()),
            _ => Err(tower_ws_core::BoxError::from(RpcError::new(-32601, "no such method"))),
        }
    });
    let mut rest = inbound.answer_with(handler);
    for (id, method) in [(1, "roots/list"), (2, "secret"), (3, "other")] {
        puppet.say(&request(id, method));
    }
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "push" }));
    settle().await;
    let sent = puppet.sent().await;
    let of = |id: u64| sent.iter().find(|sent| sent["id"] == id).cloned().unwrap_or_default();
    assert_eq!(of(1)["result"], json!({ "n": 1 }));
    assert_eq!(
        of(2)["error"],
        json!({ "code": -32603, "message": "the request could not be handled" })
    );
    assert_eq!(of(3)["error"]["code"], -32601);
    assert!(matches!(rest.next().await, Some(Incoming::Up(_))));
    assert!(matches!(rest.next().await, Some(Incoming::Notification(said)) if said.method() == "push"));
    puppet.down(false);
    assert!(matches!(rest.next().await, Some(Incoming::Down(_))));
    assert!(rest.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_slow_or_busy_stops_nobody() {
    let (puppet, client, inbound) = Puppet::start(&ClientLayer::new(Text));
    let gate: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let handler = service_fn(move |_: Asked| async move {
        let _ = gate.acquire().await;
        Ok::<_, Infallible>("late")
    });
    let rest = inbound.answer_with(handler);
    let most = Inbound::HANDLED as u64;
    for id in 0..most {
        puppet.say(&request(id, "slow"));
    }
    puppet.say(&request(most, "one too many"));
    assert_eq!(answer(&puppet, most).await["error"]["code"], RpcError::BUSY);
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.request::<_, u64>("echo", &7).await });
    settle().await;
    puppet.answer(1, &json!(7));
    assert_eq!(call.await.unwrap().unwrap(), 7);
    // Nobody reads the rest, and the answers come all the same.
    drop(rest);
    gate.add_permits(Semaphore::MAX_PERMITS);
    settle().await;
    let sent = puppet.sent().await;
    assert_eq!(
        sent.iter().filter(|sent| sent["result"] == "late").count(),
        Inbound::HANDLED
    );
}

#[tokio::test(start_paused = true)]
async fn towers_layers_fit_on_it() {
    let (puppet, _client, inbound) = Puppet::start(&ClientLayer::new(Text));
    let handler = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .concurrency_limit(1)
        .service_fn(|asked: Asked| async move {
            if asked.method() == "never" {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(true)
        });
    let _rest = inbound.answer_with(handler);
    puppet.say(&request(1, "never"));
    puppet.say(&request(2, "soon"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    settle().await;
    let sent = puppet.sent().await;
    let of = |id: u64| sent.iter().find(|sent| sent["id"] == id).cloned().unwrap_or_default();
    assert_eq!(of(1)["error"]["code"], RpcError::INTERNAL);
    assert_eq!(of(2)["result"], true);
}

#[tokio::test(start_paused = true)]
async fn asking_to_end_when_the_stream_is_full_still_ends() {
    let (puppet, _client, inbound) = Puppet::start(&ClientLayer::new(Text).inbound(2, Lag::Close));
    let mut rest = inbound.answer_with(service_fn(|_: Asked| async { Ok::<_, Infallible>(()) }));
    for _ in 0..16 {
        puppet.say(&json!({ "jsonrpc": "2.0", "method": "push" }));
        settle().await;
    }
    let mut last = None;
    while let Some(item) = rest.next().await {
        last = Some(item);
    }
    assert!(matches!(last, Some(Incoming::Down(down)) if !down.will_retry));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_taken_back_is_not_answered_and_its_handler_sees_it() {
    struct TakesBack;
    impl Cancel for TakesBack {
        fn notice(&self, id: u64) -> Request {
            Request::new(id.to_string())
        }
        fn cancelled(&self, told: &Notification) -> Option<Box<serde_json::value::RawValue>> {
            (told.method() == "back").then(|| told.params().unwrap())
        }
    }
    let (puppet, _client, inbound) = Puppet::start(&ClientLayer::new(Text).on_cancel(TakesBack));
    let handler = service_fn(|asked: Asked| async move {
        asked.cancelled().await;
        assert!(asked.is_cancelled());
        Ok::<_, Infallible>(asked.id().get().to_owned())
    });
    let mut rest = inbound.answer_with(handler);
    assert!(matches!(rest.next().await, Some(Incoming::Up(_))));
    for id in 1..=3 {
        puppet.say(&request(id, "slow"));
    }
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "back", "params": 2 }));
    // Nobody's.
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "back", "params": 9 }));
    assert!(matches!(rest.next().await, Some(Incoming::Notification(told)) if told.params::<u64>().unwrap() == 9));
    settle().await;
    assert!(puppet.sent().await.is_empty());
    // The others go with the connection.
    puppet.down(true);
    puppet.up();
    settle().await;
    puppet.say(&request(4, "slow"));
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "back", "params": 4 }));
    settle().await;
    assert!(puppet.sent().await.is_empty());
}
