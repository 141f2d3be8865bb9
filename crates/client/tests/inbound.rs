//! What comes in beside the replies, and how a session ends.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt;
use serde_json::{Value, json};
use support::{Puppet, Text, settle};
use tower_ws_client::*;
use tower_ws_core::{DropReason, EndCause, Event, Failure, FailureKind, Lane, Outgoing, Up, jsonrpc::RpcError};

fn layer() -> ClientLayer<Text> {
    ClientLayer::new(Text)
}

async fn next(inbound: &mut Inbound) -> Option<Incoming> {
    tokio::time::timeout(Duration::from_secs(600), inbound.next())
        .await
        .expect("something comes in")
}

fn push(n: u64) -> Value {
    json!({ "jsonrpc": "2.0", "method": "push", "params": n })
}

fn request(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "method": "roots/list", "id": id })
}

/// The answers that the peer got, by id.
async fn answers(puppet: &Puppet) -> BTreeMap<String, Value> {
    let sent = puppet.sent().await;
    let answers = sent.into_iter().filter(|sent| sent["method"].is_null());
    answers.map(|answer| (answer["id"].to_string(), answer)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_lifecycle_and_the_pushes_come_in_order() {
    let (puppet, client, mut inbound) = Puppet::start(&layer());
    puppet.say(&push(1));
    puppet.down(true);
    puppet.up();
    puppet.say(&push(2));
    puppet.down(false);
    let mut seen = Vec::new();
    while let Some(item) = next(&mut inbound).await {
        seen.push(match item {
            Incoming::Up(up) => format!("up {}", up.epoch),
            Incoming::Down(down) => format!("down {} {}", down.epoch, down.will_retry),
            Incoming::Notification(said) => format!("{} {}", said.method(), said.params::<u64>().unwrap()),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(
        seen,
        ["up 1", "push 1", "down 1 true", "up 2", "push 2", "down 2 false"]
    );
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_between_two_connections_says_why() {
    let puppet = Puppet::default();
    let end_cause = EndCause::new();
    let mut up = Up::new();
    up.extensions.insert(end_cause.clone());
    puppet.event(Event::Up(up));
    let (client, mut inbound, driver) = layer().pair(puppet.clone());
    tokio::spawn(driver);
    puppet.down(true);
    settle().await;
    end_cause.set(Failure::new(FailureKind::Handshake, "gone for good").with_status(403));
    puppet.end();
    for expected in ["up", "cable", "gone for good"] {
        match next(&mut inbound).await {
            Some(Incoming::Up(_)) => assert_eq!(expected, "up"),
            Some(Incoming::Down(down)) => assert!(down.cause.to_string().contains(expected), "{down:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(next(&mut inbound).await.is_none());
    let error = client.send(Request::new("m")).await.unwrap_err();
    assert!(matches!(error, CallError::Closed(Some(cause)) if cause.status() == Some(403)));
}

#[tokio::test(start_paused = true)]
async fn by_default_the_oldest_push_goes_and_a_gap_says_so() {
    let (puppet, client, mut inbound) = Puppet::start(&layer().inbound(3, Lag::DropOldest));
    for n in 1..=10 {
        puppet.say(&push(n));
    }
    // A call is answered although nobody reads.
    let call = tokio::spawn(async move { client.send(Request::new("m")).await.map(|reply| (client, reply)) });
    settle().await;
    puppet.answer(1, &json!(1));
    let _client = call.await.unwrap().unwrap();
    assert!(
        matches!(next(&mut inbound).await, Some(Incoming::Up(_))),
        "the lifecycle stays"
    );
    assert!(matches!(next(&mut inbound).await, Some(Incoming::Gap { missed: 8 })));
    for expected in [9, 10] {
        let Some(Incoming::Notification(said)) = next(&mut inbound).await else {
            panic!()
        };
        assert_eq!(said.params::<u64>().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_read_is_bounded_by_size_too() {
    let (puppet, _client, mut inbound) = Puppet::start(&layer());
    let large = "x".repeat(Inbound::BYTES / 4);
    for n in 1..=20 {
        puppet.say(&json!({ "jsonrpc": "2.0", "method": "push", "params": [n, large] }));
    }
    settle().await;
    assert!(matches!(next(&mut inbound).await, Some(Incoming::Up(_))));
    assert!(matches!(next(&mut inbound).await, Some(Incoming::Gap { missed: 16 })));
    for expected in 17..=20 {
        let Some(Incoming::Notification(said)) = next(&mut inbound).await else {
            panic!()
        };
        assert_eq!(said.params::<(u64, String)>().unwrap().0, expected);
    }
    // There is room again.
    puppet.say(&push(21));
    assert!(matches!(next(&mut inbound).await, Some(Incoming::Notification(_))));
}

#[tokio::test(start_paused = true)]
async fn waiting_loses_nothing() {
    let (puppet, _client, mut inbound) = Puppet::start(&layer().inbound(3, Lag::Wait));
    for n in 1..=10 {
        puppet.say(&push(n));
    }
    settle().await;
    assert!(matches!(next(&mut inbound).await, Some(Incoming::Up(_))));
    for expected in 1..=10 {
        let Some(Incoming::Notification(said)) = next(&mut inbound).await else {
            panic!()
        };
        assert_eq!(said.params::<u64>().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn closing_on_lag_ends_the_session() {
    let (puppet, client, inbound) = Puppet::start(&layer().inbound(3, Lag::Close));
    for n in 1..=10 {
        puppet.say(&push(n));
    }
    settle().await;
    assert!(puppet.pull(|s| s.closed));
    assert!(matches!(
        client.send(Request::new("m")).await,
        Err(CallError::Closed(_))
    ));
    drop(inbound);
}

#[tokio::test(start_paused = true)]
async fn requests_of_the_peer_are_always_answered() {
    let (puppet, _client, mut inbound) = Puppet::start(&layer().inbound(4, Lag::DropOldest));
    next(&mut inbound).await;
    for id in 1..=5 {
        puppet.say(&request(id));
    }
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "roots/list", "id": "six" }));
    settle().await;
    let mut requests = Vec::new();
    for _ in 0..4 {
        let Some(Incoming::Request(request)) = next(&mut inbound).await else {
            panic!()
        };
        requests.push(request);
    }
    let mut requests = requests.into_iter();
    requests.next().unwrap().respond(&json!({ "roots": [] })).unwrap();
    requests
        .next()
        .unwrap()
        .reject(&RpcError::new(RpcError::METHOD_NOT_FOUND, "no \"roots\""));
    drop(requests);
    let answers = answers(&puppet).await;
    assert_eq!(answers["1"]["result"], json!({ "roots": [] }));
    assert_eq!(
        answers["2"]["error"],
        json!({ "code": -32601, "message": "no \"roots\"" })
    );
    for unhandled in ["3", "4", "5", "\"six\""] {
        assert_eq!(answers[unhandled]["error"]["code"], RpcError::BUSY, "{unhandled}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_nobody_to_read_requests_are_refused() {
    let (puppet, _client, inbound) = Puppet::start(&layer());
    puppet.say(&request(1));
    settle().await;
    drop(inbound);
    puppet.say(&request(2));
    puppet.say(&push(1));
    let answers = answers(&puppet).await;
    assert_eq!(answers["1"]["error"]["code"], RpcError::BUSY);
    assert_eq!(answers["2"]["error"]["code"], RpcError::METHOD_NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_while_nothing_else_can_go() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| s.ready = false);
    let call = client.send(Request::new("stuck"));
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "ping", "id": "p" }));
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    puppet.pull(|s| {
        assert_eq!(s.sent.len(), 1);
        assert_eq!(
            s.sent[0],
            (Lane::Control, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }))
        );
    });
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_bounded() {
    let (puppet, _client, _inbound) = Puppet::start(&layer());
    settle().await;
    puppet.pull(|s| (s.ready, s.flushable) = (false, false));
    for id in 0..1000 {
        puppet.say(&json!({ "jsonrpc": "2.0", "method": "ping", "id": id }));
    }
    assert_eq!(puppet.sent().await.len(), Lane::CONTROL_ROOM);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_is_bounded() {
    let (puppet, _client, _inbound) = Puppet::start(&layer().inbound(4, Lag::DropOldest));
    settle().await;
    puppet.pull(|s| (s.ready, s.flushable) = (false, false));
    for id in 0..10_000 {
        puppet.say(&request(id));
    }
    settle().await;
    puppet.pull(|s| (s.ready, s.flushable) = (true, true));
    let answers = puppet.sent().await.len();
    assert!(
        answers < 200,
        "{answers} answers were kept for a peer that does not read"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_only_to_the_connection_that_asked() {
    let (puppet, _client, mut inbound) = Puppet::start(&layer());
    puppet.say(&request(1));
    next(&mut inbound).await;
    let Some(Incoming::Request(asked)) = next(&mut inbound).await else {
        panic!()
    };
    puppet.down(true);
    puppet.up();
    settle().await;
    asked.respond("late").unwrap();
    assert!(puppet.sent().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_is_given_up_on_is_reported() {
    let (puppet, client, mut inbound) = Puppet::start(&layer());
    next(&mut inbound).await;
    let text = json!({ "jsonrpc": "2.0", "method": "note", "params": [1] }).to_string();
    puppet.event(Event::Dropped(Outgoing::new(text), DropReason::Overflow));
    let Some(Incoming::Undelivered {
        request: Some(request),
        reason,
    }) = next(&mut inbound).await
    else {
        panic!()
    };
    assert_eq!((request.method(), reason), ("note", DropReason::Overflow));
    assert_eq!(request.params_text().unwrap(), b"[1]");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_under_way() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.send(Request::new("slow")).await });
    settle().await;
    let closer = client.clone();
    let close = tokio::spawn(async move { closer.close(Duration::from_secs(60)).await });
    settle().await;
    assert!(!puppet.pull(|s| s.closed));
    assert!(matches!(
        client.send(Request::new("late")).await,
        Err(CallError::Closed(_))
    ));
    puppet.answer(1, &json!(1));
    assert!(call.await.unwrap().is_ok());
    let left = tokio::time::timeout(Duration::from_secs(1), close)
        .await
        .expect("it ends at once")
        .unwrap();
    assert!(left.unsent.is_empty() && left.unanswered == 0);
}

#[tokio::test(start_paused = true)]
async fn closing_hands_back_what_was_left() {
    let (puppet, client, _inbound) = Puppet::start(&layer());
    let call = |method: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.send(Request::new(method)).await })
    };
    let sent = call("sent");
    settle().await;
    puppet.pull(|s| s.hold = true);
    let held = call("held");
    settle().await;
    puppet.pull(|s| (s.hold, s.ready) = (false, false));
    let waiting = call("waiting");
    let dropped = call("dropped");
    settle().await;
    dropped.abort();
    settle().await;
    let left = tokio::time::timeout(Duration::from_secs(60), client.close(Duration::from_secs(2)))
        .await
        .unwrap();
    let methods: Vec<_> = left.unsent.iter().map(Request::method).collect();
    assert_eq!((methods, left.unanswered), (vec!["held", "waiting"], 1));
    assert!(sent.await.unwrap().unwrap_err().may_have_been_seen());
    assert!(!held.await.unwrap().unwrap_err().may_have_been_seen());
    assert!(!waiting.await.unwrap().unwrap_err().may_have_been_seen());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_client_closes_in_order() {
    let (puppet, client, mut inbound) = Puppet::start(&layer());
    let mut call = Box::pin(tower::ServiceExt::oneshot(client.clone(), Request::new("m")));
    assert!((&mut call).now_or_never().is_none());
    drop(client);
    settle().await;
    assert!(!puppet.pull(|s| s.closed), "a call is under way");
    puppet.answer(1, &json!(1));
    assert!(call.await.is_ok());
    settle().await;
    assert!(puppet.pull(|s| s.closed));
    while next(&mut inbound).await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn secrets_stay_out_of_debug() {
    let (puppet, client, mut inbound) = Puppet::start(&layer());
    next(&mut inbound).await;
    puppet.say(&json!({ "jsonrpc": "2.0", "method": "m", "params": "hunter2" }));
    puppet.say(&json!({ "jsonrpc": "2.0", "id": 1, "method": "m", "params": "hunter2" }));
    let items = [next(&mut inbound).await, next(&mut inbound).await];
    let ours = Request::new("m").params("hunter2").unwrap();
    let call = tokio::spawn({
        let (client, ours) = (client.clone(), ours.clone());
        async move { client.send(ours).await }
    });
    settle().await;
    puppet.answer(1, &json!("hunter2"));
    let reply = call.await.unwrap().unwrap();
    let shown = format!("{items:?} {ours:?} {reply:?} {client:?} {inbound:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
