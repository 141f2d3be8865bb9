//! One session, event by event, over a connection that the test plays.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{down, number};
use tokio::time::{Instant, sleep};
use tower_layer::Layer;
use tower_ws_ack::{AckConnection, AckLayer, Acknowledgement, Bare, Handle, JsonRpc, Sequence, Strategy};
use tower_ws_core::{DropReason, Event, Failure, FailureKind, Outgoing, Phase, Readings, Replay, Ticket, Value, Wrap};
use tower_ws_test_kit::ManualConnection;
use tower_ws_transport::JsonText;

type Number = fn(&String) -> Option<u64>;

const SECOND: Duration = Duration::from_secs(1);

fn bare() -> Bare<Number, Number> {
    Bare::new(|sent| number(sent), |came| came.strip_prefix("ack ")?.parse().ok())
}

/// A session whose first `Up` has been read.
async fn session<S: Strategy<String> + Clone>(
    layer: AckLayer<S>,
) -> (AckConnection<ManualConnection<String>, S>, ManualConnection<String>) {
    let manual = ManualConnection::new();
    let mut session = layer.wrap(manual.clone());
    manual.up();
    let up = session.next().await;
    assert!(matches!(up, Some(Event::Up(up)) if up.layers == ["ack"] && up.extensions.get::<Handle>().is_some()));
    (session, manual)
}

fn message(text: &str, replay: Replay) -> (Outgoing<String>, Ticket) {
    let ticket = Ticket::new();
    (
        Outgoing::new(text.to_owned()).replay(replay).ticket(ticket.clone()),
        ticket,
    )
}

#[tokio::test(start_paused = true)]
async fn a_bare_acknowledgement_is_swallowed_and_measured() {
    let (layer, handle) = AckLayer::pair(bare());
    let (mut session, manual) = session(layer).await;
    session.send("7 a".to_owned().into()).await.unwrap();
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().bytes), (1, 3));
    sleep(SECOND).await;
    for came in ["ack 9", "ack 7", "ack 7", "news"] {
        manual.say(came.to_owned());
    }
    // As the caller gave it: the ticket by which it was watched is our own.
    assert!(
        matches!(session.next().await, Some(Event::Delivered(item)) if item.message == "7 a" && item.ticket.is_none())
    );
    assert!(matches!(session.next().await, Some(Event::Message(news)) if news == "news"));
    let stats = handle.snapshot();
    assert_eq!(
        (stats.in_flight, stats.bytes, stats.acked, stats.unmatched),
        (0, 0, 1, 2)
    );
    assert_eq!(stats.round_trip, Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_may_cover_many() {
    let strategy: Sequence<Number, Number> =
        Sequence::new(|sent| number(sent), |came| came.strip_prefix("upto ")?.parse().ok());
    let (mut session, manual) = session(AckLayer::new(strategy)).await;
    for n in 1..=4 {
        session.send(format!("{n} a").into()).await.unwrap();
    }
    manual.say("upto 3".to_owned());
    for n in 1..=3 {
        assert!(matches!(session.next().await, Some(Event::Delivered(item)) if number(&item.message) == Some(n)));
    }
    assert!(session.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_safe_goes_again_ahead_of_anything_new() {
    let (layer, handle) = AckLayer::pair(bare());
    let (mut session, manual) = session(layer).await;
    let (safe, safe_ticket) = message("1 safe", Replay::Safe);
    let (unsafe_, unsafe_ticket) = message("2 unsafe", Replay::Unknown);
    let (refused, refused_ticket) = message("3 unsent", Replay::Unsafe);
    let (cancelled, cancelled_ticket) = message("4 cancelled", Replay::Safe);
    session.send(safe).await.unwrap();
    session.send(unsafe_).await.unwrap();
    session.send(cancelled).await.unwrap();
    manual.breaks();
    session.send(refused).await.unwrap();
    cancelled_ticket.cancel();
    manual.event(down(true, None));

    // What is given up is told before the end of the connection, and what is kept has been marked.
    let dropped = session.next().await;
    assert!(matches!(dropped, Some(Event::Dropped(item, DropReason::Interrupted(_))) if item.message == "2 unsafe"));
    assert_eq!(safe_ticket.phase(), Phase::Held);
    assert_eq!(
        (refused_ticket.phase(), refused_ticket.may_have_been_seen()),
        (Phase::Waiting, false)
    );
    assert!(unsafe_ticket.may_have_been_seen());
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    assert!(session.ready_is_pending());

    manual.up();
    manual.takes(1);
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    // A writer that asks now hands down what is due; the second does not find room.
    assert!(session.ready_is_pending());
    assert_eq!(manual.sent(), ["1 safe", "2 unsafe", "4 cancelled", "1 safe"]);
    manual.takes(9);
    // Reading is enough, and flushes.
    let flushes = manual.flushes();
    assert!(session.next().now_or_never().is_none());
    assert_eq!(manual.sent().last().unwrap(), "3 unsent");
    assert!(manual.flushes() > flushes);
    assert!(!session.ready_is_pending());
    assert_eq!((handle.snapshot().resent, handle.snapshot().interrupted), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn after_too_big_nothing_seen_goes_again() {
    let (mut session, manual) = session(AckLayer::new(bare().all_safe())).await;
    session.send("1 a".to_owned().into()).await.unwrap();
    manual.breaks();
    session.send("2 unsent".to_owned().into()).await.unwrap();
    manual.event(down(true, Some(1009)));
    assert!(
        matches!(session.next().await, Some(Event::Dropped(item, DropReason::Interrupted(_))) if item.message == "1 a")
    );
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    manual.up();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    assert!(session.next().now_or_never().is_none());
    assert_eq!(manual.sent(), ["1 a", "2 unsent"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_waits_and_control_does_not() {
    for ends in [false, true] {
        let (mut session, manual) = session(AckLayer::new(bare()).window(2, usize::MAX)).await;
        session.feed("1 a".to_owned().into()).await.unwrap();
        session.feed("2 a".to_owned().into()).await.unwrap();
        let flushes = manual.flushes();
        assert!(session.ready_is_pending());
        assert!(
            manual.flushes() > flushes,
            "what was never flushed is never acknowledged"
        );
        session
            .start_send_unpin(Outgoing::new("3 ping".to_owned()).control())
            .unwrap();
        assert_eq!(manual.sent().last().unwrap(), "3 ping");

        // The writer is a task of its own.
        let (mut sink, mut stream) = session.split();
        let writer = tokio::spawn(async move { sink.send("4 a".to_owned().into()).await });
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        manual.event(match ends {
            true => down(false, None),
            false => Event::Message("ack 1".to_owned()),
        });
        while !matches!(stream.next().await, Some(Event::Delivered(_) | Event::Down(_))) {}
        assert_eq!(writer.await.unwrap().is_err(), ends);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_fill_a_window_too() {
    let (mut session, _manual) = session(AckLayer::new(bare()).window(100, 10)).await;
    session.send("1 23456789".to_owned().into()).await.unwrap();
    assert!(session.ready_is_pending());
}

#[tokio::test(start_paused = true)]
async fn cancelled_messages_make_room() {
    let (mut session, _manual) = session(AckLayer::new(bare()).window(1, usize::MAX)).await;
    let (item, ticket) = message("1 a", Replay::Unknown);
    session.send(item).await.unwrap();
    assert!(session.ready_is_pending());
    ticket.cancel();
    assert!(!session.ready_is_pending());
}

#[tokio::test(start_paused = true)]
async fn time_is_over_for_sent_and_unsent() {
    let (layer, handle) = AckLayer::pair(bare().all_safe());
    let (mut session, manual) = session(layer.timeout(SECOND * 10)).await;
    assert!(session.next().now_or_never().is_none());
    session.send("1 sent".to_owned().into()).await.unwrap();
    manual.breaks();
    session.send("2 unsent".to_owned().into()).await.unwrap();
    manual.event(down(true, None));
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    // Nothing but the clock wakes it.
    let start = tokio::time::Instant::now();
    let mut given_up = Vec::new();
    for _ in 0..2 {
        let Some(Event::Dropped(item, reason)) = session.next().await else {
            panic!("it is given up")
        };
        given_up.push((item.message, reason));
    }
    given_up.sort_by(|a, b| a.0.cmp(&b.0));
    let gone = Failure::new(FailureKind::Network, "gone");
    let expected = [
        ("1 sent", DropReason::Interrupted(Some(gone))),
        ("2 unsent", DropReason::Expired),
    ];
    assert_eq!(given_up, expected.map(|(message, reason)| (message.to_owned(), reason)));
    assert_eq!(start.elapsed().as_secs(), 10);
    manual.up();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    manual.say("ack 1".to_owned());
    assert!(session.next().now_or_never().is_none());
    assert_eq!(
        (handle.snapshot().expired, handle.snapshot().late, manual.sent().len()),
        (2, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_gives_everything_back_first() {
    for told in [true, false] {
        let (mut session, manual) = session(AckLayer::new(bare().all_safe())).await;
        session.send("1 sent".to_owned().into()).await.unwrap();
        manual.breaks();
        session.send("2 unsent".to_owned().into()).await.unwrap();
        if !told {
            // It ends between two connections.
            manual.event(down(true, None));
            assert!(matches!(session.next().await, Some(Event::Down(_))));
            manual.end();
        } else {
            manual.event(down(false, None));
            manual.end();
        }
        assert!(
            matches!(session.next().await, Some(Event::Dropped(item, DropReason::Interrupted(_))) if item.message == "1 sent")
        );
        assert!(
            matches!(session.next().await, Some(Event::Dropped(item, DropReason::Closed)) if item.message == "2 unsent")
        );
        if told {
            assert!(matches!(session.next().await, Some(Event::Down(_))));
        }
        assert!(session.next().await.is_none());
        assert!(session.send("3 late".to_owned().into()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_again_under_a_fresh_id() {
    let (mut session, manual) = session(AckLayer::new(JsonRpc::new(JsonText).fresh_ids())).await;
    let request = r#"{"jsonrpc":"2.0","id":900,"method":"tools/list"}"#;
    session.send(request.to_owned().into()).await.unwrap();
    manual.event(down(true, None));
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    manual.up();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    assert!(session.next().now_or_never().is_none());
    assert_eq!(manual.sent()[1], request.replace("900", "1"));
    manual.say(r#"{"jsonrpc":"2.0","id":1,"result":5}"#.to_owned());
    let answer = session.next().await;
    assert!(matches!(answer, Some(Event::Message(text)) if text == r#"{"jsonrpc":"2.0","id":900,"result":5}"#));
}

#[tokio::test(start_paused = true)]
async fn a_pair_serves_one_session_at_a_time() {
    let (layer, handle) = AckLayer::pair(bare());
    let (mut first, _manual) = session(layer.clone()).await;
    let (mut second, _manual) = session(layer.clone()).await;
    second.send("1 a".to_owned().into()).await.unwrap();
    assert_eq!(handle.snapshot().in_flight, 0);
    first.send("1 a".to_owned().into()).await.unwrap();
    assert_eq!(handle.snapshot().in_flight, 1);
    drop(first);
    assert_eq!(handle.snapshot().in_flight, 0);
    let (mut third, _manual) = session(layer).await;
    third.send("1 a".to_owned().into()).await.unwrap();
    assert_eq!(handle.snapshot().in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_already_hears_of_the_clock() {
    let (session, _manual) = session(AckLayer::new(bare()).timeout(SECOND * 10)).await;
    let (mut sink, mut stream) = session.split();
    let reader = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    sink.send("1 a".to_owned().into()).await.unwrap();
    let given_up = tokio::time::timeout(SECOND * 11, reader)
        .await
        .expect("the clock was heard")
        .unwrap();
    assert!(matches!(given_up, Some(Event::Dropped(_, DropReason::Interrupted(_)))));
}

/// Whoever reads may be whoever writes: it must not wake itself for ever over what cannot move.
#[tokio::test(start_paused = true)]
async fn one_task_that_reads_and_writes_comes_to_rest() {
    let (mut session, manual) = session(AckLayer::new(bare().all_safe())).await;
    session.send("1 a".to_owned().into()).await.unwrap();
    manual.event(down(true, None));
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    manual.up();
    manual.takes(0);
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    let mut polls = 0;
    let both = std::future::poll_fn(|cx| {
        polls += 1;
        assert!(polls < 20, "it spins");
        let _ = session.poll_ready_unpin(cx);
        let _ = session.poll_flush_unpin(cx);
        session.poll_next_unpin(cx).map(drop)
    });
    // Under a paused clock this ends only when nothing else is to be done.
    assert!(tokio::time::timeout(SECOND, both).await.is_err());
    manual.takes(1);
    assert!(session.next().now_or_never().is_none());
    assert_eq!(manual.sent(), ["1 a", "1 a"]);
}

trait IsPending {
    fn ready_is_pending(&mut self) -> bool;
}

impl<S: Strategy<String>> IsPending for AckConnection<ManualConnection<String>, S> {
    fn ready_is_pending(&mut self) -> bool {
        let ready = pin!(std::future::poll_fn(|cx| self.poll_ready_unpin(cx)));
        ready.now_or_never().is_none()
    }
}

#[test]
fn the_parts_are_send_and_sync() {
    fn shared<T: Send + Sync>(_: &T) {}
    let layer = AckLayer::new(JsonRpc::new(JsonText));
    shared(&layer);
    shared(&layer.layer(()));
    shared(&AckLayer::pair(()).1);
}

/// The server dies of it, whenever it is sent.
#[tokio::test(start_paused = true)]
async fn what_the_peer_dies_of_is_not_sent_for_ever() {
    let (mut session, manual) = session(AckLayer::new(bare().all_safe())).await;
    session.send("1 poison".to_owned().into()).await.unwrap();
    session.send("2 kept".to_owned().into()).await.unwrap();
    for connection in 1..=3 {
        // The first of them is answered by something else.
        if connection == 1 {
            manual.say("0 hello".to_owned());
            assert!(matches!(session.next().await, Some(Event::Message(_))));
        }
        manual.event(down(true, None));
        assert!(matches!(session.next().await, Some(Event::Down(_))));
        manual.up();
        assert!(matches!(session.next().await, Some(Event::Up(_))));
        assert!(session.next().now_or_never().is_none());
        assert_eq!(manual.sent().len(), 2 + 2 * connection, "both go again");
    }
    manual.event(down(true, None));
    for _ in 0..2 {
        assert!(matches!(
            session.next().await,
            Some(Event::Dropped(_, DropReason::Interrupted(Some(_))))
        ));
    }
    assert!(matches!(session.next().await, Some(Event::Down(_))));
}

/// Nobody tells the window: it looks again while somebody waits.
#[tokio::test(start_paused = true)]
async fn what_was_cancelled_makes_room_in_the_window() {
    let layer = AckLayer::new(bare()).window(1, usize::MAX).timeout(Duration::MAX);
    let (session, _manual) = session(layer).await;
    let (mut sink, mut stream) = session.split();
    let ticket = Ticket::new();
    sink.send(Outgoing::new("1 a".to_owned()).ticket(ticket.clone()))
        .await
        .unwrap();
    let reader = tokio::spawn(async move { while stream.next().await.is_some() {} });
    let writer = tokio::spawn(async move { sink.send("2 b".to_owned().into()).await.is_ok() });
    tokio::time::sleep(SECOND).await;
    assert!(!writer.is_finished());
    let _ = ticket.cancel();
    assert!(
        tokio::time::timeout(SECOND, writer)
            .await
            .expect("there is room")
            .unwrap()
    );
    reader.abort();
}

/// An answer may come on the back of data, and one in a batch settles each of its requests.
#[tokio::test(start_paused = true)]
async fn what_acknowledges_may_be_news_as_well() {
    let strategy: Sequence<Number, Number> = Sequence::new(|sent| number(sent), |came| number(came));
    let strategy = strategy.on_data();
    assert_eq!(
        format!("{strategy:?}"),
        "Sequence { all_safe: false, on_data: true, .. }"
    );
    let layer = AckLayer::new(strategy).measure(|_: &String| 100);
    let manual = ManualConnection::new();
    let mut session = layer.wrap(manual.clone());
    manual.up();
    session.next().await;
    for n in 1..=3 {
        session.send(format!("{n} a").into()).await.unwrap();
    }
    assert!(format!("{session:?}").contains("bytes: 300"), "{session:?}");
    manual.say("2 news".to_owned());
    assert!(matches!(session.next().await, Some(Event::Message(news)) if news == "2 news"));
    assert!(session.next().now_or_never().is_none(), "nothing is told as delivered");

    let (layer, handle) = AckLayer::pair(JsonRpc::new(JsonText));
    let (mut session, manual) = self::session(layer).await;
    for id in 1..=3 {
        let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        session.send(call.into()).await.unwrap();
    }
    let batch = r#"[{"jsonrpc":"2.0","id":1,"result":1},{"jsonrpc":"2.0","method":"news"},
        {"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"no"}}]"#;
    manual.say(batch.to_owned());
    assert!(matches!(session.next().await, Some(Event::Message(all)) if all == batch));
    assert!(session.next().now_or_never().is_none());
    let stats = handle.snapshot();
    assert_eq!((stats.acked, stats.in_flight), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_exporter_reads_what_a_session_keeps() {
    let (layer, handle) = AckLayer::pair(bare());
    assert_eq!(format!("{handle:?}"), format!("Handle({:?})", handle.snapshot()));
    let manual = ManualConnection::new();
    let mut session = layer.wrap(manual.clone());
    manual.up();
    let Some(Event::Up(up)) = session.next().await else {
        panic!("it is up");
    };
    for n in 1..=2 {
        session.send(format!("{n} a").into()).await.unwrap();
    }
    sleep(SECOND).await;
    for came in ["ack 1", "ack 9"] {
        manual.say(came.to_owned());
    }
    assert!(matches!(session.next().await, Some(Event::Delivered(_))));
    assert!(session.next().now_or_never().is_none());
    let mut shown = Vec::new();
    up.sources()[0].read(&mut |reading| shown.push((reading.name, reading.label.map(|label| label.1), reading.value)));
    let expected = [
        ("ack_in_flight", None, Value::Gauge(1.0)),
        ("ack_bytes", None, Value::Gauge(3.0)),
        ("ack_round_trip_seconds", None, Value::Sample { took: SECOND, nth: 1 }),
        ("ack_settled_total", Some("acknowledged"), Value::Counter(1)),
        ("ack_settled_total", Some("interrupted"), Value::Counter(0)),
        ("ack_settled_total", Some("expired"), Value::Counter(0)),
        ("ack_resent_total", None, Value::Counter(0)),
        ("ack_stray_total", Some("late"), Value::Counter(0)),
        ("ack_stray_total", Some("unmatched"), Value::Counter(1)),
    ];
    assert_eq!(shown, expected);
}

/// What a store keeps goes on being sent, unless the application says otherwise.
#[tokio::test(start_paused = true)]
async fn what_a_store_keeps_may_be_given_up_too() {
    for (layer, is_given_up) in [
        (AckLayer::new(bare().all_safe()).suspicions(1), false),
        (AckLayer::new(bare().all_safe()).suspicions(1).give_up_recorded(), true),
    ] {
        let (mut session, manual) = session(layer).await;
        let mut item = Outgoing::new("1 a".to_owned());
        item.record = std::num::NonZeroU64::new(7);
        session.send(item).await.unwrap();
        manual.down(Failure::new(FailureKind::Network, "it died of it"), true);
        manual.up();
        let mut given_up = false;
        while let Some(Some(event)) = session.next().now_or_never() {
            given_up |= matches!(event, Event::Dropped(_, DropReason::Interrupted(_)));
        }
        assert_eq!(
            (given_up, manual.sent().len()),
            (is_given_up, if is_given_up { 1 } else { 2 })
        );
    }
}

/// A peer that stood still answers all that was given up meanwhile.
#[tokio::test(start_paused = true)]
async fn a_whole_window_that_was_given_up_is_remembered() {
    let (layer, handle) = AckLayer::pair(bare());
    let (mut session, manual) = session(layer).await;
    let many = AckLayer::<()>::MESSAGES;
    for n in 0..many {
        session.feed(format!("{n} a").into()).await.unwrap();
    }
    session.flush().await.unwrap();
    sleep(61 * SECOND).await;
    while session.next().now_or_never().is_some() {}
    for n in 0..many {
        manual.say(format!("ack {n}"));
    }
    while session.next().now_or_never().is_some() {}
    let stats = handle.snapshot();
    assert_eq!((stats.in_flight, stats.late, stats.unmatched), (0, many as u64, 0));
}

/// Knows by its ticket what may go again, and under which key.
#[derive(Clone, Default)]
struct ByTicket(Arc<Mutex<Vec<Option<u64>>>>);

impl Strategy<String> for ByTicket {
    type Key = u64;

    fn awaits(&self, item: &Outgoing<String>) -> Option<u64> {
        item.message.split(' ').next()?.parse().ok()
    }

    fn acknowledges(&self, _: &String) -> Option<Acknowledgement<u64>> {
        None
    }

    fn is_safe(&self, item: &Outgoing<String>) -> bool {
        self.0.lock().unwrap().push(item.ticket.as_ref().map(Ticket::tag));
        true
    }

    fn again(&mut self, item: &Outgoing<String>) -> Option<(u64, String)> {
        self.0.lock().unwrap().push(item.ticket.as_ref().map(Ticket::tag));
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_strategy_is_asked_about_a_message_as_the_caller_gave_it() {
    let strategy = ByTicket::default();
    let (mut session, manual) = session(AckLayer::new(strategy.clone())).await;
    session
        .send(Outgoing::new("1 a".to_owned()).ticket(Ticket::tagged(7)))
        .await
        .unwrap();
    session.send("2 b".to_owned().into()).await.unwrap();
    manual.down(Failure::new(FailureKind::Network, "gone"), true);
    manual.up();
    while session.next().now_or_never().is_some() {}
    let mut asked = std::mem::take(&mut *strategy.0.lock().unwrap());
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, [None, Some(7)]);
}

/// One that may take longer holds up nobody's outcome.
#[tokio::test(start_paused = true)]
async fn each_message_has_its_own_time() {
    let (layer, handle) = AckLayer::pair(bare());
    let (session, _manual) = session(layer).await;
    let start = Instant::now();
    let (mut sink, mut stream) = session.split();
    let mut patient = Outgoing::new("1 a".to_owned());
    patient.deadline = Some(start + 600 * SECOND);
    sink.send(patient).await.unwrap();
    let reads = tokio::spawn(async move {
        let mut dropped = Vec::new();
        for _ in 0..2 {
            let Some(Event::Dropped(item, DropReason::Interrupted(_))) = stream.next().await else {
                panic!("both come back");
            };
            dropped.push((item.message, start.elapsed().as_secs()));
        }
        dropped
    });
    sleep(SECOND).await;
    sink.send("2 b".to_owned().into()).await.unwrap();
    sleep(70 * SECOND).await;
    assert_eq!(handle.snapshot().in_flight, 1);
    let dropped = reads.await.unwrap();
    assert_eq!(dropped, [("2 b".to_owned(), 61), ("1 a".to_owned(), 600)]);
}
