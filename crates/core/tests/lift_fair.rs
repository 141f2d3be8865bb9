//! A peer that always has something to say puts nothing off for long: law 12.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{future::poll_fn, task::Poll, time::Duration};

use futures_util::{FutureExt, SinkExt, Stream, StreamExt};
use tokio::{task::coop, time::advance};
use tower_ws_core::{Deadlines, DropReason, Event, Lift, Outgoing};
use tower_ws_test_kit::{ManualSocket, expect};

const LIMIT: Duration = Duration::from_secs(2);
/// How many events a flood may put anything off by.
const FAIR: usize = 64;

type Subject = Lift<ManualSocket<u32>, u32>;

async fn flooded(deadlines: Deadlines) -> (Subject, ManualSocket<u32>) {
    let socket = ManualSocket::new();
    let mut lift = Lift::new(socket.clone()).deadlines(deadlines, None);
    expect::up(&mut lift).await;
    socket.floods(7);
    (lift, socket)
}

/// How many messages are read before something else comes up.
async fn messages_before_another(lift: &mut (impl Stream<Item = Event<u32>> + Unpin)) -> (usize, Option<Event<u32>>) {
    for read in 0..10 * FAIR {
        match lift.next().await {
            Some(Event::Message(_)) => {}
            other => return (read, other),
        }
    }
    panic!("the flood puts off everything");
}

#[tokio::test(start_paused = true)]
async fn a_flood_puts_off_no_write_deadline() {
    let (mut lift, socket) = flooded(Deadlines::default().write(Some(LIMIT))).await;
    socket.set_ready(false);
    assert!(lift.send(1.into()).now_or_never().is_none());
    lift.next().await;
    advance(LIMIT).await;
    let (read, Some(Event::Down(down))) = messages_before_another(&mut lift).await else {
        panic!("the deadline is over")
    };
    assert!(read <= FAIR, "{read}");
    assert!(down.cause.to_string().contains("took no byte"), "{down:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_puts_off_no_close() {
    let (mut lift, _socket) = flooded(Deadlines::default().close(LIMIT)).await;
    let _ = lift.close().now_or_never();
    advance(LIMIT).await;
    let (read, other) = messages_before_another(&mut lift).await;
    assert!(read <= FAIR, "{read}");
    assert!(matches!(other, Some(Event::Down(_))));
}

#[tokio::test(start_paused = true)]
async fn a_flood_puts_off_no_write() {
    let (mut lift, socket) = flooded(Deadlines::default()).await;
    lift.start_send_unpin(Outgoing::new(1).control()).unwrap();
    for _ in 0..=FAIR {
        lift.next().await;
    }
    assert_eq!((socket.sent(), socket.flushed()), (vec![1], 1));
}

/// tokio lets a task do only so much in one poll; then every timer is pending, whatever its time.
#[tokio::test(start_paused = true)]
async fn a_spent_budget_puts_off_no_deadline() {
    let socket = ManualSocket::new();
    let mut lift = Lift::<_, u32>::new(socket.clone()).deadlines(Deadlines::default().write(Some(LIMIT)), None);
    expect::up(&mut lift).await;
    socket.set_ready(false);
    assert!(lift.send(1.into()).now_or_never().is_none());
    assert!(lift.next().now_or_never().is_none());
    advance(LIMIT).await;
    let ended = poll_fn(|cx| {
        while coop::has_budget_remaining() {
            let _ = coop::poll_proceed(cx).map(|unit| unit.made_progress());
        }
        Poll::Ready(lift.poll_next_unpin(cx))
    });
    assert!(matches!(ended.await, Poll::Ready(Some(Event::Down(_)))));
}

/// A socket that takes messages into its buffer and flushes nothing has not moved.
#[tokio::test(start_paused = true)]
async fn what_a_buffer_takes_is_no_progress() {
    let socket = ManualSocket::new();
    let mut lift = Lift::<_, u32>::new(socket.clone()).deadlines(Deadlines::default().write(Some(LIMIT)), None);
    expect::up(&mut lift).await;
    socket.set_ready(false);
    socket.takes(usize::MAX);
    for n in 0.. {
        if lift.feed(n.into()).await.is_err() {
            break;
        }
        assert!(n < 10, "the deadline is put off by each message");
        let _ = lift.flush().now_or_never();
        if let Some(Some(Event::Down(_))) = lift.next().now_or_never() {
            break;
        }
        advance(LIMIT / 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_reader_goes_on_with_a_flush_that_was_given_up() {
    let socket = ManualSocket::new();
    let mut lift = Lift::<_, u32>::new(socket.clone()).deadlines(Deadlines::default().write(Some(LIMIT)), None);
    expect::up(&mut lift).await;
    socket.set_ready(false);
    socket.takes(usize::MAX);
    lift.feed(1.into()).await.unwrap();
    assert!(lift.flush().now_or_never().is_none());
    // The writer finds room, and writes nothing after all.
    poll_fn(|cx| lift.poll_ready_unpin(cx)).await.unwrap();
    socket.set_ready(true);
    assert!(lift.next().now_or_never().is_none());
    assert_eq!(socket.flushed(), 1);
}

/// It was accepted, and a control message went ahead of it.
#[tokio::test(start_paused = true)]
async fn what_the_socket_never_got_comes_back() {
    let socket = ManualSocket::new();
    let mut lift = Lift::<_, u32>::new(socket.clone());
    expect::up(&mut lift).await;
    poll_fn(|cx| lift.poll_ready_unpin(cx)).await.unwrap();
    lift.start_send_unpin(Outgoing::new(1).control()).unwrap();
    assert!(lift.next().now_or_never().is_none());
    lift.start_send_unpin(Outgoing::new(2)).unwrap();
    socket.breaks();
    assert!(lift.flush().await.is_err());
    socket.end();
    let (item, reason) = expect::dropped(&mut lift).await;
    assert_eq!((item.message, reason), (2, DropReason::Disconnected));
    expect::down(&mut lift).await;
    assert_eq!(socket.sent(), [1]);
}

#[tokio::test(start_paused = true)]
async fn control_messages_that_were_never_written_come_back_at_the_end() {
    let socket = ManualSocket::new();
    let mut lift = Lift::<_, u32>::new(socket.clone());
    expect::up(&mut lift).await;
    socket.set_ready(false);
    for n in 1..=3 {
        lift.start_send_unpin(Outgoing::new(n).control()).unwrap();
    }
    assert!(lift.next().now_or_never().is_none());
    socket.end();
    for n in 1..=3 {
        let (item, reason) = expect::dropped(&mut lift).await;
        assert_eq!((item.message, reason), (n, DropReason::Disconnected));
    }
    expect::down(&mut lift).await;
}
