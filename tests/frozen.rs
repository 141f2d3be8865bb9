//! Peers that accept, and say nothing: a handshake followed by silence is no success.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::time::{Instant, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_ws::{
    core::{BoxError, Event, Lift},
    health::HealthLayer,
    reconnect::{Backoff, FailoverLayer, ReconnectLayer, Targets},
    transport::{Message, memory},
};

/// Endpoints that accept everybody and never say a word; when which was dialled.
type Dials = Arc<Mutex<Vec<(usize, Instant)>>>;

fn frozen(
    dials: &Dials,
) -> impl tower::Service<usize, Response = Lift<memory::Socket<Message>, Message>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ use<> {
    let dials = dials.clone();
    let peers = Arc::new(Mutex::new(Vec::new()));
    service_fn(move |endpoint| {
        dials.lock().unwrap().push((endpoint, Instant::now()));
        let (near, far) = memory::pair(16);
        peers.lock().unwrap().push(far);
        async move { Ok(Lift::new(near)) }
    })
}

#[tokio::test(start_paused = true)]
async fn silence_ends_no_outage() {
    let dials = Dials::default();
    let mut session = Box::pin(
        ServiceBuilder::new()
            .layer(ReconnectLayer::new().seed(1).policy(Backoff::default().max_attempts(4)))
            .layer(HealthLayer::new())
            .service(frozen(&dials))
            .oneshot(0)
            .await
            .unwrap(),
    );
    let end = timeout(Duration::from_secs(3600), async {
        let mut last = None;
        while let Some(event) = session.next().await {
            if let Event::Down(down) = event {
                last = Some(down);
            }
        }
        last.unwrap()
    });
    let down = end.await.expect("it gives up");
    assert!(!down.will_retry && down.silent >= Duration::from_secs(30), "{down:?}");
    assert_eq!(dials.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_endpoint_is_passed_over() {
    let dials = Dials::default();
    let mut session = Box::pin(
        ServiceBuilder::new()
            .layer(ReconnectLayer::new().seed(1))
            .layer(FailoverLayer::new())
            .layer(HealthLayer::new())
            .service(frozen(&dials))
            .oneshot(Targets::new(0, [1]))
            .await
            .unwrap(),
    );
    let _ = timeout(Duration::from_secs(150), async {
        while session.next().await.is_some() {}
    })
    .await;
    let dialled: Vec<usize> = dials.lock().unwrap().iter().map(|(endpoint, _)| *endpoint).collect();
    assert!(dialled.starts_with(&[0, 1]), "{dialled:?}");
}
