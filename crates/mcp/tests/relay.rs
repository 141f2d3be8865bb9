//! The relay: what a library of its own is told over many connections.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Peer, Server, relay, within};
use tower_ws_client::ClientLayer;
use tower_ws_core::{BoxError, Failure, FailureKind};
use tower_ws_mcp::relay::{Interrupted, Relay, RelayClosed};
use tower_ws_transport::JsonText;

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
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        // A connection that has something to read has its clocks looked at.
        peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/told" }))
            .await;
        assert_eq!(heard(&mut relay).await["method"], "notifications/told");
    }
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

/// A library that makes a request again must know whether the server has seen the first one.
#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_up_says_whether_it_was_sent() {
    let (mut relay, mut server, mut peer) = opened().await;
    let call = |id: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call" });
    let is_up = async |relay: &Relay, id: &str| {
        let id = serde_json::value::to_raw_value(id).unwrap();
        within(relay.time_is_up(id, Duration::from_secs(55))).await.unwrap();
    };
    // Of one that is not under way there is nothing to say.
    is_up(&relay, "none").await;
    say(&relay, call("sent")).await;
    let (id, _) = peer.asked("tools/call").await;
    is_up(&relay, "sent").await;
    let told = heard(&mut relay).await;
    assert_eq!(
        (&told["id"], &told["error"]["data"]["towerWs"]),
        (&json!("sent"), &json!("outcomeUnknown")),
        "{told}"
    );
    let (_, cancelled) = peer.asked("notifications/cancelled").await;
    assert_eq!(cancelled["requestId"], id);

    // Nobody is there.
    drop(peer);
    tokio::time::sleep(Duration::from_millis(100)).await;
    say(&relay, call("unsent")).await;
    is_up(&relay, "unsent").await;
    let told = loop {
        let message = heard(&mut relay).await;
        if message["id"] == "unsent" {
            break message;
        }
    };
    assert_eq!(told["error"]["data"]["towerWs"], "notSent", "{told}");
    let said = told["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("no answer within 55s; the request was not sent"),
        "{said}"
    );
    let mut peer = server.accept().await;
    peer.initialize(json!({})).await;
    say(&relay, call("next")).await;
    let next = peer.heard().await;
    assert_eq!(next["method"], "tools/call", "it never is: {next}");
    peer.answer(&next["id"], json!({})).await;
    assert_eq!(told_id(&mut relay).await, "next");
}

/// More than may be under way at a time wait for room. That two have one id is the library's fault, and
/// the others' calls go on.
#[tokio::test(start_paused = true)]
async fn an_id_that_is_used_twice_while_it_waits_for_room_ends_nothing_else() {
    const ROOM: usize = ClientLayer::MAX_CALLS;
    let (mut relay, _server, mut peer) = opened().await;
    let call = |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call" });
    for n in 1..=ROOM {
        say(&relay, call(json!(n))).await;
    }
    let mut asked = Vec::new();
    for _ in 0..ROOM {
        asked.push(peer.heard().await["id"].clone());
    }
    for _ in 0..2 {
        say(&relay, call(json!("twice"))).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Room for one after the other.
    for id in &asked[..2] {
        peer.answer(id, json!({})).await;
        let twice = peer.heard().await["id"].clone();
        peer.answer(&twice, json!({})).await;
    }
    let mut answered = Vec::new();
    for _ in 0..4 {
        answered.push(told_id(&mut relay).await);
    }
    assert_eq!(answered.iter().filter(|id| **id == "twice").count(), 2, "{answered:?}");
}

/// The id of the next answer.
async fn told_id(relay: &mut Relay) -> Value {
    loop {
        let message = heard(relay).await;
        if message.get("id").is_some() {
            return message["id"].clone();
        }
    }
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
async fn a_listen_is_known_by_the_librarys_id_and_acknowledged_once() {
    const ID: &str = "io.modelcontextprotocol/subscriptionId";
    const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
    let (mut relay, mut server) = relay();
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover" }),
    )
    .await;
    let mut peer = server.accept().await;
    peer.modern().await;
    assert_eq!(heard(&mut relay).await["id"], 0);
    let filter = json!({ "toolsListChanged": true, "resourceSubscriptions": ["mem://x"] });
    for mine in ["mine", "other"] {
        let params = json!({ "notifications": filter });
        say(
            &relay,
            json!({ "jsonrpc": "2.0", "id": mine, "method": "subscriptions/listen", "params": params }),
        )
        .await;
    }
    let acknowledge = async |peer: &mut Peer| {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (id, _) = peer.asked("subscriptions/listen").await;
            let params = json!({ "_meta": { ID: id }, "notifications": filter });
            peer.say(json!({ "jsonrpc": "2.0", "method": ACKNOWLEDGED, "params": params }))
                .await;
            ids.push(id);
        }
        ids
    };
    acknowledge(&mut peer).await;
    for mine in ["mine", "other"] {
        let acknowledged = told(&mut relay, ACKNOWLEDGED).await;
        assert_eq!(acknowledged["params"]["_meta"][ID], mine);
    }
    drop(peer);
    peer = server.accept().await;
    peer.modern().await;
    let ids = acknowledge(&mut peer).await;
    // A library that has it acknowledged waits for no second one. Anything may have changed.
    for mine in ["mine", "other"] {
        for method in ["notifications/tools/list_changed", "notifications/resources/updated"] {
            let changed = loop {
                let message = heard(&mut relay).await;
                assert_ne!(message["method"], ACKNOWLEDGED);
                if message["params"]["_meta"][ID] == mine {
                    break message;
                }
            };
            assert_eq!(changed["method"], method);
        }
    }
    // The server ends one in order, the other by taking it back.
    peer.answer(&ids[0], json!({ "resultType": "complete", "_meta": { ID: ids[0] } }))
        .await;
    let params = json!({ "requestId": ids[1], "reason": "shutting down" });
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }))
        .await;
    let ended = heard(&mut relay).await;
    assert_eq!(
        (&ended["id"], &ended["result"]["_meta"][ID]),
        (&json!("mine"), &json!("mine"))
    );
    let cancelled = heard(&mut relay).await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(
        cancelled["params"],
        json!({ "requestId": "other", "reason": "shutting down" })
    );
}

#[tokio::test(start_paused = true)]
async fn annotations_are_believed_on_request() {
    for trusts in [false, true] {
        let (mut relay, mut server, mut peer) = opened().await;
        if trusts {
            relay = relay.trust_annotations();
        }
        say(&relay, json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
        let (id, _) = peer.asked("tools/list").await;
        let tools = json!([{ "name": "read", "annotations": { "readOnlyHint": true } }, { "name": "write" }, 7]);
        peer.answer(&id, json!({ "tools": tools })).await;
        assert_eq!(heard(&mut relay).await["id"], 1);
        for (id, name) in [(2, "read"), (3, "write")] {
            let params = json!({ "name": name });
            say(
                &relay,
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }),
            )
            .await;
            peer.asked("tools/call").await;
        }
        drop(peer);
        let mut peer = server.accept().await;
        peer.initialize(json!({})).await;
        let unknown = |message: &Value| message["error"]["data"]["towerWs"] == "outcomeUnknown";
        let mut answers = Vec::new();
        if trusts {
            let (id, params) = peer.asked("tools/call").await;
            assert_eq!(params["name"], "read");
            peer.answer(&id, json!({})).await;
        }
        while answers.len() < 2 {
            let message = heard(&mut relay).await;
            if message.get("id").is_some() {
                answers.push((message["id"].as_u64(), unknown(&message)));
            }
        }
        answers.sort_unstable();
        assert_eq!(answers, [(Some(2), !trusts), (Some(3), true)]);
    }
}

#[tokio::test(start_paused = true)]
async fn roots_that_change_concern_legacy_servers_only() {
    let (mut relay, mut server) = relay();
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover" }),
    )
    .await;
    let mut modern = server.accept().await;
    modern.modern().await;
    assert_eq!(heard(&mut relay).await["id"], 0);
    let (legacy, _server, mut peer) = opened().await;
    for relay in [&relay, &legacy] {
        for method in ["notifications/roots/list_changed", "notifications/other"] {
            say(relay, json!({ "jsonrpc": "2.0", "method": method })).await;
        }
    }
    assert_eq!(modern.heard().await["method"], "notifications/other");
    assert_eq!(peer.heard().await["method"], "notifications/roots/list_changed");
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

#[tokio::test(start_paused = true)]
async fn a_second_introduction_is_answered_by_the_relay_itself() {
    let (mut relay, _server, mut peer) = opened().await;
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    )
    .await;
    say(&relay, serde_json::from_str(&initialize("2025-11-25")).unwrap()).await;
    let answer = heard(&mut relay).await;
    assert_eq!(
        (&answer["id"], &answer["result"]["serverInfo"]["name"]),
        (&json!(0), &json!("old"))
    );
    // What is no message of the protocol is passed on to nobody.
    for nonsense in ["{", "7", r#"{"jsonrpc":"2.0"}"#] {
        within(relay.send(nonsense.to_owned())).await.unwrap();
    }
    say(&relay, json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })).await;
    peer.asked("ping").await;
}

#[tokio::test(start_paused = true)]
async fn a_library_that_tries_the_modern_way_first_is_told_which_it_is() {
    let (mut relay, mut server) = relay();
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": 7, "method": "server/discover" }),
    )
    .await;
    let mut peer = server.accept().await;
    peer.legacy().await;
    let answer = heard(&mut relay).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32601)));
    say(&relay, serde_json::from_str(&initialize("2025-11-25")).unwrap()).await;
    assert_eq!(heard(&mut relay).await["result"]["serverInfo"]["name"], "old");

    // And the other way round: who initializes a modern server is told so.
    let (mut relay, mut server) = support::relay();
    say(
        &relay,
        json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover" }),
    )
    .await;
    server.accept().await.modern().await;
    heard(&mut relay).await;
    say(&relay, serde_json::from_str(&initialize("2025-11-25")).unwrap()).await;
    assert_eq!(heard(&mut relay).await["error"]["code"], -32022);
}

/// One that neither initializes nor discovers is told by its first request.
#[tokio::test(start_paused = true)]
async fn a_library_that_just_begins_is_served() {
    let (mut relay, mut server) = relay();
    say(&relay, json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/list" })).await;
    let mut peer = server.accept().await;
    peer.initialize(json!({ "tools": {} })).await;
    let (id, _) = peer.asked("tools/list").await;
    peer.answer(&id, json!({ "tools": [] })).await;
    let answer = heard(&mut relay).await;
    assert_eq!((&answer["id"], &answer["result"]["tools"]), (&json!(3), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn the_librarys_errors_reach_the_server_and_the_servers_the_library() {
    let (mut relay, _server, mut peer) = opened().await;
    peer.say(json!({ "jsonrpc": "2.0", "id": "s", "method": "roots/list" }))
        .await;
    let asked = told(&mut relay, "roots/list").await;
    let error = json!({ "code": -1, "message": "no roots" });
    say(&relay, json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error })).await;
    let answer = peer.heard().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["message"]),
        (&json!("s"), &json!("no roots"))
    );

    say(&relay, json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call" })).await;
    let (id, _) = peer.asked("tools/call").await;
    peer.refuse(&id, -5, json!("why")).await;
    let answer = heard(&mut relay).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(4), &json!(-5)));
    // An error of no request in particular.
    peer.refuse(&Value::Null, -32700, Value::Null).await;
    let answer = heard(&mut relay).await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&Value::Null, &json!(-32700))
    );
}

#[tokio::test(start_paused = true)]
async fn closing_says_goodbye_and_marks_what_was_lost() {
    let (mut relay, _server, mut peer) = opened().await;
    assert!(!relay.is_closed());
    assert_eq!(format!("{relay:?}"), "Relay { closed: false, .. }");
    say(&relay, json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call" })).await;
    peer.asked("tools/call").await;
    within(relay.close()).await;
    assert!(relay.is_closed());
    assert_eq!(within(relay.send("{}".to_owned())).await, Err(RelayClosed));
    assert_eq!(within(relay.recv()).await, None);

    // What a lost connection leaves unanswered has a mark that the library can read.
    let (mut relay, _server, mut peer) = opened().await;
    say(&relay, json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call" })).await;
    peer.asked("tools/call").await;
    drop(peer);
    let answer = loop {
        let message = heard(&mut relay).await;
        if message["id"] == 1 {
            break message;
        }
    };
    let code = answer["error"]["code"].as_i64().unwrap();
    let mark = Interrupted::of(code, answer["error"].get("data"));
    assert_eq!(mark, Some(Interrupted::OutcomeUnknown), "{answer}");
    assert_eq!(Interrupted::of(-1, answer["error"].get("data")), None);
    assert_eq!(Interrupted::of(code, Some(&json!("the server's own"))), None);
}
