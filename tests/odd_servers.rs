//! Servers that are there, and do not do as they should: one works on one request at a time and
//! answers nothing else meanwhile, one gives ids back as another type and tells every client of
//! everything.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::broadcast,
    time::{sleep, timeout},
};
use tokio_tungstenite::{accept_async, tungstenite::Message};
use tower_ws::{
    Incoming,
    health::HealthLayer,
    mcp::{self, Implementation},
};

const SECOND: Duration = Duration::from_secs(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(60 * SECOND, future).await.expect("it hangs")
}

fn me() -> Implementation {
    Implementation::new("test", "1")
}

/// The result of a request, for a server with one tool.
fn result(asked: &Value) -> Value {
    match asked["method"].as_str() {
        Some("server/discover") => {
            json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } })
        }
        _ => json!({ "content": [{ "type": "text", "text": asked["params"]["arguments"]["text"] }] }),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// One request at a time, half a second each; a ping waits its turn.
async fn serial(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let asked: Value = serde_json::from_str(&text).unwrap();
            if asked["method"] == "tools/call" {
                sleep(SECOND / 2).await;
            }
            if asked["id"].is_null() {
                continue;
            }
            let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result(&asked) });
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_works_on_one_request_at_a_time_is_not_taken_for_dead() {
    let (listener, url) = listen().await;
    tokio::spawn(serial(listener));
    let health = HealthLayer::new().interval(SECOND / 4).timeout(SECOND);
    let builder = mcp::builder(url, me()).stack(|stack| stack.health(health));
    let (mcp, mut inbound) = within(builder.connect()).await.unwrap();
    let calls = (0..6).map(|n| {
        let mcp = &mcp;
        async move {
            mcp.call_tool("echo", &json!({ "text": n.to_string() }))
                .await
                .unwrap()
                .text()
        }
    });
    let answers = within(join_all(calls)).await;
    assert_eq!(answers, ["0", "1", "2", "3", "4", "5"]);
    assert!(matches!(within(inbound.next()).await, Some(Incoming::Up(up)) if up.epoch == 1));
    assert!(
        timeout(SECOND / 2, inbound.next()).await.is_err(),
        "the connection has stayed"
    );
}

/// Ids come back as strings, or as fractions; whatever is said to one client is said to all.
async fn gateway(listener: TcpListener) {
    let all = broadcast::Sender::<String>::new(4096);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (all, mut everything) = (all.clone(), all.subscribe());
        tokio::spawn(async move {
            let (mut write, mut read) = accept_async(stream).await.unwrap().split();
            let mut odd = false;
            loop {
                tokio::select! {
                    said = everything.recv() => {
                        if write.send(Message::text(said.unwrap())).await.is_err() {
                            return;
                        }
                    }
                    message = read.next() => {
                        let Some(Ok(message)) = message else { return };
                        let Message::Text(text) = message else { continue };
                        let asked: Value = serde_json::from_str(&text).unwrap();
                        let Some(id) = asked["id"].as_u64() else { continue };
                        if let Some(token) = asked["params"]["_meta"].get("progressToken") {
                            let params = json!({ "progressToken": token, "progress": 1 });
                            let _ = all.send(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }).to_string());
                        }
                        odd = !odd;
                        let id = if odd { format!("\"{id}\"") } else { format!("{id}.0") };
                        let result = result(&asked);
                        let _ = all.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
                        // And once more.
                        let _ = all.send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn what_is_said_to_everybody_is_taken_only_by_the_one_it_is_for() {
    let (listener, url) = listen().await;
    tokio::spawn(gateway(listener));
    let clients = (0..8).map(|client| {
        let url = &url;
        async move {
            let (mcp, mut inbound) = mcp::connect(url, me()).await.unwrap();
            for n in 0..20 {
                let text = format!("{client} {n}");
                let request = mcp.tool_request("echo", &json!({ "text": text })).unwrap();
                let tracked = mcp.track(request).await.unwrap();
                let mut reports = tracked.reports();
                let answer: mcp::CallToolResult = tracked.result().await.unwrap();
                assert_eq!(answer.text(), text);
                assert_eq!(reports.next().await.map(|report| report.progress), Some(1.0));
                assert_eq!(
                    reports.next().await.map(|report| report.progress),
                    None,
                    "others' progress"
                );
            }
            assert!(matches!(inbound.next().await, Some(Incoming::Up(_))));
            mcp
        }
    });
    // All stay to the end: what is said to everybody then finds everybody.
    let clients = within(join_all(clients)).await;
    assert_eq!(clients.len(), 8);
}
