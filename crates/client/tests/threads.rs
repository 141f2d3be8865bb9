//! Callers on many threads, one driver: no wake-up is lost, no answer goes astray.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tower::{Layer, ServiceExt};
use tower_ws_client::{Client, ClientLayer};
use tower_ws_transport::{JsonText, memory};

/// A peer that echoes the parameters of each call.
async fn start() -> Client {
    let (transport, mut listener) = memory::channel::<String>(4);
    tokio::spawn(async move {
        let mut socket = listener.accept().await.unwrap();
        while let Some(Ok(call)) = socket.next().await {
            let call: Value = serde_json::from_str(&call).unwrap();
            let answer = json!({ "jsonrpc": "2.0", "id": call["id"], "result": call["params"] });
            if socket.send(answer.to_string()).await.is_err() {
                return;
            }
        }
    });
    let (client, _) = ClientLayer::new(JsonText)
        .max_calls(8)
        .layer(transport)
        .oneshot(())
        .await
        .unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_caller_gets_its_own_answer() {
    let client = start().await;
    let mut callers = JoinSet::new();
    for caller in 0..16_u64 {
        let client = client.clone();
        callers.spawn(async move {
            for n in 0..1000 {
                let limit = Duration::from_secs(30);
                let answer = timeout(limit, client.request::<_, [u64; 2]>("echo", &[caller, n])).await;
                let answer = answer.expect("no wake-up is lost");
                assert_eq!(answer.unwrap(), [caller, n]);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    timeout(Duration::from_secs(30), client.close(Duration::from_secs(30)))
        .await
        .expect("the driver hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_from_another_thread_is_always_heard() {
    for _ in 0..300 {
        let client = start().await;
        let caller = tokio::spawn({
            let client = client.clone();
            async move { while client.request::<_, Value>("echo", &[1]).await.is_ok() {} }
        });
        tokio::task::yield_now().await;
        timeout(Duration::from_secs(30), client.close(Duration::from_secs(10)))
            .await
            .expect("the driver hears of it");
        timeout(Duration::from_secs(30), caller)
            .await
            .expect("calls end")
            .unwrap();
    }
}
