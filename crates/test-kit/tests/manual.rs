//! What is driven by hand does what the test says, and wakes whom it concerns.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::ServiceExt;
use tower_ws_core::{DropReason, Event, Failure, FailureKind, Outgoing, Phase, Ticket};
use tower_ws_test_kit::{
    ManualConnection, ManualDialer, ManualSocket,
    expect::{self, SECOND, within},
};

#[test]
fn reader_and_writer_are_woken_apart() {
    let manual = ManualConnection::<&str>::new();
    let mut connection = manual.clone();
    manual.takes(0);
    let mut reader = task::spawn(manual.clone());
    let mut writer = task::spawn(());
    assert_pending!(reader.poll_next());
    assert_pending!(writer.enter(|cx, _| connection.poll_ready_unpin(cx)));

    manual.set_ready(false);
    manual.set_flush(true);
    assert!(!writer.is_woken(), "nothing has changed");
    manual.say("hello");
    assert!(reader.is_woken() && !writer.is_woken());
    assert!(matches!(
        assert_ready!(reader.poll_next()),
        Some(Event::Message("hello"))
    ));
    assert_pending!(reader.poll_next());
    manual.takes(1);
    assert!(writer.is_woken() && !reader.is_woken());
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_as_much_as_it_is_told_and_counts_flushes() {
    let mut manual = ManualConnection::new();
    manual.takes(1);
    manual.send("a secret".into()).await.unwrap();
    let mut writer = task::spawn(());
    assert_pending!(writer.enter(|cx, _| manual.poll_ready_unpin(cx)));
    manual.set_flush(false);
    assert_pending!(writer.enter(|cx, _| manual.poll_close_unpin(cx)));
    manual.set_flush(true);
    assert!(writer.is_woken());
    assert!(manual.start_send_unpin("two".into()).is_err(), "closed");
    assert_eq!((manual.sent(), manual.flushes()), (vec!["a secret"], 1));
    assert!(!format!("{manual:?}").contains("a secret"));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_sent_comes_back() {
    let mut manual = ManualConnection::new();
    manual.up();
    let (sent, cancelled) = (Ticket::new(), Ticket::new());
    cancelled.cancel();
    manual.feed(Outgoing::new(1).ticket(sent.clone())).await.unwrap();
    manual.feed(Outgoing::new(2).ticket(cancelled)).await.unwrap();
    manual.feed(Outgoing::new(3).deadline(Instant::now())).await.unwrap();
    manual.breaks();
    manual.feed(Outgoing::new(4)).await.unwrap();

    expect::up(&mut manual).await;
    for (message, why) in [
        (2, DropReason::Cancelled),
        (3, DropReason::Expired),
        (4, DropReason::Disconnected),
    ] {
        let (item, reason) = expect::dropped(&mut manual).await;
        assert_eq!((item.message, reason), (message, why));
    }
    assert_eq!(manual.sent(), [1]);
    assert_eq!(sent.phase(), Phase::Sent(1));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_breaks_wakes_its_writer_with_an_error() {
    let socket = ManualSocket::<u32>::new();
    socket.set_ready(false);
    let mut sink = socket.clone();
    let writer = tokio::spawn(async move { sink.send(1).await });
    tokio::task::yield_now().await;
    socket.breaks();
    assert!(within(SECOND, writer).await.unwrap().is_err());
    socket.fail("reset");
    socket.end();
    let read: Vec<_> = socket.clone().collect().await;
    assert!(matches!(&*read, [Err(_)]), "{read:?}");
    assert_eq!((socket.sent().len(), socket.flushed(), socket.writes()), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_dial_waits_for_the_test() {
    let dialer = ManualDialer::<&str>::new();
    let dial = tokio::spawn(dialer.clone().oneshot(()));
    sleep(SECOND).await;
    assert!(!dial.is_finished());
    dialer.accepts();
    let mut connection = within(SECOND, dial).await.unwrap().unwrap();
    assert_eq!(expect::up(&mut connection).await.epoch, 1);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected Up, got Some(Down")]
async fn an_expectation_says_what_came_instead() {
    let mut manual = ManualConnection::<&str>::new();
    manual.down(Failure::new(FailureKind::Network, "gone"), false);
    expect::up(&mut manual).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected a message, and nothing came within 600s")]
async fn an_expectation_does_not_wait_for_ever() {
    expect::message(&mut ManualConnection::<&str>::new()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "nothing came of it within 1s")]
async fn a_future_has_its_limit() {
    within(SECOND, std::future::pending::<()>()).await;
}
