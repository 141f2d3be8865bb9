//! What real servers and their clients say to each other, as the pages named in `captures/` have
//! it, with a layer between them, and with connections that are lost.
//!
//! | a line | is |
//! |---|---|
//! | `>` | the application says this, and the server hears it |
//! | `<` | the server says this, and the application hears it |
//! | `=` | what is heard of the line before, if that is something else |
//! | `>>` | the server hears this, and the application has not said it |
//! | `<<` | the server says this, and the application hears nothing of it |
//! | `---` | the connection is lost, and there is another |
//!
//! `"$name"` is whatever stands there first, and the same from then on.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};
use support::{Session, read};
use tower_ws_core::{DropReason, Event, Outgoing};
use tower_ws_subscribe::{Channels, Dialect, GraphQl, JsonRpc, Sequenced, SubscribeLayer};
use tower_ws_transport::JsonText;

async fn plays(dialect: impl Dialect<String>, capture: &str) {
    let mut session = Session::begin(SubscribeLayer::new(dialect)).await;
    let mut names = HashMap::new();
    let mut lines = capture.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let (mark, said) = line.split_once(' ').unwrap_or((line, "null"));
        let said: Value = serde_json::from_str(said).unwrap();
        let mut heard = || match lines.next_if(|next| next.starts_with("= ")) {
            Some(other) => serde_json::from_str(&other[2..]).unwrap(),
            None => said.clone(),
        };
        match mark {
            ">" => {
                session.send(&said).await;
                assert_eq!(session.heard(), [heard()], "{line}");
            }
            "<" => assert_eq!(session.told(said.clone()).await, heard(), "{line}"),
            ">>" => {
                let mut expected = vec![said.clone()];
                while let Some(next) = lines.next_if(|next| next.starts_with(">> ")) {
                    expected.push(serde_json::from_str(&next[3..]).unwrap());
                }
                let heard = session.heard();
                assert_eq!(heard.len(), expected.len(), "{line}: {heard:?}");
                for (heard, expected) in heard.iter().zip(&expected) {
                    names.retain(|name, _| !expected.to_string().contains(name));
                    assert!(is_like(heard, expected, &mut names), "{heard} is not {expected}");
                }
            }
            "<<" => session.swallowed(filled(&said, &names)).await,
            "---" => session.redial().await,
            _ => panic!("{line}"),
        }
    }
    assert!(session.heard().is_empty());
}

type Names = HashMap<String, Value>;

fn is_like(heard: &Value, expected: &Value, names: &mut Names) -> bool {
    match (heard, expected) {
        (_, Value::String(name)) if name.starts_with('$') => {
            names.entry(name.clone()).or_insert_with(|| heard.clone()) == heard
        }
        (Value::Object(heard), Value::Object(expected)) => {
            heard.len() == expected.len()
                && expected
                    .iter()
                    .all(|(key, value)| heard.get(key).is_some_and(|heard| is_like(heard, value, names)))
        }
        _ => heard == expected,
    }
}

fn filled(said: &Value, names: &Names) -> Value {
    match said {
        Value::String(name) if name.starts_with('$') => names[name].clone(),
        Value::Object(members) => {
            let filled = members.iter().map(|(key, value)| (key.clone(), filled(value, names)));
            filled.collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn ethereum() {
    plays(JsonRpc::ethereum(JsonText), include_str!("captures/ethereum.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn polkadot() {
    plays(JsonRpc::polkadot(JsonText), include_str!("captures/polkadot.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn solana() {
    plays(JsonRpc::solana(JsonText), include_str!("captures/solana.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn okx() {
    plays(Channels::okx(JsonText), include_str!("captures/okx.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn bybit() {
    plays(Channels::bybit(JsonText), include_str!("captures/bybit.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn binance() {
    plays(Channels::binance(JsonText), include_str!("captures/binance.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn graphql() {
    plays(GraphQl::new(JsonText), include_str!("captures/graphql.txt")).await;
}

#[tokio::test(start_paused = true)]
async fn channels_are_read_by_a_handle() {
    let (layer, handle) = SubscribeLayer::pair(Channels::okx(JsonText));
    let mut session = Session::begin(layer).await;
    let arg = json!({ "channel": "tickers", "instId": "BTC-USDT" });
    let said = json!({ "id": "0", "op": "subscribe", "args": [arg] });
    let mut tickers = handle.subscribe(said.to_string());
    session.quiet().await;
    let heard = session.heard_one();
    assert!(heard["id"].is_string());
    session
        .swallowed(json!({ "id": heard["id"], "event": "subscribe", "arg": arg, "connId": "1" }))
        .await;
    session.swallowed(json!({ "arg": arg, "data": [1] })).await;
    let seen = read(&mut tickers).await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    drop(tickers);
    session.quiet().await;
    let heard = session.heard_one();
    assert_eq!((&heard["op"], &heard["args"][0]), (&json!("unsubscribe"), &arg));
    session
        .swallowed(json!({ "event": "unsubscribe", "arg": arg, "connId": "1" }))
        .await;
}

#[tokio::test(start_paused = true)]
async fn one_of_several_channels_may_be_refused() {
    let (layer, handle) = SubscribeLayer::pair(Channels::new(JsonText));
    let mut session = Session::begin(layer).await;
    let mut both = handle.subscribe(json!({ "op": "subscribe", "channel": ["a", "b"] }).to_string());
    session.quiet().await;
    session.heard();
    session
        .swallowed(json!({ "event": "error", "channel": "a", "msg": "no such channel" }))
        .await;
    session.swallowed(json!({ "channel": "b", "data": 1 })).await;
    assert_eq!(read(&mut both).await.len(), 2);
    session.redial().await;
    assert_eq!(session.heard_one(), json!({ "op": "subscribe", "channel": ["b"] }));
}

#[tokio::test(start_paused = true)]
async fn what_else_a_message_says_is_part_of_the_name() {
    let mut session = Session::begin(SubscribeLayer::new(Channels::new(JsonText))).await;
    let coinbase = |verb: &str, product: &str| json!({ "op": verb, "channel": "level2", "product_ids": [product] });
    session.send(coinbase("subscribe", "ETH-USD")).await;
    session.send(coinbase("subscribe", "BTC-USD")).await;
    session.send(coinbase("unsubscribe", "ETH-USD")).await;
    session.heard();
    session.redial().await;
    assert_eq!(session.heard_one(), coinbase("subscribe", "BTC-USD"));
}

#[tokio::test(start_paused = true)]
async fn no_name_gets_into_a_log() {
    let (layer, handle) = SubscribeLayer::pair(Channels::new(JsonText));
    let mut changes = handle.changes();
    let mut session = Session::begin(layer).await;
    session
        .send(json!({ "op": "subscribe", "channel": "orders", "jwt": "hunter2" }))
        .await;
    let change = changes.try_recv().unwrap();
    assert!(change.name.contains("hunter2"), "it is part of the name");
    assert!(!format!("{change:?} {:?} {handle:?}", session.layer).contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn graphql_is_read_by_a_handle_and_ends_with_the_reason() {
    let (layer, handle) = SubscribeLayer::pair(GraphQl::new(JsonText));
    let mut session = Session::begin(layer).await;
    let said = |id: &str| json!({ "id": id, "type": "subscribe", "payload": { "query": "subscription { a }" } });
    let mut a = handle.subscribe(said("a").to_string());
    let b = handle.subscribe(said("b").to_string());
    session.quiet().await;
    assert_eq!(session.heard(), [said("a"), said("b")]);
    session
        .swallowed(json!({ "id": "a", "type": "next", "payload": { "data": 1 } }))
        .await;
    session
        .swallowed(json!({ "id": "a", "type": "error", "payload": [{ "message": "gone" }] }))
        .await;
    let seen = read(&mut a).await;
    assert_eq!((seen.len(), &*seen[0], &*seen[3]), (4, "Active", "Ended"), "{seen:?}");
    drop(b);
    session.quiet().await;
    assert_eq!(session.heard(), [json!({ "id": "b", "type": "complete" })]);
}

fn seq(message: &str) -> Option<u64> {
    serde_json::from_str::<Value>(message).ok()?["seq"].as_u64()
}

#[tokio::test(start_paused = true)]
async fn a_subscription_resumes_after_the_last_number_that_came() {
    let dialect =
        Sequenced::new(Channels::new(JsonText), |told: &String| seq(told)).resume(|began: &String, last: u64| {
            let mut began: Value = serde_json::from_str(began).ok()?;
            began["from"] = (last + 1).into();
            Some(began.to_string())
        });
    let (layer, handle) = SubscribeLayer::pair(dialect);
    let mut session = Session::begin(layer).await;
    let began = json!({ "op": "subscribe", "channel": "trades" });
    session.send(&began).await;
    assert_eq!(session.heard_one(), began);
    let trade = |seq: u64| json!({ "channel": "trades", "seq": seq });
    for seq in [5, 6, 9] {
        assert_eq!(session.told(trade(seq)).await, trade(seq));
    }
    session.swallowed(trade(9)).await;
    session.redial().await;
    assert_eq!(
        session.heard_one(),
        json!({ "op": "subscribe", "channel": "trades", "from": 10 })
    );
    session.swallowed(trade(9)).await;
    assert_eq!(session.told(trade(10)).await, trade(10));
    let now = handle.snapshot();
    assert_eq!((now.duplicates, now.missed), (2, 2));
    session.redial().await;
    assert_eq!(session.heard_one()["from"], 11);
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_is_told_of_missing_numbers_where_they_are_missing() {
    let (layer, handle) = SubscribeLayer::pair(Sequenced::new(Channels::new(JsonText), |told: &String| seq(told)));
    let mut session = Session::begin(layer).await;
    let began = json!({ "op": "subscribe", "channel": "trades" });
    let mut trades = handle.subscribe(began.to_string());
    session.quiet().await;
    for seq in [5, 7] {
        session.swallowed(json!({ "channel": "trades", "seq": seq })).await;
    }
    session.redial().await;
    assert_eq!(
        session.heard(),
        [began.clone(), began],
        "without a way to resume it is said as it was"
    );
    // They begin anew.
    session.swallowed(json!({ "channel": "trades", "seq": 1 })).await;
    let seen = read(&mut trades).await;
    let seen: Vec<_> = seen
        .iter()
        .map(|item| if item.starts_with('{') { "item" } else { item })
        .collect();
    assert_eq!(seen, ["Active", "item", "Missed", "item", "Lost", "Resumed", "item"]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_several_want_is_said_once_and_ends_with_the_last() {
    let (layer, handle) = SubscribeLayer::pair(Channels::new(JsonText));
    let mut session = Session::begin(layer).await;
    let say = |verb: &str| json!({ "op": verb, "channel": "trades" });
    let mut first = handle.subscribe(say("subscribe").to_string());
    let second = handle.subscribe(say("subscribe").to_string());
    session.quiet().await;
    assert_eq!(session.heard_one(), say("subscribe"));
    assert_eq!(handle.snapshot().active, 2);
    // The application has it, too.
    session.send(say("subscribe")).await;
    assert_eq!(session.heard_one(), say("subscribe"));
    let trade = json!({ "channel": "trades", "data": 1 });
    assert_eq!(session.told(trade.clone()).await, trade);
    assert_eq!(read(&mut first).await.len(), 2);
    session.redial().await;
    assert_eq!(session.heard_one(), say("subscribe"));
    assert_eq!(session.told(trade.clone()).await, trade);
    // It takes back its own.
    session.send(say("unsubscribe")).await;
    assert!(matches!(
        session.next().await,
        Some(Event::Dropped(_, DropReason::Refused(_)))
    ));
    session.swallowed(trade).await;
    drop(first);
    session.quiet().await;
    assert!(session.heard().is_empty());
    drop(second);
    session.quiet().await;
    assert_eq!(session.heard_one(), say("unsubscribe"));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_twice_and_comes_back_once_stands() {
    let mut session = Session::begin(SubscribeLayer::new(Channels::new(JsonText))).await;
    let say = |channels: &[&str]| json!({ "op": "subscribe", "channel": channels });
    session.send(say(&["a", "b"])).await;
    session.send(say(&["b", "c"])).await;
    session.heard();
    let item = session.server.sent_items().pop().unwrap();
    session.server.event(Event::Dropped(item, DropReason::Disconnected));
    assert!(matches!(session.next().await, Some(Event::Dropped(..))));
    // What goes in the other lane is no subscription, neither on its way nor back.
    let other = Outgoing::new(say(&["a", "b"]).to_string()).control();
    session.server.event(Event::Dropped(other, DropReason::Disconnected));
    assert!(matches!(session.next().await, Some(Event::Dropped(..))));
    session.redial().await;
    assert_eq!(session.heard_one(), say(&["a", "b"]));
}
