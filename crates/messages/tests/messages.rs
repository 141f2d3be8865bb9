//! What a program may do with a session, and what becomes of each message.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{future::Future, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_core::{DropReason, Failure, FailureKind};
use tower_ws_messages::*;
use tower_ws_queue::{Overflow, QueueLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::ManualConnection;
use tower_ws_transport::{
    JsonText,
    memory::{self, Listener, Socket},
};

const SECOND: Duration = Duration::from_secs(1);

/// A bound for what must not hang. The clock is paused, so it costs nothing.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(600 * SECOND, future).await.expect("it hangs")
}

type Session = (Sender<String>, Events<String>);

/// A session that redials, and the server that the test plays.
async fn session(layer: MessagesLayer<String>) -> (Session, Listener<String>, Socket<String>) {
    let (transport, mut listener) = memory::channel::<String>(4);
    let stack = ServiceBuilder::new()
        .layer(layer)
        .layer(ReconnectLayer::new())
        .service(transport);
    let connecting = tokio::spawn(stack.oneshot(()));
    let socket = within(listener.accept()).await.unwrap();
    let mut session = within(connecting).await.unwrap().unwrap();
    assert!(matches!(within(session.1.next()).await, Some(Event::Up(up)) if up.epoch == 1));
    (session, listener, socket)
}

async fn heard(socket: &mut Socket<String>) -> String {
    within(socket.next()).await.unwrap().unwrap()
}

/// The next message.
async fn said(events: &mut Events<String>) -> String {
    match within(events.next()).await {
        Some(Event::Message(said)) => said,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways_in_order() {
    let ((sender, mut events), _listener, mut socket) = session(MessagesLayer::new()).await;
    for n in 0..100 {
        match n % 3 {
            0 => within(sender.send(n.to_string())).await.unwrap(),
            1 => assert_eq!(
                within(sender.send_confirmed(n.to_string())).await.unwrap(),
                Outcome::Written
            ),
            _ => sender.try_send(n.to_string()).unwrap(),
        }
        assert_eq!(heard(&mut socket).await, n.to_string());
        socket.send(n.to_string()).await.unwrap();
        assert_eq!(said(&mut events).await, n.to_string());
    }
    let closing = tokio::spawn(async move { sender.close(SECOND).await });
    assert!(within(closing).await.unwrap().is_empty());
    assert!(matches!(within(events.next()).await, Some(Event::Down(down)) if !down.will_retry));
    assert!(within(events.next()).await.is_none());
}

/// The loop that hangs over a raw session: nobody reads while a send waits.
#[tokio::test(start_paused = true)]
async fn one_task_that_sends_and_reads_never_hangs() {
    let ((sender, mut events), mut listener, socket) = session(MessagesLayer::new()).await;
    let program = tokio::spawn(async move {
        let (mut sent, mut ups) = (0, 0);
        while ups < 10 {
            tokio::select! {
                event = events.next() => match event.expect("the session lives") {
                    Event::Up(_) => ups += 1,
                    Event::Down(_) => within(sender.send("in between".to_owned())).await.unwrap(),
                    _ => {}
                },
                () = sleep(SECOND / 100) => {
                    within(sender.send("again".to_owned())).await.unwrap();
                    sent += 1;
                }
            }
        }
        sent
    });
    let mut socket = Some(socket);
    for cut in 0..10 {
        let mut connection = match socket.take() {
            Some(first) => first,
            None => within(listener.accept()).await.unwrap(),
        };
        for _ in 0..cut {
            if heard(&mut connection).await == "done" {
                break;
            }
        }
    }
    let mut last = within(listener.accept()).await.unwrap();
    tokio::spawn(async move { while last.next().await.is_some() {} });
    assert!(within(program).await.unwrap() > 10);
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_the_stack_and_no_longer_than_its_limit() {
    let layer = MessagesLayer::new().timeout(5 * SECOND);
    let ((sender, mut events), mut listener, socket) = session(layer).await;
    drop(socket);
    assert!(matches!(within(events.next()).await, Some(Event::Down(_))));
    let began = tokio::time::Instant::now();
    let error = within(sender.send("late".to_owned())).await.unwrap_err();
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert!(
        matches!(
            error.reason(),
            Reason::TimedOut {
                sent: false,
                cause: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.may_have_been_seen());
    assert_eq!(error.into_message().as_deref(), Some("late"));

    // One that is dropped is taken back, one that waits goes out.
    assert!(sender.send("dropped".to_owned()).now_or_never().is_none());
    let waiting = sender.clone();
    let waiting = tokio::spawn(async move { waiting.send("in time".to_owned()).await });
    let mut socket = within(listener.accept()).await.unwrap();
    within(waiting).await.unwrap().unwrap();
    assert_eq!(heard(&mut socket).await, "in time");
}

/// A session over a connection in the test's hands.
fn manual(layer: &MessagesLayer<String>) -> (Sender<String>, Events<String>, ManualConnection<String>) {
    let connection = ManualConnection::new();
    let (sender, events, driver) = layer.pair(connection.clone());
    tokio::spawn(driver);
    connection.up();
    (sender, events, connection)
}

fn confirm(sender: &Sender<String>, message: &str) -> tokio::task::JoinHandle<Result<Outcome, SendError<String>>> {
    let (sender, message) = (sender.clone(), message.to_owned());
    tokio::spawn(async move { sender.send_confirmed(message).await })
}

async fn settle() {
    sleep(SECOND / 100).await;
}

#[tokio::test(start_paused = true)]
async fn written_is_what_was_flushed_and_the_rest_is_unknown() {
    let (sender, mut events, connection) = manual(&MessagesLayer::new());
    connection.set_flush(false);
    connection.takes(2);
    let sends = ["a", "b", "c"].map(|message| confirm(&sender, message));
    settle().await;
    assert_eq!(connection.sent(), ["a", "b"]);
    assert!(sends.iter().all(|send| !send.is_finished()));
    connection.down(Failure::new(FailureKind::Network, "pulled"), true);
    let [a, b, c] = sends;
    for send in [a, b] {
        let error = within(send).await.unwrap().unwrap_err();
        assert!(matches!(error.reason(), Reason::Interrupted(Some(_))) && error.may_have_been_seen());
    }
    connection.up();
    assert_eq!(within(c).await.unwrap().unwrap(), Outcome::Written);
    assert!(matches!(within(events.next()).await, Some(Event::Up(_))));
    connection.end();
    while within(events.next()).await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn acknowledged_is_what_the_layer_below_says() {
    let (sender, _events, connection) = manual(&MessagesLayer::new().acknowledged().timeout(SECOND));
    let sends = ["a", "b", "c"].map(|message| confirm(&sender, message));
    settle().await;
    assert!(
        sends.iter().all(|send| !send.is_finished()),
        "they are written, and no more"
    );
    let [a, b, c] = sends;
    let mut sent = connection.sent_items();
    let dropped = sent.remove(1);
    connection.event(tower_ws_core::Event::Delivered(sent.remove(0)));
    connection.event(tower_ws_core::Event::Dropped(dropped, DropReason::Interrupted(None)));
    assert_eq!(within(a).await.unwrap().unwrap(), Outcome::Acknowledged);
    let error = within(b).await.unwrap().unwrap_err();
    assert!(error.may_have_been_seen());
    assert_eq!(error.into_message().as_deref(), Some("b"));
    let error = within(c).await.unwrap().unwrap_err();
    assert!(
        matches!(error.reason(), Reason::TimedOut { sent: true, .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_settles_every_send() {
    let (sender, mut events, connection) = manual(&MessagesLayer::new());
    connection.takes(1);
    connection.set_flush(false);
    let sends = ["sent", "waits"].map(|message| confirm(&sender, message));
    settle().await;
    sender.try_send("left".to_owned()).unwrap();
    connection.down(Failure::new(FailureKind::Network, "pulled"), false);
    connection.end();
    let [sent, waits] = sends;
    assert!(within(sent).await.unwrap().unwrap_err().may_have_been_seen());
    let error = within(waits).await.unwrap().unwrap_err();
    assert!(matches!(error.reason(), Reason::Closed(Some(_))), "{error:?}");
    assert_eq!(error.into_message().as_deref(), Some("waits"));
    assert!(matches!(within(events.next()).await, Some(Event::Up(_))));
    assert!(matches!(within(events.next()).await, Some(Event::Down(_))));
    assert!(matches!(within(events.next()).await, Some(Event::Undelivered { message, .. }) if message == "left"));
    assert!(within(events.next()).await.is_none());
    assert!(within(sender.close(SECOND)).await.is_empty());
}

/// A runtime that ends, or whoever holds the driver and drops it.
#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_accounts_for_all() {
    let connection = ManualConnection::<String>::new();
    let (sender, mut events, driver) = MessagesLayer::new().pair(connection);
    sender.try_send("left".to_owned()).unwrap();
    let waits = confirm(&sender, "waits");
    settle().await;
    drop(driver);
    assert_eq!(
        within(waits).await.unwrap().unwrap_err().into_message().as_deref(),
        Some("waits")
    );
    assert!(matches!(within(events.next()).await, Some(Event::Undelivered { message, .. }) if message == "left"));
    assert!(within(events.next()).await.is_none());
}

/// A peer that is always readable delays neither sends nor the end.
#[tokio::test(start_paused = true)]
async fn a_flood_delays_nothing() {
    let (sender, _events, connection) = manual(&MessagesLayer::new());
    connection.floods("flood".to_owned());
    for _ in 0..10 {
        assert_eq!(
            within(sender.send_confirmed("a".to_owned())).await.unwrap(),
            Outcome::Written
        );
    }
    let closing = tokio::spawn(async move { sender.close(SECOND).await });
    // The clock stands still as long as there is something to read.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    connection.dry();
    connection.end();
    within(closing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_after_it_was_taken_comes_back() {
    let (transport, mut listener) = memory::channel::<String>(4);
    let queue = QueueLayer::new().messages(3).overflow(Overflow::DropOldest);
    let stack = ServiceBuilder::new()
        .layer(MessagesLayer::new())
        .layer(queue)
        .layer(ReconnectLayer::new())
        .service(transport);
    let connecting = tokio::spawn(stack.oneshot(()));
    let socket = within(listener.accept()).await.unwrap();
    let (sender, mut events) = within(connecting).await.unwrap().unwrap();
    drop(socket);
    while !matches!(within(events.next()).await, Some(Event::Down(_))) {}
    // The queue takes them all, and has room for three.
    for n in 0..5 {
        within(sender.send(n.to_string())).await.unwrap();
    }
    for n in 0..2 {
        let Some(Event::Undelivered { message, reason }) = within(events.next()).await else {
            panic!("it was dropped");
        };
        assert_eq!((message, reason), (n.to_string(), DropReason::Overflow));
    }
    let confirmed = sender.clone();
    let confirmed = tokio::spawn(async move { confirmed.send_confirmed("5".to_owned()).await });
    let mut socket = within(listener.accept()).await.unwrap();
    for n in 3..6 {
        assert_eq!(heard(&mut socket).await, n.to_string());
    }
    assert_eq!(within(confirmed).await.unwrap().unwrap(), Outcome::Written);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_says_so_at_once() {
    let (transport, mut listener) = memory::channel::<String>(4);
    let stack = ServiceBuilder::new()
        .layer(MessagesLayer::new())
        .layer(QueueLayer::new().messages(1).overflow(Overflow::Refuse))
        .layer(ReconnectLayer::new())
        .service(transport);
    let connecting = tokio::spawn(stack.oneshot(()));
    let socket = within(listener.accept()).await.unwrap();
    let (sender, mut events) = within(connecting).await.unwrap().unwrap();
    drop(socket);
    while !matches!(within(events.next()).await, Some(Event::Down(_))) {}
    within(sender.send("held".to_owned())).await.unwrap();
    let began = tokio::time::Instant::now();
    let error = within(sender.send_confirmed("refused".to_owned())).await.unwrap_err();
    assert!(
        matches!(error.reason(), Reason::Dropped(DropReason::Overflow)),
        "{error:?}"
    );
    assert_eq!(error.into_message().as_deref(), Some("refused"));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_bounded_and_handed_back_at_the_end() {
    let ((sender, mut events), _listener, socket) = session(MessagesLayer::new().room(2)).await;
    drop(socket);
    assert!(matches!(within(events.next()).await, Some(Event::Down(_))));
    for n in 0..2 {
        sender.try_send(n.to_string()).unwrap();
    }
    let error = sender.try_send("one too many".to_owned()).unwrap_err();
    assert!(matches!(error.reason(), Reason::Full { waiting: 2 }));
    assert_eq!(error.into_message().as_deref(), Some("one too many"));
    let waiting = sender.clone();
    let waiting = tokio::spawn(async move { waiting.send("waits".to_owned()).await });
    sleep(SECOND / 100).await;
    assert_eq!(within(sender.close(SECOND / 10)).await, ["0", "1"]);
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error.reason(), Reason::Closed(_)), "{error:?}");
    assert_eq!(error.into_message().as_deref(), Some("waits"));
    let error = within(sender.send("after".to_owned())).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::Closed(_)));
    while let Some(event) = within(events.next()).await {
        assert!(!matches!(event, Event::Undelivered { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_waits_delays_no_send_and_loses_nothing() {
    let layer = MessagesLayer::new().inbox(2, Lag::Wait);
    let ((sender, mut events), _listener, socket) = session(layer).await;
    let (mut write, mut read) = socket.split();
    let saying = tokio::spawn(async move {
        for n in 0..50 {
            write.send(n.to_string()).await.unwrap();
        }
        write
    });
    sleep(SECOND).await;
    assert!(!saying.is_finished(), "the peer waits");
    for n in 0..20 {
        assert_eq!(
            within(sender.send_confirmed(n.to_string())).await.unwrap(),
            Outcome::Written
        );
        assert_eq!(within(read.next()).await.unwrap().unwrap(), n.to_string());
    }
    for n in 0..50 {
        assert_eq!(said(&mut events).await, n.to_string());
    }
    drop(within(saying).await.unwrap());
}

#[tokio::test]
async fn a_program_that_only_reads_loses_nothing_of_a_burst() {
    const BURST: usize = 10_000;
    let (transport, mut listener) = memory::channel::<String>(BURST);
    let stack = ServiceBuilder::new()
        .layer(MessagesLayer::new())
        .layer(ReconnectLayer::new())
        .service(transport);
    let connecting = tokio::spawn(stack.oneshot(()));
    let mut socket = within(listener.accept()).await.unwrap();
    let (_sender, mut events) = within(connecting).await.unwrap().unwrap();
    assert!(matches!(within(events.next()).await, Some(Event::Up(_))));
    let reading = tokio::spawn(async move {
        for n in 0..BURST {
            assert_eq!(said(&mut events).await, n.to_string());
        }
    });
    for n in 0..BURST {
        socket.feed(n.to_string()).await.unwrap();
    }
    socket.flush().await.unwrap();
    within(reading).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gap_stands_for_what_is_not_read() {
    let ((_sender, mut events), _listener, mut socket) = session(MessagesLayer::new().inbox(4, Lag::DropOldest)).await;
    for n in 0..10 {
        socket.send(n.to_string()).await.unwrap();
        sleep(SECOND / 100).await;
    }
    assert!(matches!(within(events.next()).await, Some(Event::Gap { missed: 6 })));
    for n in 6..10 {
        assert_eq!(said(&mut events).await, n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_both_ends_are_gone() {
    let ((sender, mut events), _listener, mut socket) = session(MessagesLayer::new()).await;
    sender.try_send("last".to_owned()).unwrap();
    drop(sender);
    assert_eq!(heard(&mut socket).await, "last");
    // Whoever only listens goes on.
    socket.send("news".to_owned()).await.unwrap();
    assert_eq!(said(&mut events).await, "news");
    drop(events);
    assert!(within(socket.next()).await.is_none());

    let ((sender, events), mut listener, mut socket) = session(MessagesLayer::new()).await;
    drop(events);
    within(sender.send("still".to_owned())).await.unwrap();
    assert_eq!(heard(&mut socket).await, "still");
    drop(sender);
    assert!(within(socket.next()).await.is_none());
    assert!(
        within(listener.accept()).now_or_never().is_none(),
        "it is not dialled again"
    );
}

#[tokio::test(start_paused = true)]
async fn values_are_read_and_written_as_json() {
    let ((sender, events), _listener, mut socket) = session(MessagesLayer::new()).await;
    let sender = sender.json::<Vec<u32>, _>(JsonText);
    let mut events = events.json::<u32, _>(JsonText);
    within(sender.send(&vec![1, 2])).await.unwrap();
    assert_eq!(heard(&mut socket).await, "[1,2]");
    for said in ["7", "{\"secret\":1}", "8"] {
        socket.send(said.to_owned()).await.unwrap();
    }
    assert!(matches!(within(events.next()).await, Some(Event::Message(7))));
    let Some(Event::Unreadable(unreadable)) = within(events.next()).await else {
        panic!("it is no number");
    };
    assert_eq!((&*unreadable.message, unreadable.so_far), ("{\"secret\":1}", 1));
    assert!(
        !format!("{unreadable} {unreadable:?}").contains("secret"),
        "{unreadable:?}"
    );
    assert!(matches!(within(events.next()).await, Some(Event::Message(8))));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_meant_is_told() {
    let layer = MessagesLayer::new().only(|said: &String| said != "ping");
    let ((_sender, mut events), _listener, mut socket) = session(layer).await;
    for said in ["ping", "news"] {
        socket.send(said.to_owned()).await.unwrap();
    }
    assert_eq!(said(&mut events).await, "news");
}
