//! What the queue does while there is no connection.

mod support;

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{SECOND, arrivals, dropped, message, outage, session, up};
use tokio::time::{Instant, sleep, timeout};
use tower_ws_core::{DropReason, Event, Outgoing, Phase, Ticket};
use tower_ws_queue::{Handle, Overflow, QueueLayer};

#[tokio::test(start_paused = true)]
async fn what_is_sent_in_an_outage_goes_out_in_order_without_another_flush() {
    let (layer, handle) = QueueLayer::pair();
    let (mut queue, mut listener) = outage(layer).await;
    for n in 0..10 {
        // A flush does not wait for the outage to end.
        queue.send(message(n)).now_or_never().unwrap().unwrap();
    }
    sleep(SECOND / 2).await;
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.depth, snapshot.bytes), (10, 10));
    assert_eq!(snapshot.oldest, Some(SECOND / 2));

    let (event, peer) = tokio::join!(queue.next(), listener.accept());
    let Some(Event::Up(second)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(second.layers, ["reconnect", "queue"]);
    assert!(second.extensions.get::<Handle>().is_some());
    let arrived = arrivals(&mut queue, &mut peer.unwrap(), 10).await;
    assert_eq!(arrived, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(handle.snapshot().depth, 0);
}

#[tokio::test(start_paused = true)]
async fn wait_by_count() {
    let (mut queue, mut listener) = outage(QueueLayer::new().messages(3)).await;
    for n in 0..3 {
        queue.feed(message(n)).await.unwrap();
    }
    assert!(queue.feed(message(3)).now_or_never().is_none(), "the sink is not ready");
    let (mut sink, mut stream) = queue.split();
    // Spawned: a future that is polled again for another reason would hide a lost wake-up.
    let writer = tokio::spawn(async move { sink.send(message(4)).await });
    let (_, peer) = tokio::join!(up(&mut stream), listener.accept());
    assert_eq!(arrivals(&mut stream, &mut peer.unwrap(), 4).await, ["0", "1", "2", "4"]);
    writer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn wait_by_bytes() {
    let (layer, handle) = QueueLayer::pair();
    let (mut queue, mut listener) = outage(layer.bytes(10)).await;
    queue.feed(message("sixsix")).await.unwrap();
    queue.feed(message("at the door")).await.unwrap();
    assert!(queue.feed(message("no")).now_or_never().is_none());
    assert_eq!(handle.snapshot().depth, 2);
    let (_, peer) = tokio::join!(up(&mut queue), listener.accept());
    let arrived = arrivals(&mut queue, &mut peer.unwrap(), 2).await;
    assert_eq!(arrived, ["sixsix", "at the door"]);
}

#[tokio::test(start_paused = true)]
async fn refuse_by_count_and_by_bytes() {
    let (layer, handle) = QueueLayer::pair();
    let layer = layer.messages(3).bytes(10).overflow(Overflow::Refuse);
    let (mut queue, _listener) = outage(layer).await;
    queue.feed(message("sixsix")).await.unwrap();
    queue.feed(message("sevenss")).await.unwrap();
    queue.feed(message("a")).await.unwrap();
    queue.feed(message("b")).await.unwrap();
    queue.feed(message("c")).await.unwrap();
    let refused = |text: &str| (text.to_owned(), DropReason::Overflow);
    assert_eq!(dropped(&mut queue), [refused("sevenss"), refused("c")]);
    assert_eq!(handle.snapshot().dropped.overflow, 2);
}

#[tokio::test(start_paused = true)]
async fn drop_the_oldest_by_count_and_by_bytes() {
    let layer = QueueLayer::new().messages(3).bytes(10).overflow(Overflow::DropOldest);
    let (mut queue, mut listener) = outage(layer).await;
    let mut victims = Vec::new();
    for text in ["a", "b", "c", "d", "ninenines", "larger than all"] {
        queue.feed(message(text)).await.unwrap();
        victims.extend(dropped(&mut queue).into_iter().map(|(text, _)| text));
    }
    assert_eq!(victims, ["a", "b", "c", "larger than all"]);
    let (_, peer) = tokio::join!(up(&mut queue), listener.accept());
    assert_eq!(arrivals(&mut queue, &mut peer.unwrap(), 2).await, ["d", "ninenines"]);
}

#[tokio::test(start_paused = true)]
async fn unread_victims_are_bounded() {
    let layer = QueueLayer::new().messages(4).overflow(Overflow::Refuse);
    let (mut queue, _listener) = outage(layer).await;
    for n in 0..8 {
        queue.feed(message(n)).now_or_never().unwrap().unwrap();
    }
    assert!(queue.feed(message(8)).now_or_never().is_none());
    assert_eq!(dropped(&mut queue).len(), 4);
    queue.feed(message(9)).now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn age_and_deadlines_hold_during_an_outage() {
    let (mut queue, _listener) = outage(QueueLayer::new().age(SECOND * 10)).await;
    let start = Instant::now();
    queue.feed(message("old")).await.unwrap();
    let urgent = message("urgent").deadline(start + SECOND * 3);
    let (mut sink, mut stream) = queue.split();
    let reader = tokio::spawn(async move {
        let mut expired = Vec::new();
        while expired.len() < 2 {
            match stream.next().await {
                Some(Event::Dropped(item, DropReason::Expired)) => expired.push((item.message, start.elapsed())),
                other => panic!("{other:?}"),
            }
        }
        expired
    });
    sleep(SECOND).await;
    // The reader has a later timer already, and must hear of this.
    sink.send(urgent).await.unwrap();
    let expired = reader.await.unwrap();
    assert_eq!((expired[0].0.as_str(), expired[1].0.as_str()), ("urgent", "old"));
    let slack = Duration::from_millis(2);
    assert!(
        expired[0].1 <= SECOND * 3 + slack && expired[1].1 <= SECOND * 10 + slack,
        "{expired:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_outage_floods_nobody() {
    let (layer, handle) = QueueLayer::pair();
    let (queue, mut listener) = outage(layer.overflow(Overflow::DropOldest)).await;
    let (mut sink, mut stream) = queue.split();
    let refuses = async {
        let end = Instant::now() + SECOND * 3600;
        while Instant::now() < end {
            listener.refuse().await;
        }
        listener
    };
    let writes = async {
        for n in 0..7200 {
            sink.send(message(n)).await.unwrap();
            assert!(handle.snapshot().depth <= 121);
            sleep(SECOND / 2).await;
        }
    };
    let mut expired = 0;
    let reads = async {
        loop {
            match stream.next().await {
                Some(Event::Dropped(_, DropReason::Expired)) => expired += 1,
                other => panic!("{other:?}"),
            }
        }
    };
    let mut listener = tokio::select! {
        (listener, ()) = async { tokio::join!(refuses, writes) } => listener,
        () = reads => unreachable!("it ends only by panicking"),
    };
    assert!(expired > 7000 && handle.snapshot().oldest.unwrap() <= SECOND * 61);
    let fresh = handle.snapshot().depth as usize;
    let accepted = async {
        let mut peer = listener.accept().await.unwrap();
        let first = peer.next().await.unwrap().unwrap();
        (first.parse::<u32>().unwrap(), peer)
    };
    let reads = async { while stream.next().await.is_some() {} };
    let (first, _peer) = tokio::select! {
        accepted = accepted => accepted,
        () = reads => panic!("the session ended"),
    };
    assert!(
        fresh <= 121 && first > 7200 - 125,
        "{fresh} were held, the first was {first}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_message_makes_room() {
    let (mut queue, _listener) = outage(QueueLayer::new().messages(2)).await;
    let tickets = [Ticket::new(), Ticket::new()];
    for ticket in &tickets {
        queue.feed(message("x").ticket(ticket.clone())).await.unwrap();
    }
    assert!(queue.feed(message("no room")).now_or_never().is_none());
    assert_eq!(tickets[0].cancel(), Phase::Waiting);
    queue.feed(message("room")).now_or_never().unwrap().unwrap();
    assert_eq!(dropped(&mut queue), [("x".to_owned(), DropReason::Cancelled)]);
}

#[tokio::test(start_paused = true)]
async fn control_is_never_held() {
    let (mut queue, _listener) = outage(QueueLayer::new()).await;
    queue.feed(message("normal")).await.unwrap();
    queue.start_send_unpin(message("ping").control()).unwrap();
    assert_eq!(dropped(&mut queue), [("ping".to_owned(), DropReason::Disconnected)]);
}

/// The deadlock that has a bug report in every client: a handler that sends, from the task that
/// reads.
#[tokio::test(start_paused = true)]
async fn a_handler_that_sends_at_a_full_queue() {
    let layer = QueueLayer::new().messages(1);
    let (mut queue, _listener) = outage(layer.clone().overflow(Overflow::Refuse)).await;
    queue.send(message("held")).await.unwrap();
    queue.send(message("refused")).await.unwrap();
    assert_eq!(dropped(&mut queue), [("refused".to_owned(), DropReason::Overflow)]);

    // With `Wait` it waits, for as long as nobody reads: the docs say so.
    let (mut queue, _listener) = outage(layer).await;
    queue.send(message("held")).await.unwrap();
    let waits = timeout(SECOND * 3600, queue.send(message("waits"))).await;
    assert!(waits.is_err());
}

/// Nobody tells the queue: it looks again while somebody waits.
#[tokio::test(start_paused = true)]
async fn what_was_cancelled_makes_room_for_a_writer_who_waits() {
    for waits_first in [false, true] {
        let (connection, _listener) = outage(QueueLayer::new().messages(1).age(Duration::MAX)).await;
        let (mut sink, mut stream) = connection.split();
        let ticket = Ticket::new();
        sink.send(Outgoing::new("a".to_owned()).ticket(ticket.clone()))
            .await
            .unwrap();
        let reader = tokio::spawn(async move { while stream.next().await.is_some() {} });
        if !waits_first {
            let _ = ticket.cancel();
        }
        let writer = tokio::spawn(async move { sink.send("b".to_owned().into()).await.is_ok() });
        tokio::time::sleep(300 * SECOND).await;
        assert_eq!(writer.is_finished(), !waits_first);
        let _ = ticket.cancel();
        assert!(
            tokio::time::timeout(SECOND, writer)
                .await
                .expect("there is room")
                .unwrap()
        );
        reader.abort();
    }
}

/// An answer to a request of the peer's, say: the next peer has asked nothing.
#[tokio::test(start_paused = true)]
async fn what_is_bound_to_a_connection_comes_back_with_its_end() {
    let (mut connection, peer, mut listener) = session(QueueLayer::new()).await;
    let epoch = up(&mut connection).await.epoch;
    // The socket takes some, the queue holds the rest.
    for n in 0..8 {
        connection
            .feed(Outgoing::new(format!("answer {n}")).epoch(epoch))
            .await
            .unwrap();
    }
    connection.feed("for anybody".to_owned().into()).await.unwrap();
    drop(peer);
    assert!(matches!(connection.next().await, Some(Event::Down(_))));
    connection
        .feed(Outgoing::new("late".to_owned()).epoch(epoch))
        .await
        .unwrap();
    let back = dropped(&mut connection);
    assert!(
        back.len() > 4 && back.iter().all(|(_, reason)| *reason == DropReason::Disconnected),
        "{back:?}"
    );
    let (_, peer) = tokio::join!(up(&mut connection), listener.accept());
    let mut peer = peer.unwrap();
    let _ = connection.next().now_or_never();
    assert_eq!(peer.next().await.unwrap().unwrap(), "for anybody");
}

#[tokio::test(start_paused = true)]
async fn what_is_bound_to_a_connection_that_is_gone_comes_back_at_once() {
    let (queue, _listener) = outage(QueueLayer::new()).await;
    let (mut sink, mut stream) = queue.split();
    let reading = tokio::spawn(async move { stream.next().await });
    // The reader waits for something else: it has to be woken.
    sink.send(message(0)).await.unwrap();
    tokio::task::yield_now().await;
    sink.send(message(1).epoch(1)).await.unwrap();
    let back = tokio::time::timeout(SECOND / 1000, reading).await;
    let back = back.expect("at once").unwrap();
    let Some(Event::Dropped(back, DropReason::Disconnected)) = back else {
        panic!("{back:?}");
    };
    assert_eq!(back.message, "1");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_dropped_holds_nothing() {
    let (layer, handle) = QueueLayer::pair();
    let (mut queue, _listener) = outage(layer).await;
    queue.feed(message(0)).await.unwrap();
    assert_eq!(handle.snapshot().depth, 1);
    drop(queue);
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.depth, snapshot.bytes, snapshot.oldest), (0, 0, None));
}
