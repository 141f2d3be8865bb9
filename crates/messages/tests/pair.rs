//! What the ends of a session do over a connection that the test drives by hand: values in JSON, ends of each kind, and
//! what of it is shown.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{collections::BTreeMap, error::Error, future::Future, time::Duration};

use futures_util::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_ws_core::{
    BoxError, Down, DropReason, Event as Told, Failure, FailureKind, Outgoing, Up, WrongOrder, drive::Lag, find,
};
use tower_ws_messages::*;
use tower_ws_test_kit::ManualConnection;
use tower_ws_transport::{JsonText, Message};

const SECOND: Duration = Duration::from_secs(1);

/// Stands in messages, and is never shown.
const SECRET: &str = "hunter2";

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(600 * SECOND, future).await.expect("it hangs")
}

type Session<M> = (Sender<M>, Events<M>, ManualConnection<M>);

/// A session that is up, and whose `Up` has been read.
async fn session<M: Clone + Send + 'static>(layer: MessagesLayer<M>) -> Session<M> {
    let connection = ManualConnection::new();
    let (sender, mut events, driver) = layer.pair(connection.clone());
    tokio::spawn(driver);
    connection.up();
    assert!(matches!(within(events.next()).await, Some(Event::Up(_))));
    (sender, events, connection)
}

#[tokio::test(start_paused = true)]
async fn values_go_each_way_that_messages_go() {
    let (sender, _events, connection) = session(MessagesLayer::<String>::default()).await;
    let sender = sender.json::<Vec<u32>, _>(JsonText);
    let other = sender.clone();
    assert_eq!(within(sender.send_confirmed(&vec![1])).await.unwrap(), Outcome::Written);
    other.try_send(&vec![2]).unwrap();
    sender.sender().try_send("by hand".to_owned()).unwrap();
    sleep(SECOND).await;
    assert_eq!(connection.sent(), ["[1]", "[2]", "by hand"]);

    // What was accepted and not sent is for whoever closes the session.
    connection.set_ready(false);
    other.try_send(&vec![3]).unwrap();
    let closing = tokio::spawn(async move { sender.close(SECOND).await });
    sleep(2 * SECOND).await;
    connection.end();
    assert_eq!(within(closing).await.unwrap(), ["[3]"]);
    let error = other.try_send(&vec![4]).unwrap_err();
    assert!(matches!(error.reason(), Reason::Closed(_)), "{error}");
    assert_eq!(error.into_message().as_deref(), Some("[4]"));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_no_json_is_an_error_of_the_send() {
    let (sender, _events, connection) = session(MessagesLayer::<String>::new()).await;
    // A name of a member is a text.
    let sender = sender.json::<BTreeMap<[u8; 2], u8>, _>(JsonText);
    let error = within(sender.send(&BTreeMap::from([([1, 2], 3)]))).await.unwrap_err();
    assert_eq!(error.to_string(), "the value cannot be written as JSON");
    assert_eq!(error.source().unwrap().to_string(), "key must be a string");
    assert!(!error.may_have_been_seen());
    assert_eq!(error.into_message(), None);
    assert!(connection.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whatever_is_no_value_is_told_as_it_is() {
    let (sender, events, connection) = session(MessagesLayer::new().inbox(3, Lag::DropOldest)).await;
    let mut events = events.json::<u32, _>(JsonText);
    connection.say(Message::binary(vec![0xff, 0xfe]));
    // As a stream it is the same.
    let Some(Event::Unreadable(unreadable)) = within(StreamExt::next(&mut events)).await else {
        panic!("it is no text");
    };
    assert_eq!(unreadable.to_string(), "it is no text");
    assert_eq!(unreadable.clone().message.as_bytes(), [0xff, 0xfe]);
    assert_eq!(format!("{events:?}"), "JsonEvents { unreadable: 1, .. }");

    sender.try_send(Message::text("lost")).unwrap();
    sleep(SECOND).await;
    connection.event(Told::Dropped(Message::text("lost").into(), DropReason::Overflow));
    let lost = within(events.next()).await.unwrap();
    assert_eq!(format!("{lost:?}"), "Undelivered { reason: Overflow, .. }");
    assert!(matches!(lost, Event::Undelivered { message, .. } if message.as_bytes() == b"lost"));

    for n in 0..5 {
        connection.say(Message::text(n.to_string()));
        sleep(SECOND).await;
    }
    assert!(matches!(within(events.next()).await, Some(Event::Gap { missed: 2 })));
    for n in 2..5 {
        assert!(matches!(within(events.next()).await, Some(Event::Message(said)) if said == n));
    }
    connection.down(Failure::new(FailureKind::Network, "cut"), true);
    assert!(matches!(within(events.next()).await, Some(Event::Down(down)) if down.will_retry));
    connection.up();
    assert!(matches!(within(events.next()).await, Some(Event::Up(up)) if up.epoch == 2));
}

#[tokio::test(start_paused = true)]
async fn each_reason_says_whether_the_peer_may_have_seen_it() {
    let (sender, _events, connection) = session(MessagesLayer::<String>::new().acknowledged()).await;
    let cut = || Failure::new(FailureKind::Network, "cut");
    let reasons = [
        (DropReason::Overflow, false, "not sent: no room in the queue"),
        (DropReason::Closed, false, "not sent: the session has ended"),
        (
            DropReason::Interrupted(Some(cut())),
            true,
            "the connection went down after it was sent: outcome unknown",
        ),
    ];
    for (at, (reason, seen, text)) in reasons.into_iter().enumerate() {
        let sending = {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send_confirmed("x".to_owned()).await })
        };
        sleep(SECOND).await;
        let item = connection.sent_items().remove(at);
        connection.event(Told::Dropped(item, reason));
        let error = within(sending).await.unwrap().unwrap_err();
        assert_eq!((error.may_have_been_seen(), &*error.to_string()), (seen, text));
        assert_eq!(error.source().is_some(), seen, "{error:?}");
        assert_eq!(error.into_message().as_deref(), Some("x"));
    }
    // One of the control lane is none of the application's.
    connection.event(Told::Dropped(
        Outgoing::new("ping".to_owned()).control(),
        DropReason::Disconnected,
    ));
    sleep(SECOND).await;
    assert!(sender.try_send("the session goes on".to_owned()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stack_in_an_order_that_cannot_work_ends_with_the_reason() {
    let connection = ManualConnection::<String>::new();
    let (sender, mut events, driver) = MessagesLayer::new().pair(connection.clone());
    tokio::spawn(driver);
    let up = Up::new().through("reconnect").through("health");
    connection.event(Told::Up(up));
    assert!(matches!(within(events.next()).await, Some(Event::Up(_))));
    connection.down(Failure::closed_locally(), false);
    connection.end();
    let Some(Event::Down(down)) = within(events.next()).await else {
        panic!("it ends");
    };
    let wrong = find::<WrongOrder>(&down.cause).unwrap().to_string();
    assert!(
        wrong.starts_with("the layer `health` stands above `reconnect`"),
        "{wrong}"
    );
    assert_eq!(down.cause.kind(), FailureKind::Usage);
    assert!(within(events.next()).await.is_none());
    let error = within(sender.send("late".to_owned())).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::Closed(Some(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_read_may_have_asked_for_the_end() {
    let (sender, mut events, connection) = session(MessagesLayer::new().inbox(2, Lag::Close)).await;
    for n in 0..5 {
        connection.say(n.to_string());
        sleep(SECOND).await;
    }
    connection.down(Failure::closed_locally(), false);
    connection.end();
    assert!(matches!(within(events.next()).await, Some(Event::Message(first)) if first == "0"));
    let mut last = None;
    while let Some(event) = within(events.next()).await {
        last = Some(event);
    }
    let Some(Event::Down(down)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(down.cause.kind(), FailureKind::Policy);
    assert!(within(sender.send("late".to_owned())).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_asked_for_the_shortest_close_gets_it() {
    let (sender, _events, connection) = session(MessagesLayer::<String>::new()).await;
    connection.set_ready(false);
    sender.try_send("waits".to_owned()).unwrap();
    let began = tokio::time::Instant::now();
    let patient = sender.clone();
    assert!(patient.close(600 * SECOND).now_or_never().is_none());
    let closing = tokio::spawn(async move { sender.close(SECOND).await });
    sleep(SECOND + SECOND / 10).await;
    connection.end();
    assert_eq!(within(closing).await.unwrap(), ["waits"]);
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
}

/// A session whose first event is this; or the stream ends without one.
async fn first(event: Option<Told<String>>) -> Result<Session<String>, BoxError> {
    let connection = ManualConnection::<String>::new();
    let dialled = connection.clone();
    let dial = service_fn(move |()| {
        let connection = dialled.clone();
        async move { Ok::<_, BoxError>(connection) }
    });
    let layer = MessagesLayer::new()
        .close_grace(SECOND)
        .name("feed")
        .server("example.org:443");
    let making = layer.layer(dial).clone();
    event.into_iter().for_each(|event| connection.event(event));
    connection.end();
    let (sender, events) = within(making.oneshot(())).await?;
    Ok((sender, events, connection))
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_up_or_not_at_all() {
    let refused = Failure::new(FailureKind::Auth, "who are you?");
    let error = first(Some(Told::Down(Down::new(refused)))).await.unwrap_err();
    assert_eq!(Failure::of(error).kind(), FailureKind::Auth);
    for event in [None, Some(Told::Message("too early".to_owned()))] {
        let error = first(event).await.unwrap_err();
        assert_eq!(
            error.source().unwrap().to_string(),
            "the connection did not come up first"
        );
    }
    let (_sender, mut events, _) = first(Some(Told::Up(Up::new()))).await.unwrap();
    assert!(matches!(within(events.next()).await, Some(Event::Up(_))));
    assert!(within(events.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_never_a_message() {
    let layer = MessagesLayer::<String>::new().name("feed");
    let connection = ManualConnection::new();
    let (sender, events, driver) = layer.pair(connection.clone());
    assert_eq!(format!("{driver:?}"), "Driver { epoch: 0, closing: false, .. }");
    let mut making = layer.layer(service_fn(|()| async {
        Ok::<_, BoxError>(ManualConnection::<String>::new())
    }));
    assert!(format!("{making:?}").contains("name: Some(\"feed\")"), "{making:?}");
    assert_eq!(format!("{:?}", making.call(())), "MakeFuture");

    sender.try_send(SECRET.to_owned()).unwrap();
    assert_eq!(format!("{sender:?} {events:?}"), "Sender { .. } Events { .. }");
    let json = sender.clone().json::<String, _>(JsonText);
    assert_eq!(format!("{json:?}"), "JsonSender(Sender { .. })");
    drop(driver);
    let error = sender.try_send(SECRET.to_owned()).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("session has ended") && !shown.contains(SECRET),
        "{shown}"
    );

    let told: [(Event<String>, &str); 5] = [
        (Event::Up(Up::new()), "Up("),
        (Event::Down(Down::new(Failure::closed_locally())), "Down("),
        (Event::Message(SECRET.to_owned()), "Message(..)"),
        (
            Event::Undelivered {
                message: SECRET.to_owned(),
                reason: DropReason::Expired,
            },
            "Undelivered { reason: Expired, .. }",
        ),
        (Event::Gap { missed: 3 }, "Gap { missed: 3 }"),
    ];
    for (event, begins) in told {
        let shown = format!("{event:?}");
        assert!(shown.starts_with(begins) && !shown.contains(SECRET), "{shown}");
    }
}
