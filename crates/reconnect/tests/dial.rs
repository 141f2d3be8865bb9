//! The first dial, and what decides about the next.

mod support;

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::StreamExt;
use support::{Act, Net, down, refused, status, up};
use tokio::time::Instant;
use tower_ws_core::{Failure, FailureKind, RetryAfter, find};
use tower_ws_reconnect::{Backoff, Decision, History, Policy, ReconnectError, ReconnectLayer};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_dial_is_retried() {
    let net = Net::new(|n| if n <= 8 { Act::Refuse(refused()) } else { Act::Accept });
    let mut session = net.session(ReconnectLayer::new()).await.unwrap();
    assert_eq!(up(&mut session).await.epoch, 1);
    assert_eq!(net.dials().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn the_first_dial_fails_fast_if_told_so() {
    let net = Net::new(|_| Act::Refuse(refused()));
    let error = net.session(ReconnectLayer::new().fail_fast()).await.unwrap_err();
    assert!(matches!(error, ReconnectError::GaveUp { attempts: 1, .. }), "{error:?}");
    assert_eq!(net.dials().len(), 1);

    // Later dials are retried all the same.
    let net = Net::new(|n| if n == 2 { Act::Refuse(refused()) } else { Act::Accept });
    let mut session = net.session(ReconnectLayer::new().fail_fast()).await.unwrap();
    up(&mut session).await;
    net.peer().end(None);
    down(&mut session).await;
    assert_eq!(up(&mut session).await.epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn giving_up_names_the_cause() {
    let net = Net::new(|_| Act::Refuse(status(503)));
    let layer = ReconnectLayer::new().policy(Backoff::default().max_attempts(3));
    let error = net.session(layer).await.unwrap_err();
    assert_eq!(error.cause().status(), Some(503));
    assert_eq!(find::<Failure>(&error).and_then(Failure::status), Some(503));
    assert!(
        error.to_string().starts_with("gave up connecting after 3 attempt(s)"),
        "{error}"
    );
    assert_eq!(
        error.source().unwrap().to_string(),
        "the upgrade was refused (http status 503)"
    );
    assert_eq!(net.dials().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_outage_has_a_budget() {
    let start = Instant::now();
    let net = Net::new(|_| Act::Refuse(refused()));
    let layer = ReconnectLayer::new().policy(Backoff::default().max_outage(SECOND * 60));
    net.session(layer).await.unwrap_err();
    assert!(
        start.elapsed() > SECOND * 30 && start.elapsed() <= SECOND * 60,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_dates_are_measured_by_the_injected_clock() {
    let wall = std::time::SystemTime::UNIX_EPOCH + SECOND * 1_000_000;
    let busy = status(503).with_retry_after(RetryAfter::Date(wall + SECOND * 60));
    let net = Net::new(move |n| if n == 1 { Act::Refuse(busy.clone()) } else { Act::Accept });
    net.session(ReconnectLayer::new().clock(move || wall)).await.unwrap();
    let dials = net.dials();
    let waited = dials[1] - dials[0];
    assert!(SECOND * 60 <= waited && waited <= SECOND * 73, "{waited:?}");
}

/// A server, or whoever answers in its place, cannot park a client for good.
#[tokio::test(start_paused = true)]
async fn a_retry_after_in_2099_hits_the_cap() {
    let wall = std::time::SystemTime::UNIX_EPOCH + SECOND * 1_800_000_000;
    let new_years_eve = std::time::SystemTime::UNIX_EPOCH + SECOND * 4_102_444_799;
    let busy = status(503).with_retry_after(RetryAfter::Date(new_years_eve));
    let net = Net::new(move |n| if n == 1 { Act::Refuse(busy.clone()) } else { Act::Accept });
    net.session(ReconnectLayer::new().clock(move || wall)).await.unwrap();
    let dials = net.dials();
    let waited = dials[1] - dials[0];
    assert!(SECOND * 300 <= waited && waited <= SECOND * 361, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn policies_see_the_history() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let layer = ReconnectLayer::new().policy(move |cause: &Failure, history: &History| {
        assert!((0.0..1.0).contains(&history.sample));
        let previous = history.previous.as_ref().map(Failure::kind);
        log.lock()
            .unwrap()
            .push((cause.kind(), history.attempts, history.uptime.is_some(), previous));
        match history.attempts {
            0..3 => Decision::RetryAfter(SECOND * 2),
            _ => Decision::GiveUp,
        }
    });
    let net = Net::new(|n| {
        if n == 1 {
            Act::Drop(SECOND * 10, None)
        } else {
            Act::Refuse(status(500))
        }
    });
    let mut session = net.session(layer).await.unwrap();
    while session.next().await.is_some() {}
    let (network, handshake) = (FailureKind::Network, FailureKind::Handshake);
    let expected = [
        (network, 0, true, None),
        (handshake, 1, false, Some(network)),
        (handshake, 2, false, Some(handshake)),
        (handshake, 3, false, Some(handshake)),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_policy_can_be_chosen_at_run_time() {
    let policy: Arc<dyn Policy + Send + Sync> = Arc::new(Backoff::default().max_attempts(2));
    let net = Net::new(|_| Act::Refuse(refused()));
    net.session(ReconnectLayer::new().policy(policy)).await.unwrap_err();
    assert_eq!(net.dials().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sessions_draw_different_jitter_unless_seeded() {
    async fn waits(layer: ReconnectLayer) -> Vec<Duration> {
        let net = Net::new(|n| if n <= 8 { Act::Refuse(refused()) } else { Act::Accept });
        net.session(layer).await.unwrap();
        net.dials().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
    assert_eq!(
        waits(ReconnectLayer::new().seed(7)).await,
        waits(ReconnectLayer::new().seed(7)).await
    );
    assert_ne!(waits(ReconnectLayer::new()).await, waits(ReconnectLayer::new()).await);
}
