//! Answers as peers give them: out of order, out of form, several at once.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Puppet, Text, settle};
use tokio::task::JoinHandle;
use tower_ws_client::*;
use tower_ws_core::{Causes, Event};

/// Calls once for each text, which gets the call's id for `ID`, and returns how each ended.
async fn answered<const N: usize>(texts: [&str; N]) -> [Result<Value, CallError>; N] {
    let (puppet, client, inbound) = Puppet::start(&ClientLayer::new(Text));
    let calls = texts.map(|_| call(&client));
    settle().await;
    for (text, request) in texts.into_iter().zip(puppet.sent().await) {
        puppet.event(Event::Message(text.replace("ID", &request["id"].to_string())));
    }
    drop(inbound);
    let mut outcomes = Vec::new();
    for call in calls {
        // At once: no call waits for its limit.
        let outcome = tokio::time::timeout(Duration::from_secs(1), call).await;
        outcomes.push(outcome.expect("it is settled").unwrap());
    }
    outcomes.try_into().unwrap()
}

fn call(client: &Client) -> JoinHandle<Result<Value, CallError>> {
    let client = client.clone();
    tokio::spawn(async move { client.request("m", &()).await })
}

#[tokio::test(start_paused = true)]
async fn one_reading_whatever_the_order() {
    let outcomes = answered([
        r#"{"jsonrpc":"2.0","id":ID,"result":null,"error":{"code":-1,"message":"no"}}"#,
        r#"{"error":{"code":-1,"message":"no"},"result":null,"id":ID,"jsonrpc":"2.0"}"#,
    ])
    .await;
    for outcome in outcomes {
        assert!(matches!(outcome, Err(CallError::Rpc(error)) if error.code == -1));
    }
    let outcomes = answered([
        r#"{"jsonrpc":"2.0","id":ID,"result":1,"error":null}"#,
        r#"{"error":null,"id":"ID","result":1,"jsonrpc":"2.0"}"#,
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":1}",
    ])
    .await;
    for outcome in outcomes {
        assert_eq!(outcome.unwrap(), json!(1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_form_ends_its_call_with_the_peers_words() {
    let outcomes = answered([
        r#"{"id":ID,"result":"words"}"#,
        r#"{"jsonrpc":"1.0","id":ID,"result":"words"}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":"words","error":{"code":1,"message":""}}"#,
        r#"{"error":{"code":1,"message":"words"},"jsonrpc":"2.0","id":ID,"result":1}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":1,"method":"words"}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":"words","result":2}"#,
        r#"{"jsonrpc":"2.0","id":ID,"words":1}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":words}"#,
    ])
    .await;
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(matches!(error, CallError::Malformed(_)) && error.may_have_been_seen());
        let line = Causes(&error).to_string();
        assert!(line.contains("out of form") && line.contains("words"), "{line}");
    }
    let [odd] = answered([r#"{"jsonrpc":"2.0","id":ID,"error":"words"}"#]).await;
    assert!(matches!(odd, Err(CallError::Rpc(error)) if error.message == "words"));
}

#[tokio::test(start_paused = true)]
async fn two_ids_settle_nobody() {
    let (puppet, client, _inbound) = Puppet::start(&ClientLayer::new(Text));
    let call = call(&client);
    settle().await;
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"result":1,"id":2}"#,
        r#"{"jsonrpc":"2.0","id":2,"id":1,"result":1}"#,
    ] {
        puppet.event(Event::Message(text.into()));
    }
    settle().await;
    assert!(!call.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_error_under_no_id_of_ours_is_told() {
    let (puppet, _client, mut inbound) = Puppet::start(&ClientLayer::new(Text));
    for id in [r#""id":null,"#, "", r#""id":"abc","#] {
        let text = format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-32700,"message":"what?"}}}}"#);
        puppet.event(Event::Message(text));
    }
    assert!(matches!(inbound.next().await, Some(Incoming::Up(_))));
    for _ in 0..3 {
        match inbound.next().await {
            Some(Incoming::Error(error)) => assert_eq!((error.code, &*error.message), (-32700, "what?")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_read_in_order_and_answered_one_by_one() {
    let (puppet, client, mut inbound) = Puppet::start(&ClientLayer::new(Text));
    let calls = [call(&client), call(&client)];
    settle().await;
    puppet.say(&json!([
        { "jsonrpc": "2.0", "method": "first" },
        { "jsonrpc": "2.0", "id": 2, "result": "b" },
        [{ "jsonrpc": "2.0", "method": "nested" }],
        { "jsonrpc": "2.0", "id": "x", "method": "ping" },
        1,
        { "jsonrpc": "2.0", "id": 1, "result": "a" },
        { "jsonrpc": "2.0", "method": "last" },
    ]));
    let [first, second] = calls;
    assert_eq!(first.await.unwrap().unwrap(), json!("a"));
    assert_eq!(second.await.unwrap().unwrap(), json!("b"));
    assert!(matches!(inbound.next().await, Some(Incoming::Up(_))));
    for method in ["first", "last"] {
        match inbound.next().await {
            Some(Incoming::Notification(said)) => assert_eq!(said.method(), method),
            other => panic!("{other:?}"),
        }
    }
    let pong = puppet.sent().await.pop().unwrap();
    assert_eq!(pong, json!({ "jsonrpc": "2.0", "id": "x", "result": {} }));

    // More than may be: none of it.
    let push = json!({ "jsonrpc": "2.0", "method": "push" });
    puppet.say(&Value::Array(vec![push.clone(); 1025]));
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "after" }));
    match inbound.next().await {
        Some(Incoming::Notification(said)) => assert_eq!(said.method(), "after"),
        other => panic!("{other:?}"),
    }
}
