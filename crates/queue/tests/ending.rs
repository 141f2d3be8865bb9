//! How a queue ends, and what becomes of what it holds.

mod support;

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{ROOM, SECOND, dropped, message, outage, session, single, up};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_ws_core::{DropReason, Event, boxed};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::{Decision, History, ReconnectLayer};
use tower_ws_transport::memory;

fn closed(n: impl ToString) -> (String, DropReason) {
    (n.to_string(), DropReason::Closed)
}

#[tokio::test(start_paused = true)]
async fn closing_drains_to_a_peer_that_reads() {
    let (mut queue, mut peer) = single(QueueLayer::new()).await;
    up(&mut queue).await;
    for n in 0..20 {
        queue.feed(message(n)).await.unwrap();
    }
    let reads = async {
        let mut arrived = Vec::new();
        while let Some(Ok(said)) = peer.next().await {
            arrived.push(said.parse::<u32>().unwrap());
        }
        arrived
    };
    let (done, arrived) = tokio::join!(queue.close(), reads);
    done.unwrap();
    assert_eq!(arrived, (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_on_a_slow_peer_and_hands_back_the_rest() {
    let (mut queue, _peer) = single(QueueLayer::new().drain(SECOND * 2)).await;
    up(&mut queue).await;
    for n in 0..ROOM + 3 {
        queue.feed(message(n)).await.unwrap();
    }
    let start = Instant::now();
    assert!(queue.close().now_or_never().is_none());
    assert!(queue.send(message("late")).await.is_err());
    let rest: Vec<_> = (ROOM..ROOM + 3).map(closed).collect();
    for expected in rest {
        match queue.next().await {
            Some(Event::Dropped(item, reason)) => assert_eq!((item.message, reason), expected),
            other => panic!("{other:?}"),
        }
    }
    let took = start.elapsed();
    assert!(took >= SECOND * 2 && took < SECOND * 3, "{took:?}");
    assert!(matches!(queue.next().await, Some(Event::Down(down)) if !down.will_retry));
    assert!(queue.next().await.is_none());
}

/// Whoever closes gives up waiting; reading goes on with it.
#[tokio::test(start_paused = true)]
async fn a_close_that_is_given_up_goes_on() {
    let (mut queue, _peer) = single(QueueLayer::new().drain(SECOND)).await;
    up(&mut queue).await;
    for n in 0..ROOM + 1 {
        queue.feed(message(n)).await.unwrap();
    }
    assert!(queue.close().now_or_never().is_none());
    assert!(matches!(queue.next().await, Some(Event::Dropped(..))));
    assert!(matches!(queue.next().await, Some(Event::Down(_))));
    assert!(queue.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_in_an_outage_does_not_wait() {
    let (mut queue, _listener) = outage(QueueLayer::new()).await;
    queue.feed(message(1)).await.unwrap();
    queue.close().now_or_never().unwrap().unwrap();
    assert_eq!(dropped(&mut queue), [closed(1)]);
    assert!(queue.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_hands_back_before_its_down() {
    let (mut queue, peer) = single(QueueLayer::new()).await;
    up(&mut queue).await;
    for n in 0..ROOM + 2 {
        queue.send(message(n)).now_or_never();
    }
    drop(peer);
    assert_eq!(dropped(&mut queue), [closed(ROOM), closed(ROOM + 1)]);
    assert!(queue.next().await.is_none());
    assert!(queue.send(message("late")).await.is_err());
}

/// Nobody waits for a link that will not come back: not what is held, not a writer, not a flush.
#[tokio::test(start_paused = true)]
async fn an_outage_that_turns_out_to_be_final_fails_fast() {
    let (memory, mut listener) = memory::channel::<String>(ROOM);
    let redial = ReconnectLayer::new()
        .seed(1)
        .policy(|_: &_, history: &History| match history.attempts {
            3.. => Decision::GiveUp,
            _ => Decision::RetryAfter(SECOND),
        });
    let service = QueueLayer::new().messages(2).layer(redial.layer(memory));
    let (connection, peer) = tokio::join!(service.oneshot(()), listener.accept());
    let mut queue = boxed(connection.unwrap());
    up(&mut queue).await;
    drop(peer);
    assert!(matches!(queue.next().await, Some(Event::Down(down)) if down.will_retry));
    for n in 0..2 {
        queue.send(message(n)).await.unwrap();
    }
    let (mut sink, mut stream) = queue.split();
    let writer = tokio::spawn(async move {
        let waits = sink.send(message("waits for room")).await;
        (waits.is_err(), sink.flush().await.is_err())
    });
    let refuses = async { while listener.refuse().await {} };
    let reads = async {
        let mut back = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Event::Dropped(item, reason) => back.push((item.message, reason)),
                other => panic!("{other:?}"),
            }
        }
        back
    };
    let back = tokio::select! {
        back = reads => back,
        () = refuses => unreachable!("the session is still there"),
    };
    assert_eq!(back, [closed(0), closed(1)]);
    assert_eq!(writer.await.unwrap(), (true, true));
}

/// What is held goes out as fast as the connection below takes it, and no faster.
#[tokio::test(start_paused = true)]
async fn the_pace_is_that_of_what_is_below() {
    let (layer, handle) = QueueLayer::pair();
    let (mut queue, mut peer) = single(layer).await;
    up(&mut queue).await;
    for n in 0..50 {
        queue.feed(message(n)).await.unwrap();
    }
    // The connection keeps one itself, beside what its socket takes.
    let below = 50 - handle.snapshot().depth as usize;
    assert!((ROOM..=ROOM + 1).contains(&below), "{below} have left");
    for read in 1..=50 - below {
        assert!(queue.next().now_or_never().is_none());
        assert_eq!(peer.next().await.unwrap().unwrap(), (read - 1).to_string());
        assert!(queue.next().now_or_never().is_none());
        assert_eq!(handle.snapshot().depth as usize, 50 - below - read);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_a_slow_peer_but_not_for_an_outage() {
    let (queue, mut peer, _listener) = session(QueueLayer::new()).await;
    let (mut sink, mut stream) = queue.split();
    up(&mut stream).await;
    for n in 0..ROOM * 3 {
        sink.feed(message(n)).await.unwrap();
    }
    let writer = tokio::spawn(async move {
        sink.flush().await.unwrap();
        sink
    });
    let reader = tokio::spawn(async move { stream.next().await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!writer.is_finished(), "the peer has not read");
    assert_eq!(peer.next().await.unwrap().unwrap(), "0");
    drop(peer);
    assert!(matches!(reader.await.unwrap(), Some(Event::Down(_))));
    drop(writer.await.unwrap());
}
