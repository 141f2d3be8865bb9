//! Dials: a stampede, those who give up, and a server that asks for fewer.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, StreamExt};
use support::{SECOND, densest, n, network};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_ws_core::{BoxError, Close, Event, Failure, FailureKind, Lift, RetryAfter, find};
use tower_ws_rate_limit::{Limiter, Quota, RateLimitLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::MustBeReady;
use tower_ws_transport::memory::{self, Memory, Socket};

/// Notes when each dial begins.
#[derive(Clone)]
struct Noted {
    memory: Memory<String>,
    dials: Arc<Mutex<Vec<Instant>>>,
}

impl Service<()> for Noted {
    type Response = Lift<Socket<String>, String>;
    type Error = io::Error;
    type Future = memory::Dial<String>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Service::<()>::poll_ready(&mut self.memory, cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.dials.lock().unwrap().push(Instant::now());
        self.memory.call(())
    }
}

/// A server that restarts: all who were connected come back.
async fn restart(quota: Quota) -> (Vec<Instant>, Duration) {
    const CLIENTS: usize = 1_000;
    let (memory, mut listener) = network();
    let dials = Arc::<Mutex<Vec<Instant>>>::default();
    let limiter = Limiter::new(quota);
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        // Each has a layer of its own. Only the limit is the same.
        let connect = ServiceBuilder::new()
            .layer(ReconnectLayer::new().seed(seed as u64))
            .layer(RateLimitLayer::new().dials(limiter.clone()))
            .service(Noted {
                memory: memory.clone(),
                dials: dials.clone(),
            });
        clients.spawn(async move {
            let mut session = connect.oneshot(()).await.unwrap();
            for epoch in 1..=2 {
                while !matches!(session.next().await, Some(Event::Up(up)) if up.epoch == epoch) {}
            }
            session
        });
    }
    let mut peers = Vec::new();
    while peers.len() < CLIENTS {
        peers.push(listener.accept().await.unwrap());
    }
    let restarted = Instant::now();
    peers.clear();
    while peers.len() < CLIENTS {
        peers.push(listener.accept().await.unwrap());
    }
    let took = restarted.elapsed();
    assert_eq!(clients.join_all().await.len(), CLIENTS);
    let dials = std::mem::take(&mut *dials.lock().unwrap());
    assert_eq!(dials.len(), 2 * CLIENTS);
    (dials, took)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_do_not_stampede_a_strict_server() {
    let (dials, took) = restart(Quota::strict(n(50), SECOND).unwrap()).await;
    assert_eq!(densest(&dials, SECOND), 50);
    // Nor is it slower than it must be, with the grace and the first delay of reconnect.
    assert!(took <= SECOND * 1_000 / 50 * 11 / 10 + SECOND * 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_come_back_evenly() {
    let (dials, took) = restart(Quota::per_second(n(50)).burst(n(1))).await;
    // A timer that counts in milliseconds may push one more into the window.
    assert!(densest(&dials, SECOND) <= 51, "{}", densest(&dials, SECOND));
    assert!(densest(&dials, SECOND / 10) <= 6, "{}", densest(&dials, SECOND / 10));
    assert!(took <= SECOND * 1_000 / 50 + SECOND * 2, "{took:?}");
}

type Outcome = Result<Lift<Socket<String>, String>, BoxError>;

/// A server that answers dial `n`, counted from one, with what `answer` says.
fn server(
    answer: impl Fn(usize) -> Option<Failure> + Clone + Send + 'static,
) -> (
    impl Service<(), Response = Lift<Socket<String>, String>, Error = BoxError, Future: Send> + Clone + Send,
    Arc<Mutex<Vec<Instant>>>,
) {
    let dials = Arc::<Mutex<Vec<Instant>>>::default();
    let noted = dials.clone();
    let service = service_fn(move |(): ()| {
        let mut dials = noted.lock().unwrap();
        dials.push(Instant::now());
        let answer: Outcome = match answer(dials.len()) {
            Some(failure) => Err(failure.into()),
            None => Ok(Lift::new(memory::pair(1).0)),
        };
        async move { answer }
    });
    (service, dials)
}

fn one_a_second() -> Limiter {
    Limiter::new(Quota::per_second(n(1)))
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served_and_who_gives_up_gives_way() {
    let (service, dials) = server(|_| None);
    let limiter = one_a_second();
    let start = Instant::now();
    let dial = || {
        RateLimitLayer::new()
            .dials(limiter.clone())
            .layer(service.clone())
            .oneshot(())
    };
    dial().await.unwrap();
    let mut second = Box::pin(dial());
    let mut third = Box::pin(dial());
    assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
    assert_eq!(limiter.stats().waited, 2);
    assert_eq!(limiter.stats().debt, SECOND * 3);
    drop(second);
    // Its place goes to the next who comes; who waits keeps the own.
    let fourth = dial().await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
    let third = third.await.unwrap();
    assert_eq!(start.elapsed(), SECOND * 2);
    assert_eq!(dials.lock().unwrap().len(), 3);
    drop((third, fourth));
}

#[tokio::test(start_paused = true)]
async fn one_who_is_never_polled_again_holds_up_nobody() {
    let (service, _) = server(|_| None);
    let layer = RateLimitLayer::new().dials(Quota::per_second(n(1)));
    let dial = || layer.layer(service.clone()).oneshot(());
    dial().await.unwrap();
    let mut asleep = Box::pin(dial());
    assert!((&mut asleep).now_or_never().is_none());
    let start = Instant::now();
    dial().await.unwrap();
    assert_eq!(start.elapsed(), SECOND * 2);
    // And it does not add to others when it wakes late.
    sleep(SECOND * 10 - SECOND / 2).await;
    dial().await.unwrap();
    let start = Instant::now();
    asleep.await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_readied_service_goes_with_the_call_and_a_clone_waits() {
    let (service, _) = server(|_| None);
    let layer = RateLimitLayer::new().dials(Quota::per_second(n(1)));
    let mut first = layer.layer(MustBeReady::new(service));
    first.ready().await.unwrap();
    let mut clone = first.clone();
    assert!(clone.ready().now_or_never().is_none());
    first.call(()).await.unwrap();
    let start = Instant::now();
    clone.ready().await.unwrap().call(()).await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn readiness_that_was_kept_too_long_is_made_up_for() {
    let (service, dials) = server(|_| None);
    let layer = RateLimitLayer::new().dials(Quota::per_second(n(1)));
    let mut kept = layer.layer(service.clone());
    kept.ready().await.unwrap();
    sleep(SECOND * 10).await;
    let dial = || layer.layer(service.clone()).oneshot(());
    dial().await.unwrap();
    // This one cannot be put off any more: the next waits for both.
    kept.call(()).await.unwrap();
    let start = Instant::now();
    dial().await.unwrap();
    assert_eq!(start.elapsed(), SECOND * 2);
    assert_eq!(dials.lock().unwrap().len(), 3);
}

fn refused(status: u16) -> Failure {
    Failure::new(FailureKind::Handshake, "the server refused the upgrade").with_status(status)
}

#[tokio::test(start_paused = true)]
async fn what_the_server_tells_one_holds_for_all() {
    let wall = SystemTime::UNIX_EPOCH;
    let after = |wish| refused(503).with_retry_after(wish);
    let cases = [
        (after(RetryAfter::Delay(SECOND * 90)), SECOND * 90),
        (after(RetryAfter::Date(wall + SECOND * 90)), SECOND * 90),
        (after(RetryAfter::Delay(SECOND * 86_400)), RetryAfter::CAP),
        (refused(429), Limiter::PAUSE),
        (refused(503), SECOND),
        (after(RetryAfter::Date(wall - SECOND)), SECOND),
    ];
    for (failure, pause) in cases {
        let (told, text) = (failure.clone(), failure.to_string());
        let (service, dials) = server(move |dial| (dial == 1).then(|| told.clone()));
        let limiter = one_a_second();
        let (layer, handle) = RateLimitLayer::pair();
        let layer = layer.dials(limiter.clone()).clock(move || wall);
        let mut first = layer.layer(service.clone());
        let mut waiting = Box::pin(layer.layer(service.clone()).oneshot(()));
        first.ready().await.unwrap();
        // This one had a turn already, before the server said so.
        assert!((&mut waiting).now_or_never().is_none());
        let start = Instant::now();
        let error = first.call(()).await.err().unwrap();
        // The failure passes as it is.
        let found = find::<Failure>(&*error).unwrap();
        assert_eq!((found.status(), found.to_string()), (failure.status(), text.clone()));
        let stats = handle.snapshot().dials.unwrap();
        assert_eq!(stats.paused_until.is_some(), pause > SECOND, "{text}");
        // A client with a layer of its own, that shares the limit.
        let other = RateLimitLayer::new().dials(limiter).layer(service).oneshot(());
        let (waited, other) = tokio::join!(waiting, other);
        assert!(waited.is_ok() && other.is_ok());
        let dials = dials.lock().unwrap().clone();
        assert!(dials[1] - start >= pause, "{:?} after {text}", dials[1] - start);
        assert!(
            dials[2] - start <= pause + SECOND * 3,
            "{:?} after {text}",
            dials[2] - start
        );
        // And they do not come all at once then.
        assert_eq!(densest(&dials, SECOND), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_code_says_so_too() {
    for (code, pause) in [(1013, Limiter::PAUSE), (4429, Limiter::PAUSE), (1012, SECOND)] {
        let layer = RateLimitLayer::new().dials(Quota::per_second(n(1)));
        let cause = Failure::closed(Close {
            code,
            reason: String::new(),
        });
        let closing = service_fn(move |(): ()| {
            let (near, far) = memory::pair::<String>(1);
            let wire = Closing(cause.clone());
            drop(far);
            async move { Ok::<_, BoxError>(Lift::with_wire(near, wire)) }
        });
        let mut connection = layer.layer(closing).oneshot(()).await.unwrap();
        let start = Instant::now();
        while connection.next().await.is_some() {}
        let (service, _) = server(|_| None);
        layer.layer(service).oneshot(()).await.unwrap();
        let took = start.elapsed();
        assert!(took >= pause && took < pause + SECOND, "{took:?} after {code}");
    }
}

/// A socket whose end is a close frame.
#[derive(Clone)]
struct Closing(Failure);

impl tower_ws_core::Wire<String> for Closing {
    fn ended(&self) -> Failure {
        self.0.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_waits_and_nothing_pauses() {
    let (service, dials) = server(|_| Some(refused(429).with_retry_after(RetryAfter::Delay(SECOND * 60))));
    let (layer, handle) = RateLimitLayer::pair();
    let start = Instant::now();
    for _ in 0..100 {
        assert!(layer.layer(service.clone()).oneshot(()).await.is_err());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(dials.lock().unwrap().len(), 100);
    assert_eq!(handle.snapshot(), tower_ws_rate_limit::Snapshot::default());
}

#[tokio::test(start_paused = true)]
async fn an_application_may_pause_them() {
    let (service, _) = server(|_| None);
    let limiter = one_a_second();
    limiter.pause(SECOND * 20);
    limiter.pause(SECOND * 10);
    let start = Instant::now();
    let layer = RateLimitLayer::new().dials(limiter.clone());
    layer.layer(service).oneshot(()).await.unwrap();
    assert_eq!(start.elapsed(), SECOND * 20);
    assert_eq!(limiter.stats().pauses, 1);
}
