//! Connections come and go; the session lives on.

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::{Act, Net, closed, down, is_pending, message, refused, status, up};
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};
use tower_ws_core::{BoxConnection, Closed, Event, assert_connection, boxed};
use tower_ws_reconnect::{Handle, ReconnectLayer, State};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_under_a_living_session() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    for epoch in 1..5 {
        let up = up(&mut session).await;
        assert_eq!((up.epoch, up.layers.last()), (epoch, Some(&"reconnect")));
        net.peer().say("hello");
        assert!(matches!(session.next().await, Some(Event::Message(text)) if text == "hello"));
        net.peer().end(Some(closed(1001)));
        let down = down(&mut session).await;
        assert_eq!((down.epoch, down.will_retry), (epoch, true));
        assert_eq!(down.cause.close().unwrap().code, 1001);
        assert_eq!(net.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_on_a_task_of_its_own_is_woken_after_a_redial() {
    let net = Net::accepting();
    let session = net.session(ReconnectLayer::new()).await.unwrap();
    let (mut sink, mut stream) = session.split();
    up(&mut stream).await;
    net.peer().reads(1);
    // A bare `send`: a timeout around it would poll again, and hide a lost wake-up.
    let writer = tokio::spawn(async move {
        for n in 0..3 {
            sink.send(message(&n.to_string())).await.unwrap();
        }
        sink
    });
    sleep(SECOND).await;
    assert_eq!(net.received(), ["0"]);
    for round in 2..4 {
        net.peer().end(None);
        down(&mut stream).await;
        up(&mut stream).await;
        net.peer().reads(1);
        sleep(SECOND).await;
        assert_eq!(net.received().len(), round);
    }
    let _sink = timeout(SECOND, writer).await.expect("the writer sleeps").unwrap();
    assert_eq!(net.received(), ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_woken_when_the_session_ends() {
    let net = Net::new(|n| if n == 1 { Act::Accept } else { Act::Refuse(status(403)) });
    let session = net.session(ReconnectLayer::new()).await.unwrap();
    let (mut sink, mut stream) = session.split();
    up(&mut stream).await;
    net.peer().reads(0);
    let writer = tokio::spawn(async move { sink.send(message("never")).await });
    net.peer().end(None);
    assert!(down(&mut stream).await.will_retry);
    assert!(stream.next().await.is_none());
    let error = timeout(SECOND, writer)
        .await
        .expect("the writer sleeps")
        .unwrap()
        .unwrap_err();
    assert_eq!(error, Closed);
}

#[tokio::test(start_paused = true)]
async fn not_ready_before_the_next_up_has_been_read() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    assert!(is_pending(session.feed(message("early"))));
    up(&mut session).await;
    net.peer().end(None);
    assert!(is_pending(session.feed(message("dead"))));
    down(&mut session).await;
    // Another is dialled, in which the `Up` is not read yet.
    sleep(SECOND * 5).await;
    assert!(is_pending(session.feed(message("late"))));
    up(&mut session).await;
    session.send(message("now")).await.unwrap();
    assert_eq!(net.received(), ["now"]);
}

#[tokio::test(start_paused = true)]
async fn the_service_is_readied_for_each_dial_and_its_clones_are_not() {
    let net = Net::new(|n| match n % 3 {
        0 => Act::Drop(SECOND, None),
        _ => Act::Refuse(refused()),
    });
    let mut service = net.layered(&ReconnectLayer::new());
    let first = service.ready().await.unwrap().call(());
    let second = service.clone().ready().await.unwrap().call(());
    for session in [first, second] {
        let mut session = session.await.unwrap();
        for _ in 0..3 {
            up(&mut session).await;
            down(&mut session).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_backoff_starts_afresh_only_after_a_healthy_connection() {
    let net = Net::new(|n| match n {
        1..=6 => Act::Refuse(refused()),
        7 => Act::Drop(SECOND * 9, None), // less than the delay before it, which is at least 15 s
        8 => Act::Drop(SECOND * 60, None),
        _ => Act::Accept,
    });
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    let mut lost = Vec::new();
    for _ in 0..2 {
        up(&mut session).await;
        down(&mut session).await;
        lost.push(Instant::now());
    }
    up(&mut session).await;
    let waits = [net.dials()[7] - lost[0], net.dials()[8] - lost[1]];
    assert!(waits[0] >= SECOND * 15, "{waits:?}");
    assert!(waits[1] <= SECOND * 2, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn it_stacks_on_itself_and_erases() {
    fn shape<T: Send + Unpin>(_: &T) {}
    let net = Net::new(|_| Act::Drop(SECOND, None));
    let session = net.session(ReconnectLayer::new()).await.unwrap();
    shape(&session);
    assert_connection(&session);
    let mut session: BoxConnection<String> = boxed(session);
    up(&mut session).await;
    down(&mut session).await;
}

#[test]
fn handles_cross_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Handle>();
    shared::<ReconnectLayer>();
    shared::<State>();
}
