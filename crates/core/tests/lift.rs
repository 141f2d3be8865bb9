//! `Lift` over a real WebSocket implementation in memory, and over sockets that misbehave.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tower_ws_core::*;
use tower_ws_test_kit::ManualSocket;

/// Numbers over 1,000 go in pieces of 1,000; those over 1,000,000 are refused; below 10 they may go
/// between.
#[derive(Debug)]
struct Numbers;

impl Wire<u32> for Numbers {
    fn admit(&self, message: &u32) -> Result<(), DropReason> {
        match *message {
            0..=1_000_000 => Ok(()),
            size => Err(DropReason::TooLarge {
                size: size as usize,
                limit: 1_000_000,
            }),
        }
    }
    fn split(&self, message: &mut u32) -> Option<u32> {
        (*message > 1_000).then(|| {
            *message -= 1_000;
            1_000
        })
    }
    fn interleaves(&self, message: &u32) -> bool {
        *message < 10
    }
    fn close(&self, message: &u32) -> Option<Close> {
        (1000..5000).contains(message).then(|| Close {
            code: *message as u16,
            reason: String::new(),
        })
    }
    fn farewell(&self) -> Option<u32> {
        Some(999)
    }
}

type Subject = Lift<ManualSocket<u32>, u32, Numbers>;

async fn up(socket: &ManualSocket<u32>) -> Subject {
    let mut lift = Lift::with_wire(socket.clone(), Numbers);
    assert!(matches!(lift.next().await, Some(Event::Up(_))));
    lift
}

async fn next(lift: &mut Subject) -> Option<Event<u32>> {
    timeout(Duration::from_secs(600), lift.next()).await.expect("an event")
}

fn poll_once<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_comes_back_and_nothing_of_it_is_written() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    let cancelled = Ticket::new();
    cancelled.cancel();
    lift.feed(Outgoing::new(2_000_000)).await.unwrap();
    lift.feed(Outgoing::new(20).deadline(Instant::now())).await.unwrap();
    lift.feed(Outgoing::new(21).ticket(cancelled)).await.unwrap();
    for (expected, why) in [
        (
            2_000_000,
            DropReason::TooLarge {
                size: 2_000_000,
                limit: 1_000_000,
            },
        ),
        (20, DropReason::Expired),
        (21, DropReason::Cancelled),
    ] {
        let Some(Event::Dropped(item, reason)) = next(&mut lift).await else {
            panic!()
        };
        assert_eq!((item.message, reason), (expected, why));
    }
    assert!(socket.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_ping_goes_between_the_pieces_of_a_large_message_and_text_does_not() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    lift.feed(Outgoing::new(3_500)).await.unwrap();
    lift.start_send_unpin(Outgoing::new(5).control()).unwrap();
    lift.start_send_unpin(Outgoing::new(50).control()).unwrap();
    lift.flush().await.unwrap();
    assert_eq!(socket.sent(), [1_000, 5, 1_000, 1_000, 500, 50]);
}

#[tokio::test(start_paused = true)]
async fn control_needs_no_readiness_and_has_a_bound() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    socket.set_ready(false);
    for n in 0..=Lane::CONTROL_ROOM as u32 {
        lift.start_send_unpin(Outgoing::new(n).control()).unwrap();
    }
    let Some(Event::Dropped(item, DropReason::Overflow)) = next(&mut lift).await else {
        panic!()
    };
    assert_eq!(item.message, Lane::CONTROL_ROOM as u32);
    // Reading alone moves them once the socket takes them.
    assert!(poll_once(|cx| lift.poll_next_unpin(cx)).is_pending());
    socket.set_ready(true);
    assert!(poll_once(|cx| lift.poll_next_unpin(cx)).is_pending());
    assert_eq!(socket.sent().len(), Lane::CONTROL_ROOM);
    assert_eq!(socket.flushed(), Lane::CONTROL_ROOM);
}

#[tokio::test(start_paused = true)]
async fn a_writer_and_a_reader_on_two_tasks_do_not_silence_each_other() {
    let socket = ManualSocket::new();
    let lift = up(&socket).await;
    socket.set_ready(false);
    let (mut sink, mut stream) = lift.split();
    let writer = tokio::spawn(async move { sink.send(Outgoing::new(42)).await.map(|()| sink) });
    tokio::task::yield_now().await;
    let reader = tokio::spawn(async move {
        let event = stream.next().await;
        (event, stream)
    });
    tokio::task::yield_now().await;
    socket.set_ready(true);
    let _sink = timeout(Duration::from_secs(600), writer)
        .await
        .expect("the writer is woken")
        .unwrap();
    socket.say(7);
    let (event, _) = timeout(Duration::from_secs(600), reader)
        .await
        .expect("the reader is woken")
        .unwrap();
    assert!(matches!(event, Some(Event::Message(7))));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_gives_up_does_not_silence_the_reader() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    socket.set_ready(false);
    lift.start_send_unpin(Outgoing::new(1).control()).unwrap();
    let reader = {
        let mut lift = lift;
        tokio::spawn(async move {
            assert!(timeout(Duration::from_secs(1), lift.flush()).await.is_err());
            lift.next().await
        })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    socket.set_ready(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(socket.sent(), [1]);
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_is_left_at_the_write_deadline() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    socket.set_ready(false);
    let start = Instant::now();
    assert!(poll_once(|cx| lift.poll_ready_unpin(cx)).is_pending());
    let Some(Event::Down(down)) = next(&mut lift).await else {
        panic!()
    };
    assert_eq!(
        (down.cause.kind(), start.elapsed()),
        (FailureKind::Timeout, Deadlines::WRITE)
    );
    assert!(next(&mut lift).await.is_none());
    assert!(matches!(poll_once(|cx| lift.poll_ready_unpin(cx)), Poll::Ready(Err(_))));
}

#[tokio::test(start_paused = true)]
async fn the_write_deadline_reaches_a_reader_who_was_there_first() {
    let socket = ManualSocket::new();
    let (mut sink, mut stream) = up(&socket).await.split();
    let reader = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    socket.set_ready(false);
    let writer = tokio::spawn(async move { sink.send(Outgoing::new(1)).await });
    let event = timeout(Duration::from_secs(60), reader)
        .await
        .expect("the reader is woken")
        .unwrap();
    assert!(matches!(event, Some(Event::Down(_))));
    let sent = timeout(Duration::from_secs(60), writer)
        .await
        .expect("the writer is woken")
        .unwrap();
    assert_eq!(sent, Err(Closed));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_link_is_left_only_if_asked_and_only_when_it_is_quiet() {
    let socket = ManualSocket::new();
    let limit = Duration::from_secs(30);
    let mut lift = Lift::with_wire(socket.clone(), Numbers).deadlines(Deadlines::default().idle(Some(limit)), None);
    next(&mut lift).await;
    let start = Instant::now();
    assert!(timeout(limit / 2, lift.next()).await.is_err());
    socket.say(7);
    next(&mut lift).await;
    // Nobody reads for a long time: no evidence.
    tokio::time::sleep(limit * 3).await;
    socket.say(8);
    assert!(matches!(next(&mut lift).await, Some(Event::Message(8))));
    let heard = start.elapsed();
    let Some(Event::Down(down)) = next(&mut lift).await else {
        panic!()
    };
    assert_eq!(
        (down.cause.kind(), start.elapsed()),
        (FailureKind::Timeout, heard + limit)
    );
}

#[tokio::test(start_paused = true)]
async fn closing_loses_nothing_unread_and_has_a_deadline() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    socket.say(1);
    socket.say(2);
    lift.send(Outgoing::new(30)).await.unwrap();
    lift.close().await.unwrap();
    assert_eq!(socket.sent(), [30, 999]);
    assert!(matches!(next(&mut lift).await, Some(Event::Message(1))));
    assert!(matches!(next(&mut lift).await, Some(Event::Message(2))));
    let start = Instant::now();
    let Some(Event::Down(down)) = next(&mut lift).await else {
        panic!()
    };
    assert_eq!(down.cause.disposition(), Disposition::Final);
    assert_eq!(start.elapsed(), Deadlines::CLOSE);
    assert!(next(&mut lift).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_goodbye_and_stays_is_not_waited_for() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    socket.say(1001);
    let start = Instant::now();
    let Some(Event::Down(down)) = next(&mut lift).await else {
        panic!()
    };
    assert_eq!(down.cause.close().unwrap().code, 1001);
    assert_eq!(start.elapsed(), Deadlines::LINGER);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_in_time_while_the_peer_takes_nothing() {
    let socket = ManualSocket::new();
    let (mut sink, mut stream) = up(&socket).await.split();
    let reader = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    socket.set_ready(false);
    let start = Instant::now();
    let closer = tokio::spawn(async move { sink.close().await });
    let event = timeout(Duration::from_secs(60), reader)
        .await
        .expect("the reader is woken")
        .unwrap();
    assert!(matches!(event, Some(Event::Down(_))));
    assert_eq!(start.elapsed(), Deadlines::CLOSE);
    timeout(Duration::from_secs(60), closer)
        .await
        .expect("the closer is woken")
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_peers_close_code_is_the_cause_even_when_a_write_failed_first() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    socket.breaks();
    socket.say(5);
    socket.say(1008);
    socket.end();
    assert!(matches!(poll_once(|cx| lift.poll_ready_unpin(cx)), Poll::Ready(Err(_))));
    assert!(matches!(next(&mut lift).await, Some(Event::Message(5))));
    let Some(Event::Down(down)) = next(&mut lift).await else {
        panic!()
    };
    assert_eq!(down.cause.close().unwrap().code, 1008);
}

#[tokio::test(start_paused = true)]
async fn a_message_for_a_connection_that_has_just_died_comes_back() {
    let socket = ManualSocket::new();
    let mut lift = up(&socket).await;
    assert!(matches!(poll_once(|cx| lift.poll_ready_unpin(cx)), Poll::Ready(Ok(()))));
    socket.end();
    let ticket = Ticket::new();
    assert!(matches!(next(&mut lift).await, Some(Event::Down(_))));
    assert!(lift.start_send_unpin(Outgoing::new(1).ticket(ticket.clone())).is_err());
    assert_eq!(ticket.phase(), Phase::Waiting);
}

/// What fails the connection on this side, the peer is told: [`Numbers`] with a word for it.
#[derive(Debug)]
struct Protests;

impl Wire<u32> for Protests {
    fn protest(&self, failure: &Failure) -> Option<u32> {
        (failure.kind() == FailureKind::Protocol).then_some(1002)
    }
    fn failure(&self, error: BoxError) -> Failure {
        Failure::new(FailureKind::Protocol, "what came in is no number").with_source(error)
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_socket_ends_it_with_a_word_to_the_peer_if_that_takes_it() {
    for (takes, told) in [(true, vec![1002]), (false, vec![])] {
        let socket = ManualSocket::new();
        let mut up = Up::new().through("below");
        up.resumed = true;
        let progress = Progress::new();
        let mut lift = Lift::with_wire(socket.clone(), Protests)
            .up(up)
            .deadlines(Deadlines::default(), Some(progress.clone()));
        let Some(Event::Up(up)) = lift.next().await else {
            panic!("it comes up");
        };
        assert!(up.resumed && up.layers == ["below"]);
        progress.add_read(7);
        assert_eq!(up.extensions.get::<Progress>().unwrap().read(), 7);
        socket.set_ready(takes);
        socket.fail("a letter");
        let Some(Event::Down(down)) = lift.next().await else {
            panic!("it ends");
        };
        assert_eq!((down.cause.kind(), socket.sent()), (FailureKind::Protocol, told));
        assert!(lift.next().await.is_none());
        let closed = poll_once(|cx| lift.poll_ready_unpin(cx));
        assert!(matches!(closed, Poll::Ready(Err(Closed))), "{closed:?}");
        assert!(matches!(poll_once(|cx| lift.poll_close_unpin(cx)), Poll::Ready(Ok(()))));
        let shown = format!("{lift:?}");
        assert!(shown.starts_with("Lift { socket: None"), "{shown}");
    }
}
