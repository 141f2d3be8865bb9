//! What comes in: a flood is read slowly, then ended; and nobody else takes the silence for
//! something else.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::{SECOND, arrived, connect, down, dropped, n, network, read_all};
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_core::{Disposition, DropReason, Event, FailureKind};
use tower_ws_health::{HealthLayer, probe_fn};
use tower_ws_rate_limit::{Inbound, Quota, RateLimitLayer};

fn ten_a_second() -> (RateLimitLayer, tower_ws_rate_limit::Handle) {
    let (layer, handle) = RateLimitLayer::pair();
    (layer.inbound(Quota::per_second(n(10))), handle)
}

/// A peer that never stops.
async fn flood(mut far: support::Far) {
    while far.send("more".to_owned()).await.is_ok() {}
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_read_at_the_rate_then_ended() {
    let (layer, handle) = ten_a_second();
    let (mut connection, far) = connect(&layer).await;
    tokio::spawn(flood(far));
    let start = Instant::now();
    let mut read = 0;
    let down = loop {
        match connection.next().await {
            Some(Event::Message(_)) => read += 1,
            Some(Event::Down(down)) => break down,
            event => panic!("{event:?}"),
        }
    };
    let took = start.elapsed();
    assert!(
        took >= Inbound::PATIENCE && took < Inbound::PATIENCE + SECOND,
        "{took:?}"
    );
    // The burst, and ten a second.
    assert!((300..=315).contains(&read), "{read}");
    assert_eq!(down.cause.kind(), FailureKind::Policy);
    let Disposition::Wait { least, .. } = down.cause.disposition() else {
        panic!("to come back at once invites the same: {:?}", down.cause.disposition())
    };
    assert!(least >= Duration::from_secs(30));
    assert!(connection.next().await.is_none());
    assert!(connection.send("hello".to_owned().into()).await.is_err());
    let stats = handle.snapshot();
    assert_eq!((stats.floods, stats.flooded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_ends_is_read_whole() {
    let (layer, handle) = ten_a_second();
    let (mut connection, mut far) = connect(&layer).await;
    for round in 1..=5 {
        for n in 0..200 {
            far.send(n.to_string()).await.unwrap();
        }
        let start = Instant::now();
        for n in 0..200 {
            assert!(matches!(connection.next().await, Some(Event::Message(said)) if said == n.to_string()));
        }
        assert!(start.elapsed() >= SECOND * 18, "{:?}", start.elapsed());
        assert!(timeout(SECOND * 5, connection.next()).await.is_err());
        assert_eq!(handle.snapshot().floods, round);
    }
    assert_eq!(handle.snapshot().flooded, 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_count_too_and_no_stop_is_long() {
    let inbound = Inbound::new().bytes(Quota::per_second(n(1_000)));
    let (mut connection, mut far) = connect(&RateLimitLayer::new().inbound(inbound)).await;
    far.send("x".repeat(1_000_000)).await.unwrap();
    for _ in 0..3 {
        far.send("x".to_owned()).await.unwrap();
    }
    connection.next().await;
    let mut start = Instant::now();
    connection.next().await;
    for _ in 0..2 {
        start = Instant::now();
        assert!(matches!(connection.next().await, Some(Event::Message(_))));
        assert!(start.elapsed() <= SECOND * 5 + SECOND / 100, "{:?}", start.elapsed());
    }
    assert!(start.elapsed() >= SECOND * 5);
}

#[tokio::test(start_paused = true)]
async fn writing_goes_on_while_nothing_is_read() {
    let inbound = Inbound::new().messages(Quota::per_minute(n(1)));
    let layer = RateLimitLayer::new().inbound(inbound).messages(Quota::per_second(n(1)));
    let (mut connection, mut far) = connect(&layer).await;
    for _ in 0..3 {
        far.send("said".to_owned()).await.unwrap();
    }
    for _ in 0..2 {
        connection.next().await;
    }
    let (mut writer, reader) = connection.split();
    let reader = read_all(reader);
    let start = Instant::now();
    for n in 0..4 {
        writer.send(n.to_string().into()).await.unwrap();
    }
    assert!(start.elapsed() < SECOND * 5, "{:?}", start.elapsed());
    assert_eq!(arrived(&mut far).len(), 4);
    // What has been accepted moves although nobody writes, and nothing is read.
    let send = writer.send("last".to_owned().into());
    assert!(timeout(SECOND / 10, send).await.is_err());
    sleep(SECOND).await;
    assert_eq!(arrived(&mut far), ["last"]);
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_comes_back_before_a_flood_ends_it() {
    let inbound = Inbound::from(Quota::per_second(n(1))).patience(SECOND * 5);
    let layer = RateLimitLayer::new().inbound(inbound).messages(Quota::per_minute(n(1)));
    let (mut connection, far) = connect(&layer).await;
    tokio::spawn(flood(far));
    connection.send("first".to_owned().into()).await.unwrap();
    connection.feed("second".to_owned().into()).await.unwrap();
    loop {
        match connection.next().await {
            Some(Event::Message(_)) => {}
            event => {
                assert_eq!(dropped(event), ("second".to_owned(), DropReason::Disconnected));
                break;
            }
        }
    }
    assert_eq!(down(&mut connection).await.cause.kind(), FailureKind::Policy);
    assert!(connection.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_reads_to_the_end_without_a_limit() {
    let inbound = Inbound::new().messages(Quota::per_minute(n(1)));
    let (mut connection, mut far) = connect(&RateLimitLayer::new().inbound(inbound)).await;
    for n in 0..100 {
        far.send(n.to_string()).await.unwrap();
    }
    for _ in 0..2 {
        connection.next().await;
    }
    let (mut writer, reader) = connection.split();
    // It is stopped, on a task of its own.
    let reader = read_all(reader);
    tokio::task::yield_now().await;
    let start = Instant::now();
    writer.close().await.unwrap();
    drop(far);
    let events = reader.await.unwrap();
    assert_eq!(events.len(), 99);
    assert!(matches!(events.last(), Some(Event::Down(_))));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Health stands below. The stops are five times as long as its patience, and the peer answers its
/// probes.
#[tokio::test(start_paused = true)]
async fn a_stop_is_not_taken_for_a_dead_peer() {
    let (memory, mut listener) = network();
    let probe = probe_fn(
        |nonce| format!("PING {nonce}"),
        |message: &String| message.strip_prefix("PONG ")?.parse().ok(),
    );
    let (health, stats) = HealthLayer::pair();
    let health = health.probe(probe);
    let inbound = Inbound::new()
        .messages(Quota::per_minute(n(1)))
        .patience(SECOND * 3_600);
    let connect = ServiceBuilder::new()
        .layer(RateLimitLayer::new().inbound(inbound))
        .layer(health.interval(SECOND).timeout(SECOND).jitter(0.0))
        .service(memory);
    let (connection, far) = tokio::join!(connect.oneshot(()), listener.accept());
    let (mut connection, mut far) = (connection.unwrap(), far.unwrap());
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    // Few messages, each worth a stop, then silence: it is asked, and answers.
    tokio::spawn(async move {
        for n in 0..6_u32 {
            far.send(n.to_string()).await.unwrap();
        }
        while let Some(Ok(said)) = far.next().await {
            if let Some(nonce) = said.strip_prefix("PING ") {
                far.send(format!("PONG {nonce}")).await.unwrap();
            }
        }
    });
    let mut read = 0;
    let ended = timeout(SECOND * 120, async {
        loop {
            match connection.next().await {
                Some(Event::Message(_)) => read += 1,
                event => return event,
            }
        }
    });
    assert!(ended.await.is_err(), "health has judged");
    assert_eq!(read, 6);
    // It has watched after the stops, and not during them.
    let stats = stats.snapshot();
    assert!(stats.probes_answered > 40, "{stats:?}");
    assert!(stats.probes_lost <= 1, "{stats:?}");
}

/// The other way: a peer that is dead is left, stops or not.
#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_left_after_the_stops() {
    let (memory, mut listener) = network();
    let probe = probe_fn(|nonce| format!("PING {nonce}"), |_: &String| None);
    let inbound = Inbound::new()
        .messages(Quota::per_minute(n(1)))
        .patience(SECOND * 3_600);
    let connect = ServiceBuilder::new()
        .layer(RateLimitLayer::new().inbound(inbound))
        .layer(HealthLayer::new().probe(probe).interval(SECOND).timeout(SECOND))
        .service(memory);
    let (connection, far) = tokio::join!(connect.oneshot(()), listener.accept());
    let (mut connection, mut far) = (connection.unwrap(), far.unwrap());
    for n in 0..3 {
        far.send(n.to_string()).await.unwrap();
    }
    let start = Instant::now();
    assert_eq!(down(&mut connection).await.cause.kind(), FailureKind::Timeout);
    assert!(start.elapsed() <= SECOND * 20, "{:?}", start.elapsed());
}
