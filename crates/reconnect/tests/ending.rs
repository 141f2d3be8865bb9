//! How a session ends.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{Act, Net, closed, down, dropped, message, ping, refused, status, up};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_ws_core::{BoxError, Closed, EndCause, Event};
use tower_ws_reconnect::{ReconnectLayer, State};
use tower_ws_test_kit::ManualConnection;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_final_close_ends_the_session() {
    let net = Net::new(|_| Act::Drop(SECOND, Some(closed(4403))));
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer).await.unwrap();
    up(&mut session).await;
    let down = down(&mut session).await;
    assert!(!down.will_retry);
    assert!(session.next().await.is_none());
    assert!(session.next().await.is_none());
    assert_eq!(session.send(message("x")).await, Err(Closed));
    assert_eq!(session.start_send_unpin(ping("x")), Err(Closed));
    assert!(matches!(&*handle.state().borrow(), State::Failed { cause } if cause.close().unwrap().code == 4403));
    drop(session);
    assert!(matches!(&*handle.state().borrow(), State::Failed { .. }));
}

#[tokio::test(start_paused = true)]
async fn refusals_that_last_end_a_session_that_was_up() {
    // What is answered, and how many dials that makes: one that came up, one that was refused, and
    // those after it.
    for (refusal, dials, lasts) in [(401, 1 + 1 + 4, 600..660), (404, 1 + 20, 600..640)] {
        let net = Net::new(move |n| match n {
            1 => Act::Accept,
            _ => Act::Refuse(status(refusal)),
        });
        let (layer, handle) = ReconnectLayer::pair();
        let mut session = net.session(layer).await.unwrap();
        let end_cause = up(&mut session).await.extensions.get::<EndCause>().cloned().unwrap();
        net.peer().end(None);
        assert!(down(&mut session).await.will_retry);
        let lost = Instant::now();
        assert!(end_cause.get().is_none());
        session.start_send_unpin(ping("x")).unwrap();
        dropped(&mut session).await;
        let mut state = handle.state();
        let watch = tokio::spawn(async move {
            let told = state.wait_for(|state| matches!(state, State::BackingOff { final_at: Some(_), .. }));
            match &*told.await.unwrap() {
                State::BackingOff { final_at, .. } => final_at.unwrap(),
                _ => unreachable!("it was waited for"),
            }
        });
        assert!(session.next().await.is_none());
        let ended = Instant::now();
        assert!(watch.await.unwrap() <= ended);
        assert!(
            lasts.contains(&(ended - lost).as_secs()),
            "{refusal}: {:?}",
            ended - lost
        );
        match refusal {
            401 => assert_eq!(net.dials().len(), dials),
            _ => assert!(net.dials().len() > dials, "{}", net.dials().len()),
        }
        assert_eq!(end_cause.get().unwrap().status(), Some(refusal));
        assert!(matches!(&*handle.state().borrow(), State::Failed { cause } if cause.status() == Some(refusal)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_for_a_while_is_up_again() {
    for refusal in [302, 401, 403, 404, 426] {
        let net = Net::new(move |n| match n {
            2..=4 => Act::Refuse(status(refusal)),
            _ => Act::Accept,
        });
        let mut session = net.session(ReconnectLayer::new()).await.unwrap();
        up(&mut session).await;
        net.peer().end(None);
        assert!(down(&mut session).await.will_retry);
        assert_eq!(up(&mut session).await.epoch, 2, "{refusal}");
    }
}

/// The token has expired, and whoever issues others takes a while.
#[tokio::test(start_paused = true)]
async fn who_was_sent_away_for_a_credential_and_then_refused_is_up_again() {
    let net = Net::new(|n| match n {
        2 | 3 => Act::Refuse(status(401)),
        _ => Act::Accept,
    });
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    up(&mut session).await;
    sleep(60 * SECOND).await;
    net.peer().end(Some(closed(4401)));
    assert!(down(&mut session).await.will_retry);
    let lost = Instant::now();
    assert_eq!(up(&mut session).await.epoch, 2);
    // A new credential at once, then 1 and 2 min later.
    assert!(
        (180 * SECOND..220 * SECOND).contains(&lost.elapsed()),
        "{:?}",
        lost.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_at_once_if_wanted_or_if_there_was_no_session() {
    let refusing = |n| if n == 1 { Act::Accept } else { Act::Refuse(status(404)) };
    let net = Net::new(refusing);
    let layer = ReconnectLayer::new().refusals_final_after(Duration::ZERO);
    let mut session = net.session(layer).await.unwrap();
    up(&mut session).await;
    net.peer().end(None);
    assert!(down(&mut session).await.will_retry);
    assert!(session.next().await.is_none());
    assert_eq!(net.dials().len(), 2);

    let net = Net::new(|_| Act::Refuse(status(404)));
    assert!(net.session(ReconnectLayer::new()).await.is_err());
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_while_connected_reads_to_the_end() {
    let net = Net::accepting();
    let (layer, handle) = ReconnectLayer::pair();
    let mut session = net.session(layer).await.unwrap();
    up(&mut session).await;
    net.peer().say("last words");
    session.close().await.unwrap();
    assert!(matches!(session.next().await, Some(Event::Message(text)) if text == "last words"));
    assert!(!down(&mut session).await.will_retry);
    assert!(session.next().await.is_none());
    assert!(matches!(&*handle.state().borrow(), State::Closed));
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_while_there_is_no_connection_ends_the_session_at_once() {
    for act in [Act::Refuse(refused()), Act::Hang] {
        let net = Net::new(move |n| if n == 1 { Act::Accept } else { act.clone() });
        let session = net.session(ReconnectLayer::new()).await.unwrap();
        let (mut sink, mut stream) = session.split();
        up(&mut stream).await;
        net.peer().end(None);
        down(&mut stream).await;
        let reader = tokio::spawn(async move { stream.next().await });
        sleep(SECOND * 100).await;
        let dials = net.dials().len();
        assert!(dials > 1);
        sink.close().now_or_never().unwrap().unwrap();
        assert!(
            timeout(SECOND, reader)
                .await
                .expect("the reader sleeps")
                .unwrap()
                .is_none()
        );
        sleep(SECOND * 100).await;
        assert_eq!(net.dials().len(), dials);
    }
}

/// By the contract of `Service` it is to be dropped.
#[tokio::test(start_paused = true)]
async fn a_service_whose_readiness_fails_is_not_asked_again() {
    #[derive(Clone, Default)]
    struct Dead(Arc<AtomicUsize>);
    impl Service<()> for Dead {
        type Response = ManualConnection<String>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Poll::Ready(Ok(())),
                _ => Poll::Ready(Err("the worker is gone".into())),
            }
        }

        fn call(&mut self, (): ()) -> Self::Future {
            std::future::ready(Err("the worker could not".into()))
        }
    }
    let dead = Dead::default();
    let dial = ReconnectLayer::new().layer(dead.clone()).oneshot(());
    assert!(
        timeout(Duration::from_secs(600), dial)
            .await
            .expect("it gives up")
            .is_err()
    );
    assert!(dead.0.load(Ordering::Relaxed) <= 3);
}
