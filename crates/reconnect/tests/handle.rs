//! Watching a session, and commanding it.

mod support;

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use support::{Act, Link, Net, down, is_pending, refused, status, up};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_ws_core::{Closed, Event, Failure, FailureKind, Outgoing, RetryAfter};
use tower_ws_reconnect::{Backoff, Decision, Handle, History, ReconnectLayer, State};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn transitions_tell_the_story() {
    let net = Net::new(|n| {
        if n % 2 == 0 {
            Act::Drop(SECOND, None)
        } else {
            Act::Refuse(refused())
        }
    });
    let (layer, handle) = ReconnectLayer::pair();
    let mut transitions = handle.transitions();
    assert_eq!(handle.state().borrow().as_str(), "disconnected");
    let mut session = net.session(layer).await.unwrap();
    for _ in 0..2 {
        up(&mut session).await;
        down(&mut session).await;
    }
    session.close().await.unwrap();
    let mut story = Vec::new();
    while let Ok(transition) = transitions.try_recv() {
        assert_eq!(transition.delay.is_some(), transition.state.as_str() == "backing_off");
        assert_eq!(transition.cause.is_some(), transition.state.as_str() == "backing_off");
        story.push((transition.state.as_str(), transition.epoch, transition.attempt));
    }
    let expected = [
        ("connecting", 0, 1),
        ("backing_off", 0, 2),
        ("connecting", 0, 2),
        ("connected", 1, 2),
        ("backing_off", 1, 3),
        ("connecting", 1, 3),
        ("backing_off", 1, 4),
        ("connecting", 1, 4),
        ("connected", 2, 4),
        ("backing_off", 2, 5),
        ("closed", 2, 5),
    ];
    assert_eq!(story, expected);
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_is_told() {
    let net = Net::new(|_| Act::Drop(SECOND, None));
    let (layer, handle) = ReconnectLayer::pair();
    let mut transitions = handle.transitions();
    let mut session = net.session(layer).await.unwrap();
    for _ in 0..100 {
        session.next().await.unwrap();
    }
    assert!(matches!(
        transitions.try_recv(),
        Err(tokio::sync::broadcast::error::TryRecvError::Lagged(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn reconnect_now_cuts_a_delay_short() {
    let busy = status(503).with_retry_after(RetryAfter::Delay(SECOND * 200));
    let net = Net::new(move |n| if n == 2 { Act::Refuse(busy.clone()) } else { Act::Accept });
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer).await.unwrap();
    up(&mut session).await;
    net.peer().end(None);
    down(&mut session).await;
    let reader = tokio::spawn(async move { up(&mut session).await.epoch });
    sleep(SECOND * 20).await;
    assert!(matches!(
        &*handle.state().borrow(),
        State::BackingOff { attempt: 3, .. }
    ));
    let asked = Instant::now();
    for _ in 0..3 {
        handle.reconnect_now();
    }
    assert_eq!(reader.await.unwrap(), 2);
    assert!(asked.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn reconnect_now_replaces_a_connection() {
    let net = Net::accepting();
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    let handle = up(&mut session).await.extensions.get::<Handle>().unwrap().clone();
    net.peer().say("unread");
    let reader = tokio::spawn(async move {
        assert!(matches!(session.next().await, Some(Event::Message(_))));
        let down = down(&mut session).await;
        assert!(down.will_retry && down.cause.kind() == FailureKind::Local, "{down:?}");
        up(&mut session).await.epoch
    });
    std::thread::spawn(move || handle.reconnect_now()).join().unwrap();
    assert_eq!(reader.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_say_goodbye_is_left_after_the_close_deadline() {
    let net = Net::accepting();
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer).await.unwrap();
    up(&mut session).await;
    net.peer().deafen();
    handle.reconnect_now();
    let asked = Instant::now();
    down(&mut session).await;
    assert!(asked.elapsed() <= SECOND * 6, "{:?}", asked.elapsed());
    up(&mut session).await;
}

#[tokio::test(start_paused = true)]
async fn offline_and_online() {
    let net = Net::new(|n| if n == 2 { Act::Hang } else { Act::Accept });
    let (layer, handle) = ReconnectLayer::pair();
    let state = handle.state();

    // Before the session: nothing is dialled.
    handle.go_offline();
    let mut first = Box::pin(net.session(layer));
    assert!(is_pending(&mut first));
    sleep(SECOND * 60).await;
    handle.reconnect_now();
    assert!(is_pending(&mut first));
    assert_eq!((net.dials().len(), state.borrow().as_str()), (0, "offline"));
    handle.go_online();
    let mut session = first.await.unwrap();
    up(&mut session).await;

    // While connected: it is closed, and the session lives on.
    let (commander, watcher, dials) = (handle.clone(), state.clone(), net.clone());
    tokio::spawn(async move {
        commander.go_offline();
        sleep(SECOND * 600).await;
        assert_eq!((dials.dials().len(), watcher.borrow().as_str()), (1, "offline"));
        // While dialling: the dial is cancelled.
        commander.go_online();
        sleep(SECOND).await;
        assert_eq!((dials.dials().len(), watcher.borrow().as_str()), (2, "connecting"));
        commander.go_offline();
        sleep(SECOND * 600).await;
        assert_eq!((dials.dials().len(), watcher.borrow().as_str()), (2, "offline"));
        commander.go_online();
    });
    let down = down(&mut session).await;
    assert!(down.will_retry);
    assert_eq!(up(&mut session).await.epoch, 2);
    assert_eq!(state.borrow().as_str(), "connected");
}

#[tokio::test(start_paused = true)]
async fn a_pair_serves_one_session_at_a_time() {
    let net = Net::accepting();
    let (layer, handle) = ReconnectLayer::pair();
    let first = net.session(layer.clone()).await.unwrap();
    let mut second = net.session(layer.clone()).await.unwrap();
    let own = up(&mut second).await.extensions.get::<Handle>().unwrap().clone();
    assert_eq!(own.state().borrow().as_str(), "connected");
    assert_eq!(
        handle.state().borrow().as_str(),
        "connecting",
        "the first has not read its `Up`"
    );
    drop(first);
    assert_eq!(handle.state().borrow().as_str(), "closed");
    let mut third = net.session(layer).await.unwrap();
    up(&mut third).await;
    assert_eq!(handle.state().borrow().as_str(), "connected");
    drop(second);
    assert_eq!(own.state().borrow().as_str(), "closed");
    own.reconnect_now(); // Nobody is there.
    assert_eq!(net.alive(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_redial_on_request_is_not_the_policys_to_refuse() {
    let net = Net::accepting();
    let (layer, handle) = ReconnectLayer::pair();
    let layer = layer.policy(|_: &Failure, _: &History| Decision::GiveUp);
    let mut session = net.session(layer).await.unwrap();
    up(&mut session).await;
    handle.reconnect_now();
    assert!(down(&mut session).await.will_retry);
    assert_eq!(handle.state().borrow().as_str(), "backing_off");
    assert_eq!(up(&mut session).await.epoch, 2);
    net.peer().end(None);
    assert!(!down(&mut session).await.will_retry);
}

#[tokio::test(start_paused = true)]
async fn a_redial_on_request_is_no_failed_attempt() {
    let net = Net::accepting();
    let (layer, handle) = ReconnectLayer::pair();
    let policy = Backoff::default().max_attempts(3);
    let mut session = net.session(layer.policy(policy).seed(1)).await.unwrap();
    for epoch in 1..=4 {
        assert!(matches!(session.next().await, Some(Event::Up(up)) if up.epoch == epoch));
        handle.reconnect_now();
        assert!(matches!(session.next().await, Some(Event::Down(down)) if down.will_retry));
    }
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    // A real loss is the first of three.
    net.peer().end(None);
    assert!(matches!(session.next().await, Some(Event::Down(down)) if down.will_retry));
}

#[tokio::test(start_paused = true)]
async fn asking_again_tells_nothing_new() {
    let net = Net::new(|_| Act::Refuse(refused()));
    let (layer, handle) = ReconnectLayer::pair();
    let mut transitions = handle.transitions();
    let mut session = Box::pin(net.session(layer));
    for _ in 0..100 {
        handle.reconnect_now();
        assert!(is_pending(&mut session));
    }
    // Connecting, backing off; and perhaps once more for the delay that is cut short.
    assert!((2..=3).contains(&transitions.len()), "{}", transitions.len());
    assert!(transitions.try_recv().is_ok());
}

/// Closing wakes whoever reads, each time: a layer may begin a deadline in `poll_close`, which the
/// reader has to see to.
#[pin_project::pin_project]
struct WakesItsReader {
    #[pin]
    inner: Link,
    reader: Option<Waker>,
    polls: usize,
}

impl Stream for WakesItsReader {
    type Item = Event<String>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        *this.reader = Some(cx.waker().clone());
        *this.polls += 1;
        assert!(*this.polls < 50, "it spins");
        this.inner.poll_next(cx)
    }
}

impl Sink<Outgoing<String>> for WakesItsReader {
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<String>) -> Result<(), Closed> {
        self.project().inner.start_send(item)
    }

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.project().inner.poll_ready(cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let this = self.project();
        // The goodbye does not get through: only the deadline below ends it.
        let _ = this.inner.poll_close(cx);
        if let Some(reader) = this.reader.take() {
            reader.wake();
        }
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_does_not_spin_over_a_layer_that_wakes_its_reader() {
    let net = Net::accepting();
    let service = net.service().map_response(|inner| WakesItsReader {
        inner,
        reader: None,
        polls: 0,
    });
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = layer.layer(service).oneshot(()).await.unwrap();
    up(&mut session).await;
    net.peer().deafen();
    handle.reconnect_now();
    assert!(down(&mut session).await.will_retry);
    up(&mut session).await;
}
