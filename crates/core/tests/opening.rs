//! What a connection begins with: done before it is handed up, or the dial fails.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_ws_core::*;
use tower_ws_test_kit::{ManualConnection, conformance};
use tower_ws_transport::memory;

type Peer = memory::Socket<String>;

async fn login(mut talk: OpeningContext<String>) -> Result<OpeningContext<String>, Failure> {
    talk.send("hello".to_owned()).await?;
    loop {
        let said = talk.recv().await?;
        match said.as_str() {
            "welcome" => break,
            "no" => return Err(Failure::new(FailureKind::Auth, "the server said no")),
            _ => talk.keep(said)?,
        }
    }
    talk.up().resumed = true;
    Ok(talk)
}

/// Dials a peer that does `script`.
async fn dial<Fut>(
    script: impl FnOnce(Peer) -> Fut,
) -> (Result<OpeningConnection<String>, BoxError>, JoinHandle<Fut::Output>)
where
    Fut: Future<Output: Send + 'static> + Send + 'static,
{
    let (transport, mut listener) = memory::channel(8);
    let dial = tokio::spawn(OpeningLayer::new("login", login).layer(transport).oneshot(()));
    let peer = tokio::spawn(script(listener.accept().await.unwrap()));
    (dial.await.unwrap(), peer)
}

async fn failure<Fut>(script: impl FnOnce(Peer) -> Fut) -> Failure
where
    Fut: Future<Output: Send + 'static> + Send + 'static,
{
    Failure::of(dial(script).await.0.unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn up_comes_after_the_dialogue_and_what_came_early_follows_it() {
    let (connection, peer) = dial(async |mut peer: Peer| {
        assert_eq!(peer.next().await.unwrap().unwrap(), "hello");
        for text in ["early", "earlier", "welcome", "late"] {
            peer.send(text.to_owned()).await.unwrap();
        }
        peer
    })
    .await;
    let mut connection = connection.unwrap();
    let _peer = peer.await.unwrap();
    let Some(Event::Up(up)) = connection.next().await else {
        panic!()
    };
    assert!(up.resumed);
    assert_eq!(up.layers.last(), Some(&"login"));
    for expected in ["early", "earlier", "late"] {
        let Some(Event::Message(text)) = connection.next().await else {
            panic!()
        };
        assert_eq!(text, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_an_end_and_silence_fail_the_dial_each_by_its_name() {
    let refused = failure(async |mut peer: Peer| {
        peer.send("no".to_owned()).await.unwrap();
        peer
    })
    .await;
    assert_eq!(refused.kind(), FailureKind::Auth);
    assert_eq!(
        failure(async |peer: Peer| drop(peer)).await.kind(),
        FailureKind::Network
    );
    let silent = failure(async |peer: Peer| {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        peer
    })
    .await;
    assert_eq!(silent.kind(), FailureKind::Timeout);
    assert!(silent.to_string().contains("`login`"), "{silent}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_comes_to_the_point_is_left() {
    let failure = failure(async |mut peer: Peer| while peer.send("chatter".to_owned()).await.is_ok() {}).await;
    assert_eq!(
        (failure.kind(), failure.disposition()),
        (FailureKind::Policy, Disposition::Backoff)
    );
}

/// How many messages of so many bytes come after `Up`; `None` if they were too much.
async fn kept<Me>(
    layer: OpeningLayer<fn(OpeningContext<String>) -> Login, Me>,
    messages: usize,
    bytes: usize,
) -> Option<usize>
where
    Me: Measure<String> + Clone + Send + 'static,
{
    let (transport, mut listener) = memory::channel(8);
    let dial = tokio::spawn(layer.layer(transport).oneshot(()));
    let mut peer = listener.accept().await.unwrap();
    for _ in 0..messages {
        // Whoever has had enough reads no more.
        let _ = peer.send("x".repeat(bytes)).await;
    }
    let _ = peer.send("welcome".to_owned()).await;
    let mut connection = dial.await.unwrap().ok()?;
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    drop(peer);
    let early = connection.take_while(|event| std::future::ready(matches!(event, Event::Message(_))));
    Some(early.count().await)
}

type Login = futures_core::future::BoxFuture<'static, Result<OpeningContext<String>, Failure>>;

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded_in_number_and_in_bytes() {
    const MIB: usize = 1024 * 1024;
    let layer = || {
        OpeningLayer::new(
            "login",
            (|talk| Box::pin(login(talk))) as fn(OpeningContext<String>) -> Login,
        )
    };
    const ROOM: usize = OpeningContext::<()>::ROOM;
    assert_eq!(kept(layer(), ROOM, 1).await, Some(ROOM));
    assert_eq!(kept(layer(), ROOM + 1, 1).await, None);
    assert_eq!(kept(layer(), 16, MIB).await, Some(16));
    assert_eq!(kept(layer(), 17, MIB).await, None);
    // Measured otherwise.
    let doubled = || layer().measure(|text: &String| 2 * text.len());
    assert_eq!(kept(doubled(), 8, MIB).await, Some(8));
    assert_eq!(kept(doubled(), 9, MIB).await, None);
}

#[tokio::test(start_paused = true)]
async fn it_conforms() {
    conformance::layer(OpeningLayer::new("nothing", |talk: OpeningContext<String>| async {
        Ok(talk)
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn above_what_redials_it_fails_for_good_and_says_nothing() {
    let (memory, mut listener) = memory::channel(4);
    let named = tower::util::MapResponseLayer::new(|connection| {
        futures_util::StreamExt::map(connection, |event: Event<String>| match event {
            Event::Up(up) => Event::Up(up.through("reconnect")),
            event => event,
        })
    });
    let stack = tower::layer::util::Stack::new(named, OpeningLayer::new("login", login));
    let peer = tokio::spawn(async move { listener.accept().await.unwrap().next().await });
    let error = stack.layer(memory).oneshot(()).await.unwrap_err();
    assert_eq!(find::<Failure>(&*error).unwrap().disposition(), Disposition::Final);
    let wrong = find::<WrongOrder>(&*error).unwrap();
    assert_eq!(
        (wrong.layer, wrong.must_be, wrong.other),
        ("login", Position::Below, "reconnect")
    );
    assert!(peer.await.unwrap().is_none(), "nothing was said");
}

/// The failure of a dial whose connection says this first.
async fn first(event: Option<Event<String>>) -> Failure {
    let below = ManualConnection::new();
    event.into_iter().for_each(|event| below.event(event));
    below.end();
    let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(below.clone())));
    let layer = OpeningLayer::new("login", login).timeout(Duration::from_secs(2));
    assert_eq!(
        format!("{layer:?}"),
        "OpeningLayer { name: \"login\", timeout: 2s, .. }"
    );
    let opening = layer.layer(dial).oneshot(());
    Failure::of(opening.await.unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_come_up_has_no_dialogue() {
    let lost = first(Some(Event::Down(Down::new(Failure::new(
        FailureKind::Dns,
        "no such name",
    )))))
    .await;
    assert_eq!(lost.kind(), FailureKind::Dns);
    for event in [None, Some(Event::Message("early".to_owned()))] {
        assert_eq!(first(event).await.kind(), FailureKind::Local);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_below_drops_of_the_dialogue_fails_it() {
    let below = ManualConnection::<String>::new();
    below.up();
    below.event(Event::Delivered("hello".to_owned().into()));
    below.event(Event::Dropped("hello".to_owned().into(), DropReason::Overflow));
    let dialled = below.clone();
    let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(dialled.clone())));
    let mut dial = OpeningLayer::new("login", login).layer(dial);
    let future = dial.ready().await.unwrap().call(());
    assert_eq!(format!("{future:?}"), "OpeningFuture");
    let failure = Failure::of(future.await.unwrap_err());
    assert_eq!(failure.kind(), FailureKind::Policy);
    assert_eq!(find::<DropReason>(&failure), Some(&DropReason::Overflow));
    assert_eq!(below.sent(), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn up_may_be_changed_until_it_is_read() {
    let below = ManualConnection::<String>::new();
    below.up();
    below.say("welcome".to_owned());
    let dial = service_fn(move |()| std::future::ready(Ok::<_, BoxError>(below.clone())));
    let look = |mut talk: OpeningContext<String>| async move {
        assert!(format!("{talk:?}").starts_with("OpeningContext { up: Up"), "{talk:?}");
        talk.recv().await?;
        Ok(talk)
    };
    let mut connection = OpeningLayer::new("login", look).layer(dial).oneshot(()).await.unwrap();
    assert_eq!(format!("{connection:?}"), "OpeningConnection");
    connection.up_mut().unwrap().resumed = true;
    assert!(matches!(connection.next().await, Some(Event::Up(up)) if up.resumed));
    assert!(connection.up_mut().is_none());
}
