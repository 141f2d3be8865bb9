//! What servers ask, and what the application answers.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use support::{connect, connected, up, within};
use tower_ws_mcp::{Answers, Elicited, McpError, Root};

fn answers() -> Answers {
    Answers::new()
        .roots(|| async { vec![Root::new("file:///a").name("a")] })
        .elicitation(|asked| async move {
            assert_eq!(asked.message, "sure?");
            Ok(Elicited::Accept {
                content: Some(json!({ "sure": true })),
            })
        })
}

#[test]
fn they_declare_what_they_answer() {
    let declared = serde_json::to_value(answers().capabilities()).unwrap();
    assert_eq!(declared, json!({ "roots": {}, "elicitation": {} }));
    assert_eq!(
        serde_json::to_value(Elicited::Decline).unwrap(),
        json!({ "action": "decline" })
    );
}

#[tokio::test(start_paused = true)]
async fn a_legacy_server_is_answered_and_one_that_asks_no_more_is_not() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.legacy().await;
    let (_mcp, inbound) = connected(connecting).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let counter = dropped.clone();
    let answers = answers().on("sampling/createMessage", move |_: Value| {
        let counts = Counts(counter.clone());
        async move {
            let _counts = counts;
            std::future::pending::<Result<Value, _>>().await
        }
    });
    let mut rest = inbound.answer_with(answers);
    up(&mut rest).await;
    let elicit = json!({ "message": "sure?", "requestedSchema": { "type": "object" } });
    for (id, method, params) in [
        (json!("a"), "roots/list", Value::Null),
        (json!("b"), "elicitation/create", elicit),
        (json!("c"), "elicitation/create", json!({ "message": 7 })),
        (json!("d"), "unknown", json!({})),
    ] {
        peer.say(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
    }
    let mut answered = std::collections::BTreeMap::new();
    while answered.len() < 4 {
        let said = peer.heard().await;
        answered.insert(said["id"].as_str().unwrap().to_owned(), said);
    }
    assert_eq!(
        answered["a"]["result"],
        json!({ "roots": [{ "uri": "file:///a", "name": "a" }] })
    );
    assert_eq!(
        answered["b"]["result"],
        json!({ "action": "accept", "content": { "sure": true } })
    );
    assert_eq!(answered["c"]["error"]["code"], -32602);
    assert_eq!(answered["d"]["error"]["code"], -32601);

    // It takes one back; the other goes with its connection.
    for id in [5, 6] {
        peer.say(json!({ "jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": {} }))
            .await;
    }
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } }))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    peer.say(json!({ "jsonrpc": "2.0", "id": "after", "method": "roots/list" }))
        .await;
    assert_eq!(peer.heard().await["id"], "after", "what was taken back is not answered");
    drop(peer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

fn question(state: u32) -> Value {
    let asked = json!({ "method": "elicitation/create", "params": { "message": "sure?" } });
    json!({ "resultType": "input_required", "inputRequests": { "q": asked }, "requestState": state.to_string() })
}

#[tokio::test(start_paused = true)]
async fn a_modern_servers_questions_are_answered_but_not_for_ever() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let mcp = mcp.answering(answers());
    let book = |mcp: &tower_ws_mcp::Mcp| {
        let mcp = mcp.clone();
        tokio::spawn(async move { mcp.call_tool("book", &json!({ "seat": 1 })).await })
    };
    let call = book(&mcp);
    for round in 0..3 {
        let (id, params) = peer.asked("tools/call").await;
        assert_eq!(params["arguments"]["seat"], 1);
        match round {
            0 => assert_eq!(params["inputResponses"], Value::Null),
            _ => {
                assert_eq!(params["inputResponses"]["q"]["content"]["sure"], true);
                assert_eq!(params["requestState"], (round - 1).to_string());
            }
        }
        let answer = match round {
            2 => json!({ "content": [{ "type": "text", "text": "done" }] }),
            _ => question(round),
        };
        peer.answer(&id, answer).await;
    }
    assert_eq!(within(call).await.unwrap().unwrap().text(), "done");

    // One that asks for ever, and one that asks what nobody answers.
    let call = book(&mcp);
    for round in 0..=tower_ws_mcp::Mcp::QUESTIONS {
        let (id, _) = peer.asked("tools/call").await;
        peer.answer(&id, question(round as u32)).await;
    }
    assert!(matches!(within(call).await.unwrap(), Err(McpError::InputRequired(_))));
    let call = book(&mcp);
    let (id, _) = peer.asked("tools/call").await;
    let asked =
        json!({ "resultType": "input_required", "inputRequests": { "q": { "method": "sampling/createMessage" } } });
    peer.answer(&id, asked).await;
    assert!(matches!(within(call).await.unwrap(), Err(McpError::InputRequired(_))));
}
