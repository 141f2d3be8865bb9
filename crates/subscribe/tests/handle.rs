//! Subscriptions that are made and read by a handle, over a connection that the test plays.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use support::{Session, answer, ethereum, gone, news, read, subscribe, unsubscribe};
use tower_ws_core::{DropReason, Event};
use tower_ws_subscribe::{Ended, Handle, Heard, JsonRpc, Lag, SubscribeError, SubscribeLayer, Update};
use tower_ws_transport::JsonText;

async fn session() -> (Session<JsonRpc<JsonText>>, Handle<String>) {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    (Session::begin(layer).await, handle)
}

#[tokio::test(start_paused = true)]
async fn what_a_handle_asks_for_is_the_layer_s_own_business() {
    let (mut session, handle) = session().await;
    let mut heads = handle.subscribe(subscribe(0, "newHeads").to_string());
    session.quiet().await;
    session.subscribed_again("newHeads", json!("0xa")).await;
    session.swallowed(news(json!("0xa"), json!(1))).await;
    session.swallowed(news(json!("0xa"), json!(2))).await;
    assert_eq!(read(&mut heads).await, ["Active", "1", "2"]);
    // What belongs to nobody's subscription passes.
    assert_eq!(
        session.told(news(json!("0xf"), json!(9))).await,
        news(json!("0xf"), json!(9))
    );

    tokio::time::advance(Duration::from_secs(3)).await;
    session.down().await;
    tokio::time::advance(Duration::from_secs(4)).await;
    session.up().await;
    session.quiet().await;
    session.subscribed_again("newHeads", json!("0xb")).await;
    session.swallowed(news(json!("0xb"), json!(3))).await;
    assert!(matches!(heads.next().await, Some(Heard::Update(Update::Lost { .. }))));
    match heads.next().await {
        Some(Heard::Update(Update::Resumed(gap))) => {
            assert_eq!(gap.to - gap.from, Duration::from_secs(4));
            assert_eq!(gap.why.to_string(), gone().to_string());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(read(&mut heads).await, ["3"]);

    drop(heads);
    session.quiet().await;
    let end = session.heard_one();
    assert_eq!(end, unsubscribe(end["id"].as_u64().unwrap(), json!("0xb")));
    session.swallowed(answer(&end["id"], json!(true))).await;
    session.redial().await;
    assert!(session.heard().is_empty());
    assert_eq!((handle.snapshot().standing, handle.snapshot().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_in_an_outage_or_before_a_session_begins_later() {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    let mut first = handle.subscribe(subscribe(0, "a").to_string());
    let mut session = Session::begin(layer).await;
    session.quiet().await;
    session.subscribed_again("a", json!("0xa")).await;
    session.down().await;
    let mut second = handle.subscribe(subscribe(0, "b").to_string());
    session.quiet().await;
    assert!(session.heard().is_empty());
    session.up().await;
    session.quiet().await;
    let heard = session.heard();
    assert_eq!([&heard[0]["params"][0], &heard[1]["params"][0]], ["a", "b"]);
    session.swallowed(answer(&heard[1]["id"], json!("0xb"))).await;
    assert_eq!(read(&mut second).await, ["Active"]);
    session.swallowed(answer(&heard[0]["id"], json!("0xc"))).await;
    assert_eq!(read(&mut first).await, ["Active", "Lost", "Resumed"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_back_wherever_it_stands() {
    // Before it is said.
    let (mut session, handle) = session().await;
    drop(handle.subscribe(subscribe(0, "a").to_string()));
    session.server.takes(0);
    session.quiet().await;
    drop(handle.subscribe(subscribe(0, "b").to_string()));
    session.quiet().await;
    session.server.set_ready(true);
    session.quiet().await;
    assert!(session.heard().is_empty());
    // Before it is answered.
    let subscription = handle.subscribe(subscribe(0, "c").to_string());
    session.quiet().await;
    let said = session.heard_one();
    drop(subscription);
    session.quiet().await;
    assert!(session.heard().is_empty());
    session.swallowed(answer(&said["id"], json!("0xc"))).await;
    assert_eq!(session.heard_one()["params"], json!(["0xc"]));
    // In an outage.
    let subscription = handle.subscribe(subscribe(0, "d").to_string());
    session.quiet().await;
    session.subscribed_again("d", json!("0xd")).await;
    session.down().await;
    drop(subscription);
    session.up().await;
    session.quiet().await;
    assert!(session.heard().is_empty());
    assert_eq!(handle.snapshot().standing, 0);
}

#[tokio::test(start_paused = true)]
async fn two_that_are_one_to_the_server_are_taken_back_with_the_last() {
    let (mut session, handle) = session().await;
    let mut first = handle.subscribe(subscribe(0, "a").to_string());
    let mut second = handle.subscribe(subscribe(0, "a").to_string());
    session.quiet().await;
    for said in session.heard() {
        session.swallowed(answer(&said["id"], json!(5))).await;
    }
    session.swallowed(news(json!(5), json!("x"))).await;
    assert_eq!(read(&mut first).await, ["Active", "\"x\""]);
    assert_eq!(read(&mut second).await, ["Active", "\"x\""]);
    drop(first);
    session.quiet().await;
    assert!(session.heard().is_empty());
    drop(second);
    session.quiet().await;
    assert_eq!(session.heard_one()["params"], json!([5]));
}

#[tokio::test(start_paused = true)]
async fn the_session_s_end_is_told_to_each() {
    let (mut session, handle) = session().await;
    let mut a = handle.subscribe(subscribe(0, "a").to_string());
    session.quiet().await;
    session.server.down(gone(), false);
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    assert!(matches!(
        a.next().await,
        Some(Heard::Update(Update::Ended(Ended::Closed(Some(why))))) if why.to_string() == gone().to_string()
    ));
    assert!(a.next().await.is_none());
    let mut late = handle.subscribe(subscribe(0, "b").to_string());
    session.server.end();
    while session.next().await.is_some() {}
    drop(session);
    assert!(matches!(
        late.next().await,
        Some(Heard::Update(Update::Ended(Ended::Closed(_))))
    ));
    let mut later = handle.subscribe(subscribe(0, "b").to_string());
    assert!(matches!(
        later.next().await,
        Some(Heard::Update(Update::Ended(Ended::Closed(None))))
    ));
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many() {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    let mut session = Session::begin(layer.room(1, usize::MAX)).await;
    let mut first = handle.subscribe(subscribe(0, "a").to_string());
    let mut second = handle.subscribe(subscribe(0, "b").to_string());
    session.quiet().await;
    assert_eq!(session.heard().len(), 1);
    assert!(read(&mut first).await.is_empty());
    assert!(matches!(
        second.next().await,
        Some(Heard::Update(Update::Ended(Ended::NoRoom {
            what: "number",
            limit: 1
        })))
    ));
    // And as many before a session looks.
    let (_layer, handle) = SubscribeLayer::<_, String>::pair(ethereum());
    let mut all: Vec<_> = (0..1025).map(|_| handle.subscribe(String::new())).collect();
    assert_eq!(read(&mut all[1024]).await, ["Ended"]);
    assert!(read(&mut all[1023]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_who_wants_to_be_waited_for_is() {
    let (mut session, handle) = session().await;
    let mut a = handle.subscribe_with(subscribe(0, "a").to_string(), 2, Lag::Wait);
    session.quiet().await;
    session.subscribed_again("a", json!("0xa")).await;
    assert_eq!(read(&mut a).await, ["Active"]);
    for n in 0..5 {
        session.server.say(news(json!("0xa"), json!(n)).to_string());
    }
    session.server.say("\"other\"".to_owned());
    session.quiet().await;
    // Meanwhile one can write.
    session.send("mine").await;
    assert_eq!(session.heard_one(), "mine");
    assert_eq!(read(&mut a).await, ["0", "1"]);
    session.quiet().await;
    assert_eq!(read(&mut a).await, ["2", "3"]);
    assert_eq!(session.message().await, "other");
    assert_eq!(read(&mut a).await, ["4"]);
    // One that has gone holds up nobody.
    for n in 0..3 {
        session.server.say(news(json!("0xa"), json!(n)).to_string());
    }
    session.quiet().await;
    session.server.say("\"other\"".to_owned());
    session.quiet().await;
    drop(a);
    assert_eq!(session.message().await, "other");
}

#[tokio::test(start_paused = true)]
async fn one_who_is_too_slow_may_end_it() {
    let (mut session, handle) = session().await;
    let mut a = handle.subscribe_with(subscribe(0, "a").to_string(), 2, Lag::Close);
    session.quiet().await;
    session.subscribed_again("a", json!("0xa")).await;
    session.swallowed(news(json!("0xa"), json!(1))).await;
    session.swallowed(news(json!("0xa"), json!(2))).await;
    session.quiet().await;
    let end = session.heard_one();
    assert_eq!(end["method"], "eth_unsubscribe");
    assert_eq!(read(&mut a).await.last().map(String::as_str), Some("Ended"));
}

#[tokio::test(start_paused = true)]
async fn a_flood_for_one_who_reads_leaves_the_others_their_turn() {
    let (mut session, handle) = session().await;
    let _a = handle.subscribe(subscribe(0, "a").to_string());
    session.quiet().await;
    session.subscribed_again("a", json!("0xa")).await;
    session.server.floods(news(json!("0xa"), json!(1)).to_string());
    session.quiet().await;
    session.send("mine").await;
    assert_eq!(session.heard_one(), "mine");
}

#[tokio::test(start_paused = true)]
async fn standing_messages_are_said_from_the_first_connection_on() {
    let layer = SubscribeLayer::new(ethereum())
        .standing(subscribe(0, "a").to_string())
        .standing(subscribe(0, "b").to_string());
    let mut session = Session::begin(layer).await;
    session.quiet().await;
    let heard = session.heard();
    assert_eq!([&heard[0]["params"][0], &heard[1]["params"][0]], ["a", "b"]);
    assert!(heard[0]["id"] != heard[1]["id"] && heard[0]["id"] != 0);
    session.swallowed(answer(&heard[0]["id"], json!("0xa"))).await;
    assert_eq!(
        session.told(news(json!("0xa"), json!(1))).await,
        news(json!("0xa"), json!(1))
    );
    session.redial().await;
    assert_eq!(session.heard().len(), 2);
}

#[derive(Debug, Deserialize, PartialEq)]
struct Head {
    number: String,
}

#[tokio::test(start_paused = true)]
async fn items_come_by_type() {
    let (mut session, handle) = session().await;
    let subscriber = handle.json_rpc(JsonText);
    let heads = tokio::spawn(async move {
        subscriber
            .subscribe::<Head>("own_watch", &["newHeads"], "own_unwatch")
            .await
    });
    tokio::task::yield_now().await;
    session.quiet().await;
    let said = session.heard_one();
    assert_eq!(
        (&said["method"], &said["params"]),
        (&json!("own_watch"), &json!(["newHeads"]))
    );
    session.swallowed(answer(&said["id"], json!(7))).await;
    let mut heads = heads.await.unwrap().unwrap();
    session.swallowed(news(json!(7), json!({ "number": "0x1" }))).await;
    session.swallowed(news(json!(7), json!({ "number": 1 }))).await;
    assert!(matches!(heads.next().await, Some(Heard::Item(head)) if head.number == "0x1"));
    assert!(matches!(heads.next().await, Some(Heard::Malformed(_))));
    let end = json!({ "subscription": 7, "error": "the node stops" });
    session
        .swallowed(json!({ "jsonrpc": "2.0", "method": "own", "params": end }))
        .await;
    assert!(matches!(heads.next().await, Some(Heard::Malformed(_))));
    assert!(matches!(
        heads.next().await,
        Some(Heard::Update(Update::Ended(Ended::ByServer(_))))
    ));
    assert!(heads.next().await.is_none());
    drop(heads);
    session.quiet().await;
    assert!(session.heard().is_empty(), "the server has ended it");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_or_not_answered_is_told() {
    let (mut session, handle) = session().await;
    let subscriber = handle.json_rpc(JsonText).timeout(Duration::from_secs(2));
    let refused = {
        let subscriber = subscriber.clone();
        tokio::spawn(async move {
            subscriber
                .subscribe::<Value>("eth_subscribe", &["no"], "eth_unsubscribe")
                .await
        })
    };
    tokio::task::yield_now().await;
    session.quiet().await;
    let said = session.heard_one();
    let error = json!({ "code": -32602, "message": "no such subscription" });
    session
        .swallowed(json!({ "jsonrpc": "2.0", "id": said["id"], "error": error }))
        .await;
    assert!(matches!(
        refused.await.unwrap(),
        Err(SubscribeError::Ended(Ended::Refused(_)))
    ));

    let late = subscriber.subscribe::<Value>("eth_subscribe", &["slow"], "eth_unsubscribe");
    assert!(matches!(late.await, Err(SubscribeError::Ended(Ended::TimedOut))));
    session.quiet().await;
    assert!(session.heard().is_empty(), "it was never said");
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_refuses_is_said_a_second_later() {
    let (mut session, handle) = session().await;
    let mut a = handle.subscribe(subscribe(0, "a").to_string());
    session.quiet().await;
    session.heard();
    let refused = |session: &Session<JsonRpc<JsonText>>| {
        let item = session.server.sent_items().pop().unwrap();
        session
            .server
            .event(Event::Dropped(item, DropReason::Refused("too many")));
    };
    refused(&session);
    session.quiet().await;
    assert!(session.heard().is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    session.quiet().await;
    session.subscribed_again("a", json!("0xa")).await;
    assert_eq!(read(&mut a).await, ["Active"]);
    // And what takes it back.
    drop(a);
    session.quiet().await;
    assert_eq!(session.heard_one()["method"], "eth_unsubscribe");
    refused(&session);
    session.quiet().await;
    assert!(session.heard().is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    session.quiet().await;
    assert_eq!(session.heard_one()["method"], "eth_unsubscribe");
    // What is too large is so for good.
    let mut b = handle.subscribe(subscribe(0, "b").to_string());
    session.quiet().await;
    let item = session.server.sent_items().pop().unwrap();
    let reason = DropReason::TooLarge { size: 2, limit: 1 };
    session.server.event(Event::Dropped(item, reason));
    session.quiet().await;
    assert!(matches!(
        b.next().await,
        Some(Heard::Update(Update::Ended(Ended::NotSent(_))))
    ));
}
