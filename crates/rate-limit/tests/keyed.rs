//! Requests, limited by a key.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use support::{SECOND, densest, n};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_ws_core::{BoxError, find};
use tower_ws_rate_limit::{Excess, KeyedLimitError, KeyedRateLimitLayer, Quota};
use tower_ws_test_kit::MustBeReady;

type Call = (u32, usize);
type Calls = Arc<Mutex<Vec<(Call, Instant)>>>;

fn noted() -> (
    impl Service<Call, Response = usize, Error = Infallible, Future: Send> + Clone + Send,
    Calls,
) {
    let calls = Calls::default();
    let seen = calls.clone();
    let service = service_fn(move |call: Call| {
        seen.lock().unwrap().push((call, Instant::now()));
        async move { Ok(call.1) }
    });
    (service, calls)
}

fn by_key(quota: Quota) -> KeyedRateLimitLayer<u32, impl Fn(&Call) -> u32 + Clone> {
    KeyedRateLimitLayer::new(quota, |call: &Call| call.0)
}

fn error(result: Result<usize, BoxError>) -> KeyedLimitError {
    let error = result.unwrap_err();
    find::<KeyedLimitError>(&*error).unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_and_waits_in_order() {
    let (service, calls) = noted();
    let layer = by_key(Quota::strict(n(3), SECOND).unwrap());
    // Clones of the layer and of the service share the limits.
    let call = |key, n| layer.clone().layer(service.clone()).oneshot((key, n));
    let start = Instant::now();
    let all = (0..40).map(|n| call(n as u32 % 4, n));
    let done = join_all(all).await;
    assert_eq!(
        done.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        Vec::from_iter(0..40)
    );
    for key in 0..4 {
        let calls = calls.lock().unwrap();
        let (order, times): (Vec<_>, Vec<_>) = calls
            .iter()
            .filter(|(call, _)| call.0 == key)
            .map(|(call, at)| (call.1, *at))
            .unzip();
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(densest(&times, SECOND), 3);
    }
    assert!(start.elapsed() < SECOND * 4, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refusing_says_when_to_come_again() {
    let (service, calls) = noted();
    let service = by_key(Quota::per_second(n(1))).excess(Excess::Refuse).layer(service);
    let call = |key, n| service.clone().oneshot((key, n));
    call(1, 0).await.unwrap();
    assert!(matches!(error(call(1, 1).await), KeyedLimitError::Refused { retry_after, .. } if retry_after == SECOND));
    call(2, 2).await.unwrap();
    sleep(SECOND).await;
    call(1, 3).await.unwrap();
    assert_eq!(calls.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_waits_and_which_keys_are_in_use_has_a_bound() {
    let (service, _) = noted();
    let layer = by_key(Quota::per_second(n(1)))
        .waiting(2)
        .keys(NonZeroUsize::new(3).unwrap());
    let service = layer.layer(service);
    let call = |key, n| service.clone().oneshot((key, n)).boxed();
    call(1, 0).await.unwrap();
    let (mut first, mut second) = (call(1, 1), call(1, 2));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    assert_eq!(error(call(1, 3).await), KeyedLimitError::TooManyWaiting(2));
    for key in 2..4 {
        call(key, 4).await.unwrap();
    }
    assert_eq!(error(call(4, 5).await), KeyedLimitError::TooManyKeys(3));
    // One who gives up makes room, and its turn goes to the next.
    drop(first);
    let start = Instant::now();
    call(1, 6).await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
    second.await.unwrap();
    // Keys whose quota is whole again are forgotten.
    sleep(SECOND * 2).await;
    for key in 10..13 {
        call(key, 7).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_requests_that_never_wait_have_a_bound_too() {
    for quota in [Quota::per_second(n(2)), Quota::strict(n(2), SECOND).unwrap()] {
        let layer = by_key(quota).excess(Excess::Refuse).keys(NonZeroUsize::new(2).unwrap());
        let service = layer.layer(noted().0);
        let call = |key| service.clone().oneshot((key, 0));
        for key in [1, 2, 1] {
            call(key).await.unwrap();
        }
        assert_eq!(error(call(3).await), KeyedLimitError::TooManyKeys(2));
        // One that is there has what is left of its own.
        call(2).await.unwrap();
        assert!(matches!(error(call(2).await), KeyedLimitError::Refused { .. }));
        // Whole again, and forgotten.
        sleep(SECOND * 2).await;
        call(3).await.unwrap();
        call(4).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_keeps_nothing_occupied() {
    let (service, _) = noted();
    // A single place below, and a strict eye on readiness.
    let below = ConcurrencyLimit::new(MustBeReady::new(service), 1);
    let service = by_key(Quota::per_second(n(1))).layer(below);
    let call = |key, n| service.clone().oneshot((key, n)).boxed();
    call(1, 0).await.unwrap();
    let mut waiting = call(1, 1);
    assert!((&mut waiting).now_or_never().is_none());
    // Another key passes meanwhile.
    let start = Instant::now();
    call(2, 2).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    waiting.await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
}
