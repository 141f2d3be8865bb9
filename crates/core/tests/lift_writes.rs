//! Corners of the lift: writes that are given up, and the control lane.

use std::{future::poll_fn, task::Poll, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tower_ws_core::{Deadlines, Event, Lane, Lift, Outgoing};
use tower_ws_test_kit::ManualSocket;
use tower_ws_transport::memory;

/// A write that is given up is not a peer that has stopped reading.
#[tokio::test(start_paused = true)]
async fn a_send_that_is_given_up_does_not_condemn_the_connection() {
    let (near, mut far) = memory::pair::<String>(1);
    let mut connection = Lift::new(near);
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    connection.send("one".to_owned().into()).await.unwrap();
    let given_up = timeout(Duration::from_millis(10), connection.send("two".to_owned().into())).await;
    assert!(given_up.is_err(), "the peer has not read yet");

    assert_eq!(far.next().await.unwrap().unwrap(), "one");
    let quiet = timeout(Deadlines::WRITE * 3, connection.next()).await;
    assert!(
        quiet.is_err(),
        "the peer reads, and nothing waits to be written, but: {quiet:?}"
    );
}

/// The same, in the flush.
#[tokio::test(start_paused = true)]
async fn a_flush_that_is_given_up_goes_on_in_the_reader() {
    let (near, far) = tokio::io::duplex(64);
    let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let mut connection = Lift::new(near);
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    let long = Message::text("x".repeat(1000));
    assert!(connection.send(Outgoing::new(long)).now_or_never().is_none());

    let reader = tokio::spawn(async move { connection.next().await });
    let said = timeout(Duration::from_secs(1), far.next()).await;
    assert!(said.is_ok(), "reading drives everything, a flush that was begun too");
    sleep(Deadlines::WRITE * 3).await;
    assert!(!reader.is_finished(), "the peer reads, and nothing waits to be written");
}

/// A control message that the reader writes must not use up the readiness that the writer was told
/// of.
#[tokio::test(start_paused = true)]
async fn control_leaves_a_writers_readiness_alone() {
    let (near, mut far) = memory::pair::<String>(1);
    let mut connection = Lift::new(near);
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    poll_fn(|cx| connection.poll_ready_unpin(cx)).await.unwrap();
    connection
        .start_send_unpin(Outgoing::new("ping".to_owned()).control())
        .unwrap();
    let read = poll_fn(|cx| Poll::Ready(connection.poll_next_unpin(cx))).await;
    assert!(read.is_pending(), "{read:?}");
    connection.start_send_unpin(Outgoing::new("text".to_owned())).unwrap();

    let reader = tokio::spawn(async move { connection.next().await });
    for expected in ["ping", "text"] {
        let said = timeout(Duration::from_secs(1), far.next()).await;
        assert_eq!(said.expect("not lost").expect("not closed").unwrap(), expected);
    }
    assert!(!reader.is_finished());
}

/// A socket whose write side has failed is not asked again and again while its peer's last words
/// are awaited.
#[tokio::test(start_paused = true)]
async fn a_failed_write_is_not_tried_over_and_over() {
    let socket = ManualSocket::new();
    socket.breaks();
    let mut connection = Lift::new(socket.clone());
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    let ping = Outgoing::new("ping".to_owned()).control();
    connection.start_send_unpin(ping).unwrap();
    let reader = tokio::spawn(async move { while connection.next().await.is_some() {} });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    reader.abort();
    let tries = socket.writes();
    assert!(tries < 10, "{tries} tries, one for each time that the reader ran");
}

/// More control messages than there is room for come back, in the right number.
#[tokio::test(start_paused = true)]
async fn the_seventeenth_control_message_comes_back() {
    let (near, mut far) = memory::pair::<String>(1);
    let mut connection = Lift::new(near);
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    for n in 0..=Lane::CONTROL_ROOM {
        connection
            .start_send_unpin(Outgoing::new(n.to_string()).control())
            .unwrap();
    }
    let back = connection.next().await;
    assert!(
        matches!(&back, Some(Event::Dropped(item, _)) if item.message == "16"),
        "{back:?}"
    );
    tokio::spawn(async move { connection.next().await });
    for n in 0..Lane::CONTROL_ROOM {
        assert_eq!(far.next().await.unwrap().unwrap(), n.to_string());
    }
}
