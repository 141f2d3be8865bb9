//! Floods, full queues, late readers, ends: what is promised of a call holds all the same.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{future::poll_fn, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{json, value::to_raw_value};
use support::{Text, settle};
use tokio::{
    task::coop,
    time::{Instant, advance, sleep, timeout},
};
use tower::Service;
use tower_ws_client::{CallError, Client, ClientLayer, Inbound, Incoming, Lag, Request};
use tower_ws_core::{DropReason, Failure, FailureKind, Lift};
use tower_ws_test_kit::{ManualConnection, expect::within};
use tower_ws_transport::memory;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn layer() -> ClientLayer<Text> {
    ClientLayer::new(Text)
}

fn push(n: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"push","params":[{n}]}}"#)
}

/// A connection that is up, with its client.
fn start(layer: &ClientLayer<Text>) -> (ManualConnection<String>, Client, Inbound) {
    let manual = ManualConnection::new();
    manual.up();
    let (client, inbound, driver) = layer.pair(manual.clone());
    tokio::spawn(driver);
    (manual, client, inbound)
}

fn cable() -> Failure {
    Failure::new(FailureKind::Network, "the cable was pulled")
}

/// While a peer floods, tokio's clock does not move by itself.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_puts_off_no_call_and_no_limit() {
    let (manual, client, _inbound) = start(&layer());
    settle().await;
    manual.floods(push(1));
    let call = tokio::spawn(async move { client.send(Request::new("m").timeout(SECOND)).await });
    pass(Duration::ZERO).await;
    assert_eq!(manual.sent().len(), 1, "it was written");
    pass(SECOND).await;
    assert!(call.is_finished());
    assert!(matches!(
        call.await.unwrap(),
        Err(CallError::TimedOut { sent: true, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_flood_puts_off_no_close() {
    for lag in [Lag::DropOldest, Lag::Close] {
        let socket = tower_ws_test_kit::ManualSocket::new();
        let (client, inbound, driver) = layer().inbound(16, lag).pair(Lift::new(socket.clone()));
        let driver = tokio::spawn(driver);
        settle().await;
        socket.floods(push(1));
        let _closing = (lag == Lag::DropOldest).then(|| tokio::spawn(async move { client.close(SECOND).await }));
        pass(SECOND).await;
        // The peer does not answer: that is the connection's own deadline.
        pass(tower_ws_core::Deadlines::CLOSE).await;
        assert!(driver.is_finished(), "{lag:?}");
        drop(inbound);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_is_bounded_by_the_shortest_grace() {
    let (_manual, client, _inbound) = start(&layer().timeout(HOUR));
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.send(Request::new("m")).await });
    settle().await;
    let other = client.clone();
    tokio::spawn(async move { client.close(SECOND).await });
    tokio::spawn(async move { other.close(HOUR).await });
    sleep(SECOND * 2).await;
    // The connection is asked to close, and its end settles the call: the test's never ends.
    assert!(!call.is_finished());
}

#[tokio::test(start_paused = true)]
async fn every_ping_is_answered_and_every_cancellation_told() {
    let cancel = |id: u64| Request::new("cancelled").raw_params(&to_raw_value(&json!({ "id": id })).unwrap());
    let (manual, client, _inbound) = start(&layer().on_cancel(cancel));
    for id in 0..40 {
        manual.say(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
    }
    settle().await;
    assert_eq!(manual.sent().len(), 40);
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(Request::new("m")).await })
        })
        .collect();
    settle().await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    let told = manual.sent().iter().filter(|text| text.contains("cancelled")).count();
    assert_eq!(told, 200);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_peer_that_does_not_read_is_bounded_in_bytes() {
    let (manual, _client, _inbound) = start(&layer());
    settle().await;
    manual.set_flush(false);
    let id = "x".repeat(100_000);
    for _ in 0..500 {
        manual.say(format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"ping"}}"#));
    }
    settle().await;
    let before = manual.sent().len();
    manual.set_flush(true);
    settle().await;
    let kept: usize = manual.sent_after(before).iter().map(String::len).sum();
    assert!(kept < 300_000, "{kept} bytes were kept");
}

#[tokio::test(start_paused = true)]
async fn notifications_that_nobody_takes_are_bounded_in_bytes_and_calls_go_on() {
    const MIB: usize = 1 << 20;
    let (manual, client, _inbound) = start(&layer());
    settle().await;
    manual.set_ready(false);
    let large = to_raw_value(&["x".repeat(MIB)]).unwrap();
    let told = || client.notify(Request::new("n").raw_params(&large));
    let mut kept = 0;
    while timeout(SECOND, told()).await.is_ok() {
        kept += 1;
        assert!(kept <= 16, "more than 16 MiB are kept, and nobody waits for them");
    }
    assert!(kept >= 8, "only {kept} of 1 MiB each");
    // The caller of a call keeps it anyway.
    let call = tokio::spawn({
        let (client, large) = (client.clone(), large.clone());
        async move { client.send(Request::new("m").raw_params(&large)).await }
    });
    settle().await;
    // What leaves makes room.
    let before = manual.sent().len();
    manual.set_ready(true);
    settle().await;
    within(HOUR, told()).await.unwrap();
    let sent = manual.sent_after(before);
    assert_eq!(sent.iter().filter(|text| text.contains("\"n\"")).count(), kept);
    assert_eq!(
        sent.iter().filter(|text| text.contains("\"m\"")).count(),
        1,
        "the call was accepted"
    );
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn a_notification_larger_than_all_room_goes_alone() {
    let (manual, client, _inbound) = start(&layer());
    settle().await;
    manual.set_ready(false);
    let huge = to_raw_value(&["x".repeat(20 << 20)]).unwrap();
    client.notify(Request::new("n").raw_params(&huge)).await.unwrap();
    let second = client.notify(Request::new("n").timeout(SECOND)).await;
    assert!(
        matches!(second, Err(CallError::TimedOut { sent: false, .. })),
        "{second:?}"
    );
    manual.set_ready(true);
    settle().await;
    client.notify(Request::new("n")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_in_bytes_is_told_of_the_end() {
    let (manual, client, _inbound) = start(&layer());
    settle().await;
    manual.set_ready(false);
    let huge = to_raw_value(&["x".repeat(20 << 20)]).unwrap();
    client.notify(Request::new("n").raw_params(&huge)).await.unwrap();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.notify(Request::new("n")).await }
    });
    settle().await;
    drop(client.close(SECOND).now_or_never());
    let outcome = within(HOUR, waits).await.unwrap();
    assert!(matches!(outcome, Err(CallError::Closed(_))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn late_notifications_give_their_room_back_and_are_told_of() {
    let (manual, client, mut inbound) = start(&layer().max_calls(4));
    settle().await;
    manual.down(cable(), true);
    manual.set_ready(false);
    settle().await;
    for _ in 0..4 {
        client.notify(Request::new("n").timeout(SECOND)).await.unwrap();
    }
    let start = Instant::now();
    let call = within(HOUR, client.send(Request::new("m").timeout(SECOND * 2))).await;
    assert!(matches!(call, Err(CallError::TimedOut { sent: false, .. })));
    assert_eq!(start.elapsed(), SECOND * 2, "room came after one second");
    let mut late = 0;
    while let Some(Some(item)) = inbound.next().now_or_never() {
        let reason = DropReason::Expired;
        late += usize::from(matches!(item, Incoming::Undelivered { reason: found, .. } if found == reason));
    }
    assert_eq!(late, 4);
}

#[tokio::test(start_paused = true)]
async fn a_limit_covers_the_wait_for_room() {
    let (manual, client, _inbound) = start(&layer().max_calls(1));
    settle().await;
    manual.down(cable(), true);
    manual.set_ready(false);
    let first = client.clone();
    let _first = tokio::spawn(async move { first.send(Request::new("a").timeout(SECOND * 8)).await });
    settle().await;
    let start = Instant::now();
    for made in 0..2 {
        let outcome = match made {
            0 => client.send(Request::new("b").timeout(SECOND * 5)).await.err(),
            _ => client.notify(Request::new("b").timeout(SECOND * 2)).await.err(),
        };
        assert!(
            matches!(outcome, Some(CallError::TimedOut { sent: false, .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(start.elapsed(), SECOND * 7);
}

#[tokio::test(start_paused = true)]
async fn very_many_calls_while_down_all_end_in_time() {
    const CALLS: usize = 20_000;
    let (manual, client, _inbound) = start(&layer().max_calls(64).timeout(SECOND * 5));
    settle().await;
    manual.down(cable(), true);
    manual.set_ready(false);
    let start = Instant::now();
    let calls = (0..CALLS).map(|_| client.send(Request::new("m")));
    let outcomes = futures_util::future::join_all(calls).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(CallError::TimedOut { sent: false, .. })))
    );
    assert!(start.elapsed() <= SECOND * 6, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_ready_is_closed_after_the_end() {
    let (manual, mut client, _inbound) = start(&layer());
    settle().await;
    poll_fn(|cx| Service::<Request>::poll_ready(&mut client, cx))
        .await
        .unwrap();
    manual.down(cable(), false);
    manual.end();
    settle().await;
    let ready = poll_fn(|cx| Service::<Request>::poll_ready(&mut client, cx)).await;
    assert!(matches!(ready, Err(CallError::Closed(Some(_)))), "{ready:?}");
}

/// On a runtime of one thread, whose main task is the one that reads.
#[tokio::test]
async fn a_burst_is_lost_to_no_reader_that_only_reads() {
    const BURST: usize = 10_000;
    let (near, mut far) = memory::pair::<String>(BURST);
    for n in 0..BURST {
        coop::unconstrained(far.feed(push(n))).await.unwrap();
    }
    let (_client, mut inbound, driver) = layer().pair(Lift::new(near));
    tokio::spawn(driver);
    let mut read = 0;
    while read < BURST {
        match timeout(SECOND * 20, inbound.next()).await.expect("more is to come") {
            Some(Incoming::Up(_)) => {}
            Some(Incoming::Notification(said)) => {
                assert_eq!(said.params::<[usize; 1]>().unwrap(), [read]);
                read += 1;
            }
            other => panic!("after {read}: {other:?}"),
        }
    }
}

/// tokio lets a task do only so much in one poll: reading must not use up all of it.
#[tokio::test]
async fn a_reader_of_much_writes_all_the_same() {
    let (near, mut far) = memory::pair::<String>(100_000);
    for n in 0..100_000 {
        coop::unconstrained(far.feed(push(n))).await.unwrap();
    }
    let (client, _inbound, driver) = layer().pair(Lift::new(near));
    tokio::spawn(driver);
    let call = tokio::spawn(async move { client.send(Request::new("m")).await });
    let asked = timeout(SECOND * 20, far.next())
        .await
        .expect("it is written")
        .unwrap()
        .unwrap();
    assert!(asked.contains(r#""method":"m""#));
    call.abort();
}
