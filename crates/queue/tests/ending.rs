//! How a queue ends, and what becomes of what it holds.

mod support;

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{ROOM, SECOND, dropped, message, outage, session, single, up};
use tokio::time::Instant;
use tower_ws_core::{DropReason, Event};
use tower_ws_queue::QueueLayer;

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
