//! What a spool brings along, and what it does not. Each restart here is an end without a farewell:
//! the session is dropped; killed processes are in `kill.rs`.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{arrivals, dropped, folder, message, numbers, open, session, up, within};
use tower::{Layer, ServiceExt};
use tower_ws_ack::JsonRpc;
use tower_ws_client::{ClientLayer, Incoming, Request};
use tower_ws_core::{DropReason, Event, Failure, FailureKind, Replay, Ticket, Wrap, boxed, jsonrpc::Ids};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_spool::{SpoolOptions, Unacknowledged};
use tower_ws_test_kit::{ManualConnection, expect};
use tower_ws_transport::{JsonText, memory};

#[tokio::test]
async fn what_is_not_acknowledged_is_brought_along_in_order_before_anything_new() {
    let (_folder, path) = folder();
    let spool = open(&path, numbers().all_safe());
    let (mut first, mut peer, _listener) = session(&spool).await;
    for n in 1..=6 {
        within(first.send(message(n))).await.unwrap();
    }
    assert_eq!(arrivals(&mut first, &mut peer, 6).await, ["1", "2", "3", "4", "5", "6"]);
    within(peer.send("ack 2".to_owned())).await.unwrap();
    assert!(matches!(within(first.next()).await, Some(Event::Delivered(item)) if item.message == "2"));
    assert_eq!(spool.handle().snapshot().messages, 5);
    drop(first);
    within(spool.close()).await;

    let spool = open(&path, numbers().all_safe());
    assert_eq!(spool.handle().snapshot().recovered, 5);
    let (mut second, mut peer, _listener) = session(&spool).await;
    within(second.feed(message(7))).await.unwrap();
    assert_eq!(
        arrivals(&mut second, &mut peer, 6).await,
        ["1", "3", "4", "5", "6", "7"]
    );
    for n in [1, 3, 4, 5, 6, 7] {
        within(peer.send(format!("ack {n}"))).await.unwrap();
        assert!(matches!(within(second.next()).await, Some(Event::Delivered(_))));
    }
    drop(second);
    within(spool.close()).await;
    assert_eq!(open(&path, numbers()).handle().snapshot().recovered, 0);
}

#[tokio::test]
async fn what_must_not_be_sent_twice_is_sent_only_if_it_never_left() {
    let (_folder, path) = folder();
    let spool = open(&path, numbers());
    let (mut first, mut peer, _listener) = session(&spool).await;
    within(first.send(message("1 left").replay(Replay::Unsafe)))
        .await
        .unwrap();
    within(first.send(message("2 left"))).await.unwrap();
    within(first.send(message("3 left").replay(Replay::Safe)))
        .await
        .unwrap();
    assert_eq!(arrivals(&mut first, &mut peer, 3).await.len(), 3);
    drop(first);
    // The same file, in the same process: the next session gets what the last one left.
    let (mut second, mut peer, _listener) = session(&spool).await;
    let interrupted = |text: &str| (text.to_owned(), DropReason::Interrupted(None));
    assert_eq!(dropped(&mut second), [interrupted("1 left"), interrupted("2 left")]);
    assert_eq!(arrivals(&mut second, &mut peer, 1).await, ["3 left"]);
    within(peer.send("ack 3".to_owned())).await.unwrap();
    assert!(matches!(within(second.next()).await, Some(Event::Delivered(_))));
    within(spool.close()).await;
    drop((second, spool));

    let spool = open(&path, numbers());
    assert_eq!(spool.handle().snapshot().recovered, 0, "told once");
    let (mut third, mut peer, _listener) = session(&spool).await;
    within(third.send(message("1 lost"))).await.unwrap();
    assert_eq!(arrivals(&mut third, &mut peer, 1).await, ["1 lost"]);
    drop(peer);
    // The loss of the connection tells of it, and it is done with.
    assert!(matches!(
        within(third.next()).await,
        Some(Event::Dropped(_, DropReason::Interrupted(_)))
    ));
    assert!(matches!(within(third.next()).await, Some(Event::Down(_))));
    for n in 3..6 {
        within(third.send(message(format!("{n} held")).replay(Replay::Unsafe)))
            .await
            .unwrap();
    }
    drop(third);
    let (mut fourth, mut peer, _listener) = session(&spool).await;
    assert_eq!(
        arrivals(&mut fourth, &mut peer, 3).await,
        ["3 held", "4 held", "5 held"]
    );
    drop((fourth, peer));
    // These have left now.
    let (mut fifth, _peer, _listener) = session(&spool).await;
    assert_eq!(dropped(&mut fifth), ["3 held", "4 held", "5 held"].map(interrupted));
    drop(fifth);
    within(spool.close()).await;
    assert_eq!(open(&path, numbers()).handle().snapshot().recovered, 0, "told once");
}

#[tokio::test]
async fn an_end_in_order_keeps_what_nobody_waits_for() {
    let (_folder, path) = folder();
    let spool = open(&path, numbers().all_safe());
    let (mut first, mut peer, _listener) = session(&spool).await;
    within(first.send(message("1 sent"))).await.unwrap();
    assert_eq!(arrivals(&mut first, &mut peer, 1).await, ["1 sent"]);
    drop(peer);
    while !matches!(within(first.next()).await, Some(Event::Down(_))) {}
    let ticket = Ticket::new();
    within(first.send(message("2 held"))).await.unwrap();
    within(first.send(message("3 waited for").ticket(ticket)))
        .await
        .unwrap();
    within(first.close()).await.unwrap();
    let mut back = Vec::new();
    while let Some(event) = within(first.next()).await {
        if let Event::Dropped(item, reason) = event {
            back.push((item.message, reason.as_str(), item.record.is_some()));
        }
    }
    // What comes back with its number is still kept.
    let expected = [
        ("1 sent".to_owned(), "interrupted", false),
        ("2 held".to_owned(), "closed", true),
        ("3 waited for".to_owned(), "closed", false),
    ];
    back.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(back, expected);
    drop(first);
    within(spool.close()).await;

    let spool = open(&path, numbers().all_safe());
    let (mut second, mut peer, _listener) = session(&spool).await;
    assert_eq!(arrivals(&mut second, &mut peer, 2).await, ["1 sent", "2 held"]);
    assert_eq!(spool.handle().snapshot().messages, 2);
}

#[tokio::test]
async fn ids_go_on_and_late_answers_find_nobody() {
    let (_folder, path) = folder();
    let connect = |spool: &tower_ws_spool::Spool<String, JsonRpc<JsonText>>| {
        let (transport, listener) = memory::channel::<String>(64);
        let ack = tower_ws_ack::AckLayer::new(JsonRpc::new(JsonText));
        let below = ack.layer(ReconnectLayer::new().seed(1).layer(transport));
        let queue = QueueLayer::new().store(spool.clone()).layer(below);
        (ClientLayer::new(JsonText).layer(queue), listener)
    };
    let spool = open(&path, JsonRpc::new(JsonText));
    let (service, mut listener) = connect(&spool);
    let (made, peer) = within(async { tokio::join!(service.oneshot(()), listener.accept()) }).await;
    let ((client, inbound), mut peer) = (made.unwrap(), peer.unwrap());
    let call = |n: u32, replay| Request::new("add").params(&[n]).unwrap().replay(replay);
    let mut calls = Vec::new();
    for (n, replay) in [(1, Replay::Safe), (2, Replay::Unsafe), (3, Replay::Safe)] {
        let (client, call) = (client.clone(), call(n, replay));
        calls.push(tokio::spawn(async move { client.send(call).await }));
        // In order.
        let said = within(peer.next()).await.unwrap().unwrap();
        assert!(said.contains(&format!("\"id\":{n},")), "{said}");
    }
    // As a killed process leaves it: nobody is told of the end.
    let copy = path.with_extension("copy");
    for end in ["", "-wal"] {
        let name = |path: &std::path::Path| format!("{}{end}", path.display());
        std::fs::copy(name(&path), name(&copy)).unwrap();
    }
    drop((inbound, peer));
    within(client.close(Duration::ZERO)).await;
    drop((client, listener));
    for call in calls {
        assert!(within(call).await.unwrap().is_err());
    }
    within(spool.close()).await;
    assert_eq!(
        open(&path, JsonRpc::new(JsonText)).handle().snapshot().recovered,
        0,
        "their callers were told"
    );

    let spool = open(&copy, JsonRpc::new(JsonText));
    let (service, mut listener) = connect(&spool);
    let (made, peer) = within(async { tokio::join!(service.oneshot(()), listener.accept()) }).await;
    let ((client, mut inbound), mut peer) = (made.unwrap(), peer.unwrap());
    assert!(matches!(within(inbound.next()).await, Some(Incoming::Up(_))));
    // Whoever sent it is gone; the application learns of it all the same.
    match within(inbound.next()).await {
        Some(Incoming::Undelivered {
            request: Some(request),
            reason,
        }) => {
            assert_eq!(request.params_text(), Some(&b"[2]"[..]));
            assert_eq!(reason, DropReason::Interrupted(None));
        }
        other => panic!("{other:?}"),
    }
    let new = {
        let client = client.clone();
        tokio::spawn(async move { client.send(call(4, Replay::Safe)).await })
    };
    for id in [1, 3, 4] {
        let said = within(peer.next()).await.unwrap().unwrap();
        assert!(said.contains(&format!("\"id\":{id},")), "{said}");
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{id}}}"#);
        within(peer.send(answer)).await.unwrap();
    }
    assert_eq!(within(new).await.unwrap().unwrap().result::<u32>().unwrap(), 4);
    // Each answer has settled its record, also where nobody waited.
    assert_eq!(spool.handle().snapshot().messages, 0);
}

/// Nobody sends what is kept, and nobody keeps what a caller has been told of.
#[tokio::test]
async fn leftovers_of_a_client_are_what_is_not_kept() {
    let (_folder, path) = folder();
    let spool = open(&path, JsonRpc::new(JsonText));
    let (transport, mut listener) = memory::channel::<String>(64);
    let below = ReconnectLayer::new().seed(1).layer(transport);
    let queue = QueueLayer::new().store(spool.clone()).layer(below);
    let service = ClientLayer::new(JsonText).layer(queue);
    let (made, peer) = within(async { tokio::join!(service.oneshot(()), listener.accept()) }).await;
    let (client, mut inbound) = made.unwrap();
    drop(peer);
    while !matches!(within(inbound.next()).await, Some(Incoming::Down(_))) {}
    within(client.notify(Request::new("told"))).await.unwrap();
    within(async {
        while spool.handle().snapshot().commits == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let call = {
        let client = client.clone();
        tokio::spawn(async move { client.send(Request::new("asked")).await })
    };
    within(async {
        while spool.handle().snapshot().messages < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let leftovers = within(client.close(Duration::ZERO)).await;
    let unsent: Vec<_> = leftovers.unsent.iter().map(Request::method).collect();
    assert_eq!(unsent, ["asked"]);
    assert!(within(call).await.unwrap().is_err());
    drop((client, inbound));
    within(spool.close()).await;

    let spool = open(&path, JsonRpc::new(JsonText));
    let (mut next, mut peer, _listener) = session(&spool).await;
    let said = arrivals(&mut next, &mut peer, 1).await;
    assert!(said[0].contains(r#""method":"told""#), "{said:?}");
    assert_eq!(spool.handle().snapshot().recovered, 1);
}

#[tokio::test]
async fn numbers_of_an_application_go_on_too() {
    let (_folder, path) = folder();
    for round in 0..3 {
        let spool = open(&path, numbers().all_safe());
        let (transport, mut listener) = memory::channel::<String>(64);
        let service = QueueLayer::new().store(spool.clone()).layer(transport);
        let (made, _peer) = within(async { tokio::join!(service.oneshot(()), listener.accept()) }).await;
        let mut session = boxed(made.unwrap());
        let ids = up(&mut session).await.extensions.get::<Ids>().cloned().unwrap();
        assert_eq!(ids.next_id(), round + 1);
        within(session.send(message("0 counted"))).await.unwrap();
        drop(session);
        within(spool.close()).await;
    }
}

#[tokio::test]
async fn without_acknowledgements_what_was_flushed_is_settled() {
    let (_folder, path) = folder();
    let spool = open(&path, Unacknowledged);
    let (mut first, mut peer, _listener) = session(&spool).await;
    within(first.send(message("flushed"))).await.unwrap();
    assert_eq!(arrivals(&mut first, &mut peer, 1).await, ["flushed"]);
    // Whoever reads finds that the connection has nothing to say against it.
    assert!(first.next().now_or_never().is_none());
    assert_eq!(spool.handle().snapshot().messages, 0);
    drop(peer);
    while !matches!(within(first.next()).await, Some(Event::Down(_))) {}
    within(first.send(message("held"))).await.unwrap();
    drop(first);
    let (mut second, mut peer, _listener) = session(&spool).await;
    assert_eq!(arrivals(&mut second, &mut peer, 1).await, ["held"]);
}

/// A connection that broke says that it is flushed, so as to hold nobody up, before whoever reads
/// has learnt of its end. What it was handed is not settled by that, nor by the next one's flush.
#[tokio::test]
async fn what_a_broken_connection_was_handed_goes_again_or_comes_back() {
    let cut = || Failure::new(FailureKind::Network, "cut");
    for (replay, is_written, goes_again) in [
        (Replay::Safe, true, true),
        (Replay::Unsafe, true, false),
        (Replay::Unsafe, false, true),
    ] {
        let (_folder, path) = folder();
        let (spool, manual) = (open(&path, Unacknowledged), ManualConnection::new());
        let mut session = QueueLayer::new().store(spool.clone()).wrap(manual.clone());
        manual.up();
        expect::up(&mut session).await;
        if !is_written {
            manual.breaks();
        }
        manual.down(cut(), true);
        within(session.send(message("report").replay(replay))).await.unwrap();
        assert_eq!(spool.handle().snapshot().messages, 1);
        let mut told = dropped(&mut session);
        manual.up();
        expect::up(&mut session).await;
        within(session.flush()).await.unwrap();
        told.extend(dropped(&mut session));
        let again = manual.sent_after(usize::from(is_written));
        assert_eq!(
            (again.is_empty(), told.len()),
            (!goes_again, usize::from(!goes_again)),
            "{told:?}"
        );
        assert!(
            told.iter()
                .all(|(_, reason)| matches!(reason, DropReason::Interrupted(Some(_))))
        );
        within(session.flush()).await.unwrap();
        assert!(session.next().now_or_never().is_none());
        assert_eq!(
            spool.handle().snapshot().messages,
            0,
            "this flush was one of a connection that lives"
        );
    }
}

/// Sent, and closed at once: nobody has read in between. If the connection had been broken before,
/// the flush proves nothing.
#[tokio::test]
async fn a_close_settles_what_it_has_flushed() {
    let broken = Failure::new(FailureKind::Network, "cut");
    for (cause, expected) in [(Failure::closed_locally(), 0), (broken, 1)] {
        let (_folder, path) = folder();
        let (spool, manual) = (open(&path, Unacknowledged), ManualConnection::new());
        let mut session = QueueLayer::new().store(spool.clone()).wrap(manual.clone());
        manual.up();
        expect::up(&mut session).await;
        within(session.send(message("last words").replay(Replay::Unsafe)))
            .await
            .unwrap();
        within(session.close()).await.unwrap();
        manual.down(cause, false);
        manual.end();
        let told = dropped(&mut session);
        assert_eq!(told.len(), expected, "{told:?}");
        assert!(
            told.iter()
                .all(|(_, reason)| matches!(reason, DropReason::Interrupted(_)))
        );
        drop(session);
        assert_eq!(spool.handle().snapshot().messages, 0);
    }
}

#[tokio::test]
async fn one_session_at_a_time() {
    let (_folder, path) = folder();
    let spool = open(&path, numbers());
    let (first, _peer, _listener) = session(&spool).await;
    let (mut second, _peer, _listener) = session(&spool).await;
    within(second.send(message(1))).await.unwrap();
    let refused = DropReason::Refused("another session uses the spool");
    assert_eq!(dropped(&mut second), [("1".to_owned(), refused)]);
    drop((first, second));
    let (mut third, mut peer, _listener) = session(&spool).await;
    within(third.send(message(2))).await.unwrap();
    assert_eq!(arrivals(&mut third, &mut peer, 1).await, ["2"]);
}

#[tokio::test]
async fn age_goes_on_while_nobody_runs() {
    let (_folder, path) = folder();
    let wall = Arc::new(AtomicU64::new(1_000_000));
    let clock = {
        let wall = wall.clone();
        move || SystemTime::UNIX_EPOCH + Duration::from_secs(wall.load(Ordering::Relaxed))
    };
    let spool = |clock| SpoolOptions::new().clock(clock).open(&path, numbers()).unwrap();
    let first = spool(clock.clone());
    let (mut session_, peer, _listener) = session(&first).await;
    drop(peer);
    while !matches!(within(session_.next()).await, Some(Event::Down(_))) {}
    within(session_.send(message("1 old"))).await.unwrap();
    wall.fetch_add(30, Ordering::Relaxed);
    within(session_.send(message("2 young"))).await.unwrap();
    let soon = tokio::time::Instant::now() + Duration::from_secs(10);
    within(session_.send(message("3 urgent").deadline(soon))).await.unwrap();
    drop(session_);
    within(first.close()).await;

    // The queue's default is 60 s.
    wall.fetch_add(31, Ordering::Relaxed);
    let second = spool(clock);
    let (mut session_, mut peer, _listener) = session(&second).await;
    assert_eq!(arrivals(&mut session_, &mut peer, 1).await, ["2 young"]);
    assert_eq!(second.handle().snapshot().messages, 1);
}

#[tokio::test]
async fn more_than_the_limit_is_refused_until_something_is_settled() {
    let (_folder, path) = folder();
    let spool = SpoolOptions::new().limits(3, 1000).open(&path, numbers()).unwrap();
    let (mut session, mut peer, _listener) = session(&spool).await;
    let waiting = Ticket::new();
    within(session.send(message(1).ticket(waiting.clone()))).await.unwrap();
    within(session.send(message(2))).await.unwrap();
    within(session.send(message(3))).await.unwrap();
    assert_eq!(arrivals(&mut session, &mut peer, 3).await.len(), 3);
    within(session.send(message(4))).await.unwrap();
    let full = DropReason::Refused("the spool is full of what is not acknowledged");
    assert_eq!(dropped(&mut session), [("4".to_owned(), full)]);
    // Nobody wants to know of the first any more: that makes room for one.
    let _ = waiting.cancel();
    within(session.send(message(5))).await.unwrap();
    assert_eq!(arrivals(&mut session, &mut peer, 1).await, ["5"]);
    within(session.send(message("6".repeat(2000)))).await.unwrap();
    assert_eq!(dropped(&mut session).len(), 1);
}
