//! Subscriptions that the application makes by its own requests, over a connection that the test
//! plays.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use futures_util::{SinkExt, future::poll_immediate};
use serde_json::json;
use support::{Session, answer, ethereum, gone, news, subscribe, unsubscribe};
use tower_ws_core::{DropReason, Event, Outgoing, Ticket};
use tower_ws_subscribe::{Ended, SubscribeLayer, Update};

async fn session() -> Session<tower_ws_subscribe::JsonRpc<tower_ws_transport::JsonText>> {
    Session::begin(SubscribeLayer::new(ethereum())).await
}

#[tokio::test(start_paused = true)]
async fn a_subscription_lives_on_under_the_id_that_the_application_knows() {
    let mut session = session().await;
    assert_eq!(session.subscribe(1, "newHeads", json!("0xa")).await, "0xa");
    assert_eq!(
        session.told(news(json!("0xa"), json!(1))).await,
        news(json!("0xa"), json!(1))
    );

    session.redial().await;
    let request = session.subscribed_again("newHeads", json!("0xb")).await;
    assert_ne!(request, 1, "an id is never used twice");
    assert_eq!(
        session.told(news(json!("0xb"), json!(2))).await,
        news(json!("0xa"), json!(2))
    );

    session.redial().await;
    session.subscribed_again("newHeads", json!("0xc")).await;
    assert_eq!(
        session.told(news(json!("0xc"), json!(3))).await,
        news(json!("0xa"), json!(3))
    );

    session.send(unsubscribe(2, json!("0xa"))).await;
    assert_eq!(session.heard_one(), unsubscribe(2, json!("0xc")));
    assert_eq!(
        session.told(answer(&json!(2), json!(true))).await,
        answer(&json!(2), json!(true))
    );
    session.redial().await;
    assert!(session.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_stands_is_said_in_order_before_anything_new() {
    let mut session = session().await;
    for (request, what) in [(1, "newHeads"), (2, "logs"), (3, "syncing")] {
        session.subscribe(request, what, json!(what)).await;
    }
    session.down().await;
    session.server.set_ready(false);
    session.server.up();
    session.server.set_ready(false);
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    // A writer who comes first is the last.
    assert!(
        poll_immediate(session.layer.feed(Outgoing::new("new".to_owned())))
            .await
            .is_none()
    );
    session.server.takes(4);
    session.send("new").await;
    let heard: Vec<_> = session.heard().iter().map(|said| said["params"][0].clone()).collect();
    assert_eq!(heard, [json!("newHeads"), json!("logs"), json!("syncing"), json!(null)]);
}

#[tokio::test(start_paused = true)]
async fn what_stands_goes_out_though_nobody_writes() {
    let mut session = session().await;
    session.subscribe(1, "newHeads", json!("0xa")).await;
    session.down().await;
    session.up().await;
    session.server.takes(0);
    session.quiet().await;
    assert!(session.heard().is_empty());
    session.server.takes(1);
    let flushes = session.server.flushes();
    session.quiet().await;
    assert_eq!(session.heard().len(), 1);
    assert!(session.server.flushes() > flushes);
}

#[tokio::test(start_paused = true)]
async fn a_new_message_waits_for_what_stands_no_longer_than_the_patience() {
    let mut session = session().await;
    for n in 0..10 {
        session.subscribe(n, &format!("s{n}"), json!(n)).await;
    }
    session.down().await;
    session.up().await;
    session.server.takes(0);
    let new = || Outgoing::new("new".to_owned());
    assert!(poll_immediate(session.layer.send(new())).await.is_none());
    session.server.takes(2);
    assert!(poll_immediate(session.layer.send(new())).await.is_none());
    assert_eq!(session.heard().len(), 2, "as long as the patience lasts");
    tokio::time::advance(SubscribeLayer::<(), String>::PATIENCE).await;
    let mut said = Vec::new();
    for _ in 0..6 {
        session.server.takes(1);
        // Whoever is polled first.
        session.quiet().await;
        let _ = poll_immediate(session.layer.send(new())).await;
        said.extend(session.heard().iter().map(|said| said.as_str() == Some("new")));
    }
    assert_eq!(said.iter().filter(|new| **new).count(), 3, "they take turns: {said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_who_has_gone_does_not_stop_what_stands() {
    let mut session = session().await;
    for n in 0..4 {
        session.subscribe(n, &format!("s{n}"), json!(n)).await;
    }
    session.down().await;
    session.up().await;
    session.server.takes(0);
    assert!(
        poll_immediate(session.layer.send(Outgoing::new("new".to_owned())))
            .await
            .is_none()
    );
    tokio::time::advance(SubscribeLayer::<(), String>::PATIENCE).await;
    assert!(
        poll_immediate(session.layer.send(Outgoing::new("new".to_owned())))
            .await
            .is_none()
    );
    session.server.set_ready(true);
    session.quiet().await;
    session.quiet().await;
    assert_eq!(session.heard().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_again_ends_alone() {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    let mut session = Session::begin(layer).await;
    session.subscribe(1, "newHeads", json!("0xa")).await;
    session.subscribe(2, "logs", json!("0xb")).await;
    let mut changes = handle.changes();
    session.redial().await;
    let heard = session.heard();
    let error = json!({ "code": -32000, "message": "too many subscriptions" });
    session
        .swallowed(json!({ "jsonrpc": "2.0", "id": heard[0]["id"], "error": error }))
        .await;
    session.swallowed(answer(&heard[1]["id"], json!("0xc"))).await;
    let mut seen = Vec::new();
    while let Ok(change) = changes.try_recv() {
        seen.push((change.name.into_string(), change.update));
    }
    assert!(
        matches!(
            &seen[..],
            [
                (a, Update::Lost { .. }),
                (b, Update::Lost { .. }),
                (c, Update::Ended(Ended::Refused(why))),
                (d, Update::Resumed(gap)),
            ] if [a, b, c, d].map(|name| &**name) == ["\"0xa\"", "\"0xb\"", "\"0xa\"", "\"0xb\""]
                && why == "\"too many subscriptions\"" && gap.why.to_string() == gone().to_string()
        ),
        "{seen:?}"
    );
    session.redial().await;
    session.subscribed_again("logs", json!("0xd")).await;
    let snapshot = handle.snapshot();
    assert_eq!(
        (snapshot.standing, snapshot.active, snapshot.refused, snapshot.said),
        (1, 1, 1, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_at_first_never_stood() {
    let mut session = session().await;
    session.send(subscribe(1, "nonsense")).await;
    let error = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32602, "message": "no" } });
    assert_eq!(session.told(error.clone()).await, error);
    session.heard();
    session.redial().await;
    assert!(session.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_belongs_to_those_above() {
    let mut session = session().await;
    session.send(subscribe(1, "newHeads")).await;
    session.heard();
    session.redial().await;
    assert!(session.heard().is_empty(), "whoever keeps the request says it again");
    assert_eq!(session.subscribe(1, "newHeads", json!("0xa")).await, "0xa");
    session.redial().await;
    session.subscribed_again("newHeads", json!("0xb")).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_with_the_connection_is_waited_for_on_the_next() {
    let mut session = session().await;
    session.subscribe(1, "newHeads", json!("0xa")).await;
    session.redial().await;
    let first = session.heard_one();
    session.redial().await;
    let second = session.heard_one();
    assert_ne!(first["id"], second["id"]);
    session.swallowed(answer(&second["id"], json!("0xc"))).await;
    assert_eq!(
        session.told(news(json!("0xc"), json!(1))).await,
        news(json!("0xa"), json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn ids_that_servers_count_are_told_apart() {
    let mut session = session().await;
    let first = session.subscribe(1, "a", json!(1)).await;
    let second = session.subscribe(2, "b", json!(2)).await;
    session.redial().await;
    let heard = session.heard();
    // The other way round.
    session.swallowed(answer(&heard[0]["id"], json!(2))).await;
    session.swallowed(answer(&heard[1]["id"], json!(1))).await;
    assert_eq!(
        session.told(news(json!(2), json!("a"))).await,
        news(first.clone(), json!("a"))
    );
    assert_eq!(
        session.told(news(json!(1), json!("b"))).await,
        news(second.clone(), json!("b"))
    );
    // A third gets no id that one of them is known by.
    session.redial().await;
    let heard = session.heard();
    session.swallowed(answer(&heard[0]["id"], json!(7))).await;
    session.swallowed(answer(&heard[1]["id"], json!(8))).await;
    let third = session.subscribe(3, "c", json!(1)).await;
    assert!(third != first && third != second && third.is_u64(), "{third}");
    assert_eq!(
        session.told(news(json!(1), json!("c"))).await,
        news(third.clone(), json!("c"))
    );
    // Under an id that nobody has on this connection, but that one is known by: not for that one.
    session.swallowed(news(json!(2), json!("late"))).await;
    session.send(unsubscribe(4, third)).await;
    assert_eq!(session.heard_one(), unsubscribe(4, json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_one_id_twice_means_one() {
    let mut session = session().await;
    assert_eq!(session.subscribe(1, "a", json!(5)).await, 5);
    assert_eq!(session.subscribe(2, "a", json!(5)).await, 5);
    assert_eq!(
        session.told(news(json!(5), json!("x"))).await,
        news(json!(5), json!("x"))
    );
    session.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_and_one_more_is_told() {
    let mut session = Session::begin(SubscribeLayer::new(ethereum()).room(2, usize::MAX)).await;
    session.subscribe(1, "a", json!("0xa")).await;
    session.subscribe(2, "b", json!("0xb")).await;
    session.send(subscribe(3, "c")).await;
    match session.next().await {
        Some(Event::Dropped(item, DropReason::Refused(_))) => assert_eq!(item.message, subscribe(3, "c").to_string()),
        other => panic!("{other:?}"),
    }
    assert!(session.heard().is_empty());
    session.send(unsubscribe(4, json!("0xa"))).await;
    session.heard();
    session.subscribe(5, "d", json!("0xd")).await;
    // And for so many bytes.
    let bytes = subscribe(1, "a").to_string().len();
    let mut session = Session::begin(SubscribeLayer::new(ethereum()).room(9, 2 * bytes)).await;
    session.subscribe(1, "a", json!("0xa")).await;
    session.subscribe(2, "b", json!("0xb")).await;
    session.send(subscribe(3, "c")).await;
    assert!(matches!(
        session.next().await,
        Some(Event::Dropped(_, DropReason::Refused(_)))
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_and_not_read_is_bounded() {
    let mut session = Session::begin(SubscribeLayer::new(ethereum()).room(1, usize::MAX)).await;
    session.subscribe(0, "a", json!("0xa")).await;
    let mut refused = 0;
    while poll_immediate(session.layer.send(Outgoing::new(subscribe(1, "b").to_string())))
        .await
        .is_some()
    {
        refused += 1;
        assert!(refused <= 1000);
    }
    assert!(matches!(session.next().await, Some(Event::Dropped(..))));
    session.send("again").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_while_it_is_said_again_is_taken_back_after_that() {
    let mut session = session().await;
    session.subscribe(1, "a", json!("0xa")).await;
    session.redial().await;
    let said = session.heard_one();
    // The server may know another by that id.
    session.send(unsubscribe(2, json!("0xa"))).await;
    assert!(matches!(
        session.next().await,
        Some(Event::Dropped(_, DropReason::Refused(_)))
    ));
    assert!(session.heard().is_empty());
    session.swallowed(answer(&said["id"], json!("0xb"))).await;
    session.quiet().await;
    let end = session.heard_one();
    assert_eq!(
        (&end["method"], &end["params"]),
        (&json!("eth_unsubscribe"), &json!(["0xb"]))
    );
    session.swallowed(answer(&end["id"], json!(true))).await;
    session.redial().await;
    assert!(session.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn ready_is_a_promise_though_something_is_to_be_said() {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    let mut session = Session::begin(layer).await;
    session.server.takes(1);
    poll_immediate(std::future::poll_fn(|cx| session.layer.poll_ready_unpin(cx)))
        .await
        .unwrap()
        .unwrap();
    let _subscription = handle.subscribe(subscribe(0, "a").to_string());
    session.quiet().await;
    assert_eq!(session.heard_one()["params"][0], "a", "it has used the room");
    poll_immediate(std::future::poll_fn(|cx| session.layer.poll_ready_unpin(cx)))
        .await
        .unwrap()
        .unwrap();
    session
        .layer
        .start_send_unpin(Outgoing::new("mine".to_owned()))
        .unwrap();
    session.quiet().await;
    assert!(session.heard().is_empty());
    session.server.takes(1);
    session.quiet().await;
    assert_eq!(session.heard_one(), "mine");
    // One that waits when the connection is lost comes back.
    session.server.takes(1);
    poll_immediate(std::future::poll_fn(|cx| session.layer.poll_ready_unpin(cx)))
        .await
        .unwrap()
        .unwrap();
    let _other = handle.subscribe(subscribe(0, "b").to_string());
    session.quiet().await;
    session
        .layer
        .start_send_unpin(Outgoing::new(subscribe(9, "c").to_string()))
        .unwrap();
    session.server.down(gone(), true);
    assert!(matches!(
        session.next().await,
        Some(Event::Dropped(_, DropReason::Disconnected))
    ));
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    session.heard();
    session.up().await;
    session.quiet().await;
    let said: Vec<_> = session.heard().iter().map(|said| said["params"][0].clone()).collect();
    assert_eq!(said, ["a", "b"], "the third is with whoever sent it");
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_has_given_up_on_is_taken_back() {
    let mut session = session().await;
    let ticket = Ticket::new();
    let item = Outgoing::new(subscribe(1, "a").to_string()).ticket(ticket.clone());
    session.try_send(item).await.unwrap();
    session.heard();
    let _ = ticket.cancel();
    assert_eq!(session.told(answer(&json!(1), json!("0xa"))).await["result"], "0xa");
    session.quiet().await;
    let end = session.heard_one();
    assert_eq!(
        (&end["method"], &end["params"]),
        (&json!("eth_unsubscribe"), &json!(["0xa"]))
    );
    session.redial().await;
    assert!(session.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_here_goes_before_the_farewell() {
    let (layer, handle) = SubscribeLayer::pair(ethereum());
    let mut session = Session::begin(layer).await;
    session.server.takes(1);
    assert!(
        poll_immediate(std::future::poll_fn(|cx| session.layer.poll_ready_unpin(cx)))
            .await
            .is_some()
    );
    let _subscription = handle.subscribe(subscribe(0, "a").to_string());
    session.quiet().await;
    session.heard();
    session
        .layer
        .start_send_unpin(Outgoing::new("mine".to_owned()))
        .unwrap();
    session.server.takes(1);
    session.layer.close().await.unwrap();
    assert_eq!(session.heard_one(), "mine");
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_of_its_own_is_said_on_the_next_connection() {
    let mut session = session().await;
    session.subscribe(1, "a", json!("0xa")).await;
    session.down().await;
    session.server.up();
    session.server.breaks();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    session.quiet().await;
    session.quiet().await;
    session.redial().await;
    session.subscribed_again("a", json!("0xb")).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_resumes_is_told_nothing() {
    let mut session = session().await;
    session.subscribe(1, "a", json!("0xa")).await;
    session.down().await;
    let mut up = tower_ws_core::Up::new();
    (up.epoch, up.resumed) = (2, true);
    session.server.event(Event::Up(up));
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    session.quiet().await;
    assert!(session.heard().is_empty());
    assert_eq!(
        session.told(news(json!("0xa"), json!(1))).await,
        news(json!("0xa"), json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn random_messages_pass_and_nothing_panics() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut session = session().await;
    session.subscribe(1, "a", json!("0xa")).await;
    for _ in 0..2000 {
        let mut text = news(json!("0xa"), json!(1)).to_string().into_bytes();
        for _ in 0..rng.usize(..4) {
            let at = rng.usize(..text.len());
            text[at] = rng.u8(32..127);
        }
        text.truncate(rng.usize(..=text.len()));
        let text = String::from_utf8(text).unwrap();
        session.server.say(text.clone());
        let heard = session.next().await;
        assert!(matches!(&heard, Some(Event::Message(same)) if *same == text), "{text}");
        let _ = session.try_send(Outgoing::new(text)).await;
    }
}
