//! A connection that the layer has cut off, over one that the test drives by hand; and what is shown of the keys.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{
    BoxConnection, BoxError, DropReason, Event, Failure, FailureKind, Outgoing, Verbatim, boxed, find,
};
use tower_ws_crypto::{CryptoError, CryptoLayer, Hello, Key, KeyRing, Role, Sealer};
use tower_ws_test_kit::ManualConnection;
use tower_ws_transport::Message;

const SECOND: Duration = Duration::from_secs(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(600 * SECOND, future).await.expect("it hangs")
}

fn ring() -> KeyRing {
    KeyRing::new(1, Key::try_from_slice(&[7; 32]).unwrap())
}

fn layer() -> CryptoLayer {
    CryptoLayer::new(ring()).pack(Verbatim).timeout(5 * SECOND)
}

/// A connection whose peer has said hello; and what seals as the peer does.
async fn connected() -> (BoxConnection<Message>, ManualConnection<Message>, Sealer) {
    let below = ManualConnection::<Message>::new();
    below.up();
    let dialled = below.clone();
    let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(dialled.clone())));
    let dial = tokio::spawn(layer().layer(dial).oneshot(()));
    let hello = Hello::new(Role::Server).unwrap();
    let theirs = loop {
        match below.sent().first() {
            Some(theirs) => break theirs.clone(),
            None => tokio::task::yield_now().await,
        }
    };
    // What is no data, and comes before, is kept for the application.
    below.say(Message::pong("early"));
    below.say(Message::binary(hello.to_bytes()));
    let (sealer, _) = hello.meet(theirs.as_bytes()).unwrap().into_pair(ring());
    let connection = within(dial).await.unwrap().unwrap();
    let shown = format!("{connection:?}");
    assert!(
        shown.starts_with("CryptoConnection") && shown.contains("severed: false"),
        "{shown}"
    );
    (boxed(connection), below, sealer)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_the_cut() {
    let (mut connection, below, _) = connected().await;
    assert!(matches!(within(connection.next()).await, Some(Event::Up(_))));
    assert!(matches!(within(connection.next()).await, Some(Event::Message(early)) if early == Message::pong("early")));
    below.say(Message::text("in clear"));
    let sent = below.sent().len();
    let Some(Event::Down(down)) = within(connection.next()).await else {
        panic!("nothing of it goes up");
    };
    assert_eq!(find::<CryptoError>(&down.cause), Some(&CryptoError::Plaintext));
    let late = connection.start_send_unpin(Message::text("late").into());
    assert!(late.is_err(), "its end has been read");
    assert!(within(connection.next()).await.is_none());
    assert_eq!(below.sent().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_told_as_it_was_or_stays_sealed() {
    let (mut connection, below, mut sealer) = connected().await;
    within(connection.next()).await;
    within(connection.next()).await;
    within(connection.send(Message::text("secret").into())).await.unwrap();
    let sealed = below.sent_items().pop().unwrap();
    below.event(Event::Delivered(sealed.clone()));
    below.event(Event::Dropped(
        Outgoing::new(Message::ping("p")).control(),
        DropReason::Disconnected,
    ));
    assert!(
        matches!(within(connection.next()).await, Some(Event::Delivered(item)) if item.message == Message::text("secret"))
    );
    assert!(
        matches!(within(connection.next()).await, Some(Event::Dropped(item, _)) if item.message == Message::ping("p"))
    );
    let message = Message::binary(sealer.seal(&[0; 0]).unwrap());
    below.say(message);
    // A sealed message that has not even a kind.
    let Some(Event::Down(down)) = within(connection.next()).await else {
        panic!("nothing of it goes up");
    };
    assert_eq!(find::<CryptoError>(&down.cause), Some(&CryptoError::Format));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_no_hello_is_waited_for_and_no_longer() {
    let below = ManualConnection::<Message>::new();
    below.up();
    let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(below.clone())));
    let began = Instant::now();
    let error = within(layer().layer(dial).oneshot(())).await.map(drop).unwrap_err();
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(Failure::of(error).kind(), FailureKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn two_that_dial_do_not_take_each_other_for_a_server() {
    for (role, is_met) in [(Role::Client, false), (Role::Server, true)] {
        let below = ManualConnection::<Message>::new();
        below.up();
        below.say(Message::binary(Hello::new(Role::Client).unwrap().to_bytes()));
        let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(below.clone())));
        let dialled = within(layer().role(role).layer(dial).oneshot(())).await;
        assert_eq!(dialled.is_ok(), is_met, "{role:?} and a client");
    }
}

#[test]
fn no_key_is_shown() {
    let key = Key::try_from_slice(&[42; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "Key");
    let ring = KeyRing::new(3, key);
    let hello = Hello::new(Role::Server).unwrap();
    let theirs = Hello::new(Role::Client).unwrap().to_bytes();
    let (sealer, opener) = hello.meet(&theirs).unwrap().into_pair(ring.clone());
    let layer = CryptoLayer::new(ring);
    let service = layer.layer(());
    let shown = format!("{sealer:?} {opener:?} {layer:?} {service:?}");
    assert!(
        shown.starts_with("Sealer { next: 0, .. } Opener { last: None, .. } CryptoLayer"),
        "{shown}"
    );
    assert!(shown.contains("numbers: [3]") && !shown.contains("42"), "{shown}");
}
