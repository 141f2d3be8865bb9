//! Failing fast in a long outage.

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::StreamExt;
use support::{Act, Net, refused};
use tokio::time::{advance, timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit};
use tower_ws_core::{Event, FailureKind};
use tower_ws_reconnect::{CircuitError, CircuitLayer, ReconnectLayer, State};

const SECOND: Duration = Duration::from_secs(1);

/// A client, or one that has no room.
#[derive(Clone)]
struct Calls {
    room: bool,
}

impl Service<u8> for Calls {
    type Response = u8;
    type Error = Infallible;
    type Future = Ready<Result<u8, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self.room {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: u8) -> Self::Future {
        assert!(self.room, "called though it was not ready");
        ready(Ok(request))
    }
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_and_closes_with_the_next_connection() {
    let net = Net::new(|n| match n {
        1 => Act::Drop(60 * SECOND, None),
        2..=5 => Act::Refuse(refused()),
        _ => Act::Drop(1000 * SECOND, None),
    });
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer.seed(1)).await.unwrap();
    let calls = CircuitLayer::new(handle.clone()).layer(Calls { room: true });
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    assert_eq!(calls.clone().oneshot(7).await.unwrap(), 7);

    let session = tokio::spawn(async move {
        for _ in 0..2 {
            session.next().await;
        }
        session
    });
    let mut states = handle.state();
    let mut opened = 0;
    loop {
        let state = states.borrow_and_update().clone();
        let answer = calls.clone().oneshot(7).await;
        match (&state, answer) {
            (State::BackingOff { attempt: 1..=3, .. } | State::Connecting { attempt: 1..=3, .. }, answer) => {
                assert_eq!(answer.unwrap(), 7, "{state:?}");
            }
            (State::BackingOff { until, .. }, Err(CircuitError::Open(open))) => {
                opened += 1;
                assert_eq!(open.next_attempt, Some(*until));
                assert_eq!(open.cause.kind(), FailureKind::Network);
                let text = open.to_string();
                assert!(
                    text.contains(&format!("after {} failed attempts", open.failures)) && text.contains("begins in"),
                    "{text}"
                );
            }
            (State::Connecting { .. }, Err(CircuitError::Open(open))) => {
                assert!(open.to_string().contains("under way"), "{open}");
            }
            (State::Connected { epoch: 1 }, _) => {}
            (State::Connected { .. }, answer) => break assert_eq!(answer.unwrap(), 7),
            (state, answer) => panic!("{state:?}: {answer:?}"),
        }
        timeout(100 * SECOND, states.changed()).await.unwrap().unwrap();
    }
    assert!(opened >= 2, "{opened}");
    session.await.unwrap();
}

/// The room of a client fills in an outage: whoever waits for it is told, too.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_learns_that_it_opens() {
    let net = Net::new(|n| match n {
        1 => Act::Drop(60 * SECOND, None),
        _ => Act::Refuse(refused()),
    });
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer.seed(1)).await.unwrap();
    session.next().await;
    let calls = CircuitLayer::new(handle).layer(Calls { room: false });
    let waiting = tokio::spawn(calls.oneshot(7));
    let reading = tokio::spawn(async move { while session.next().await.is_some() {} });
    let answer = timeout(100 * SECOND, waiting).await.expect("it is told").unwrap();
    assert!(matches!(answer, Err(CircuitError::Open(_))), "{answer:?}");
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn offline_is_open_at_once() {
    let net = Net::new(|_| Act::Drop(1000 * SECOND, None));
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer.seed(1)).await.unwrap();
    session.next().await;
    let calls = CircuitLayer::new(handle.clone()).layer(Calls { room: true });
    handle.go_offline();
    session.next().await;
    let Err(CircuitError::Open(open)) = calls.clone().oneshot(7).await else {
        panic!("it is closed")
    };
    assert_eq!(open.to_string(), "not sent: offline on request");
    handle.go_online();
    {
        let mut up = pin!(session.next());
        while timeout(SECOND, &mut up).await.is_err() {
            advance(SECOND).await;
        }
    }
    assert_eq!(calls.oneshot(7).await.unwrap(), 7);
}

/// The service below was readied, and holds room for a call that does not come.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_leaves_its_room_to_others() {
    let net = Net::accepting();
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer).await.unwrap();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    let room = ConcurrencyLimit::new(Calls { room: true }, 1);
    let mut first = CircuitLayer::new(handle.clone()).layer(room.clone());
    let mut second = CircuitLayer::new(handle.clone()).layer(room);
    first.ready().await.unwrap();
    handle.go_offline();
    assert!(matches!(
        timeout(SECOND, session.next()).await,
        Ok(Some(Event::Down(_)))
    ));
    assert!(matches!(first.call(1).await, Err(CircuitError::Open(_))));
    handle.go_online();
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    timeout(SECOND, second.ready()).await.unwrap().unwrap();
    assert_eq!(second.call(2).await.unwrap(), 2);
}
