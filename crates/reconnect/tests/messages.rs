//! What becomes of messages while there is no connection.

mod support;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{Act, Net, down, dropped, message, ping, up};
use tokio::time::{sleep, timeout};
use tower_ws_core::{DropReason, Event, Lane, Phase, Ticket};
use tower_ws_reconnect::{Backoff, Handle, ReconnectLayer};

#[tokio::test(start_paused = true)]
async fn control_comes_back_while_there_is_no_connection() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    session.start_send_unpin(ping("too early")).unwrap();
    up(&mut session).await;
    assert_eq!(dropped(&mut session).await.0.message, "too early");
    net.peer().end(None);
    down(&mut session).await;
    session.start_send_unpin(ping("down")).unwrap();
    session
        .flush()
        .now_or_never()
        .expect("a flush is not held up by an outage")
        .unwrap();
    let (item, reason) = dropped(&mut session).await;
    assert_eq!((item.message.as_str(), reason), ("down", DropReason::Disconnected));
    up(&mut session).await;
    assert!(net.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_bounded_and_counted() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    let handle = up(&mut session).await.extensions.get::<Handle>().unwrap().clone();
    net.peer().end(None);
    down(&mut session).await;
    let awaited = ping("awaited").ticket(Ticket::new());
    for _ in 0..100 {
        session.start_send_unpin(ping("ping")).unwrap();
    }
    session.start_send_unpin(awaited).unwrap();
    for _ in 0..Lane::CONTROL_ROOM {
        assert_eq!(dropped(&mut session).await.0.message, "ping");
    }
    assert_eq!(dropped(&mut session).await.0.message, "awaited");
    assert_eq!(handle.discarded(), 100 - Lane::CONTROL_ROOM as u64);
    up(&mut session).await;
}

#[tokio::test(start_paused = true)]
async fn ready_in_one_epoch_is_not_ready_in_the_next() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    up(&mut session).await;
    let ready = |session: &mut support::Session<Backoff>| poll_fn(|cx| session.poll_ready_unpin(cx)).now_or_never();

    // The connection dies, and nobody has noticed.
    ready(&mut session).unwrap().unwrap();
    net.peer().end(None);
    let ticket = Ticket::new();
    session.start_send_unpin(message("a").ticket(ticket.clone())).unwrap();
    assert_eq!(ticket.phase(), Phase::Sent(1));
    down(&mut session).await;
    up(&mut session).await;

    // It is gone.
    ready(&mut session).unwrap().unwrap();
    net.peer().end(None);
    down(&mut session).await;
    session.start_send_unpin(message("b")).unwrap();
    assert_eq!(dropped(&mut session).await.0.message, "b");
    up(&mut session).await;

    // It has a successor.
    ready(&mut session).unwrap().unwrap();
    net.peer().end(None);
    down(&mut session).await;
    up(&mut session).await;
    session.start_send_unpin(message("c")).unwrap();
    let (item, reason) = dropped(&mut session).await;
    assert_eq!((item.message.as_str(), reason), ("c", DropReason::Disconnected));
    assert!(net.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tickets_enter_the_epoch_they_are_sent_in() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    for epoch in 1..4 {
        up(&mut session).await;
        let ticket = Ticket::new();
        session.send(message("x").ticket(ticket.clone())).await.unwrap();
        assert_eq!(ticket.phase(), Phase::Sent(epoch));
        net.peer().end(None);
        down(&mut session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_connection_gave_up_comes_before_its_down() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    up(&mut session).await;
    net.peer().reads(0);
    session.start_send_unpin(ping("stuck")).unwrap();
    net.peer().end(None);
    assert_eq!(dropped(&mut session).await.0.message, "stuck");
    down(&mut session).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_waits_for_a_dial_is_told_at_once() {
    let net = Net::new(|n| if n == 1 { Act::Accept } else { Act::Hang });
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    up(&mut session).await;
    net.peer().end(None);
    down(&mut session).await;
    // The split of futures-util hands nothing over without readiness, not even control.
    let shared = Arc::new(Mutex::new(session));
    let reading = shared.clone();
    let reader = tokio::spawn(poll_fn(move |cx| reading.lock().unwrap().poll_next_unpin(cx)));
    sleep(Duration::from_secs(60)).await;
    shared.lock().unwrap().start_send_unpin(ping("down")).unwrap();
    let told = timeout(Duration::from_secs(1), reader).await;
    let told = told.expect("the reader sleeps").unwrap();
    assert!(matches!(told, Some(Event::Dropped(item, _)) if item.message == "down"));
}
