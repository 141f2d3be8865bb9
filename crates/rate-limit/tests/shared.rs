//! A limit that is kept elsewhere: each turn is asked for.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    future::{Ready, pending, ready},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use proptest::prelude::*;
use support::{SECOND, arrivals, arrived, connect, dropped, n, read_all};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_ws_core::{DropReason, Lift, Outgoing};
use tower_ws_rate_limit::{Cost, Excess, Limiter, NoTurn, Quota, RateLimitLayer, Turns};
use tower_ws_transport::memory;

/// One a second, evenly, by the clock of this process, after an answer has taken its time.
#[derive(Clone, Debug, Default)]
struct Elsewhere(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    answer: Duration,
    /// When the next may pass.
    next: Option<Instant>,
    paused_until: Option<Instant>,
    asked: usize,
    away: bool,
}

impl Turns for Elsewhere {
    fn turn(&self, cost: Cost) -> BoxFuture<'static, Result<(), NoTurn>> {
        let line = self.0.clone();
        async move {
            let answer = line.lock().unwrap().answer;
            sleep(answer).await;
            let at = {
                let mut line = line.lock().unwrap();
                line.asked += 1;
                if cost.bytes > 100 {
                    return Err(NoTurn::TooLarge(100));
                }
                let now = Instant::now();
                let at = line.next.max(line.paused_until).unwrap_or(now).max(now);
                if cost.at_once && at > now {
                    return Err(NoTurn::Later);
                }
                line.next = Some(at + SECOND);
                (!line.away).then_some(at)
            };
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => pending().await,
            }
            Ok(())
        }
        .boxed()
    }

    fn pause(&self, length: Duration) {
        self.0.lock().unwrap().paused_until = Some(Instant::now() + length);
    }

    fn paused_until(&self) -> Option<Instant> {
        self.0
            .lock()
            .unwrap()
            .paused_until
            .filter(|until| *until > Instant::now())
    }
}

fn layer(turns: &Elsewhere) -> RateLimitLayer {
    RateLimitLayer::new().outbound(Limiter::shared(turns.clone()))
}

#[tokio::test(start_paused = true)]
async fn messages_pass_in_order_when_their_turn_has_come() {
    let turns = Elsewhere::default();
    turns.0.lock().unwrap().answer = SECOND / 100;
    let (connection, mut far) = connect(&layer(&turns)).await;
    let (mut writer, reader) = connection.split();
    read_all(reader);
    let sent = tokio::spawn(async move {
        for text in ["a", "b", "c"] {
            writer.send(text.to_owned().into()).await.unwrap();
        }
        writer
    });
    let start = Instant::now();
    let times: Vec<_> = arrivals(&mut far, 3)
        .await
        .iter()
        .map(|at| (*at - start).as_millis() / 100)
        .collect();
    assert_eq!(times, [0, 10, 20]);
    drop(sent);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_wait_or_is_too_large_comes_back_once_the_answer_is_known() {
    let turns = Elsewhere::default();
    let (mut connection, mut far) = connect(&layer(&turns).excess(Excess::Refuse)).await;
    connection.send("a".to_owned().into()).await.unwrap();
    connection.feed("b".to_owned().into()).await.unwrap();
    assert!(matches!(dropped(connection.next().await), (text, DropReason::Refused(_)) if text == "b"));
    connection.feed("c".repeat(101).into()).await.unwrap();
    assert_eq!(
        dropped(connection.next().await).1,
        DropReason::TooLarge { size: 101, limit: 100 }
    );
    assert_eq!(arrived(&mut far), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_nobody_answers_and_control_passes() {
    let turns = Elsewhere::default();
    turns.0.lock().unwrap().away = true;
    let (mut connection, mut far) = connect(&layer(&turns)).await;
    let late = Outgoing::new("a".to_owned()).deadline(Instant::now() + SECOND);
    connection.feed(late).await.unwrap();
    connection
        .feed(Outgoing::new("ping".to_owned()).control())
        .await
        .unwrap();
    assert_eq!(dropped(connection.next().await).1, DropReason::Expired);
    let _ = connection.flush().now_or_never();
    assert_eq!(arrived(&mut far), ["ping"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_between_makes_it_ask_again() {
    let turns = Elsewhere::default();
    let limit = Limiter::shared(turns.clone());
    let (connection, mut far) = connect(&RateLimitLayer::new().outbound(limit.clone())).await;
    let (mut writer, reader) = connection.split();
    read_all(reader);
    writer.send("a".to_owned().into()).await.unwrap();
    let sent = tokio::spawn(async move { writer.send("b".to_owned().into()).await });
    sleep(SECOND / 2).await;
    let start = Instant::now();
    limit.pause(SECOND * 20);
    assert_eq!(arrived(&mut far), ["a"]);
    let at = arrivals(&mut far, 1).await[0];
    assert!(at - start >= SECOND * 20, "{:?}", at - start);
    sent.await.unwrap().unwrap();
    assert_eq!((limit.stats().pauses, limit.stats().waited), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn dials_wait_for_the_answer_and_one_that_was_kept_too_long_counts_ahead() {
    let turns = Elsewhere::default();
    let layer = RateLimitLayer::new().dials(Limiter::shared(turns.clone()));
    let mut service = layer.layer(service_fn(dial));
    service.ready().await.unwrap();
    sleep(SECOND * 5).await;
    drop(service.call(()));
    // It was too late, so another turn is taken for it.
    sleep(SECOND / 10).await;
    assert_eq!(turns.0.lock().unwrap().asked, 2);
    assert!(timeout(SECOND / 2, service.ready()).await.is_err());
    timeout(SECOND * 2, service.ready()).await.unwrap().unwrap();
}

fn dial((): ()) -> Ready<io::Result<Lift<memory::Socket<String>, String>>> {
    ready(Ok(Lift::new(memory::pair(1).0)))
}

/// The schedule of this process, as if it were elsewhere.
#[derive(Debug)]
struct Local(Limiter);

impl Turns for Local {
    fn turn(&self, _: Cost) -> BoxFuture<'static, Result<(), NoTurn>> {
        let layer = RateLimitLayer::new().dials(self.0.clone());
        let service = layer.layer(service_fn(dial));
        async move {
            drop(service.oneshot(()).await);
            Ok(())
        }
        .boxed()
    }

    fn pause(&self, length: Duration) {
        self.0.pause(length);
    }

    fn paused_until(&self) -> Option<Instant> {
        self.0.stats().paused_until
    }
}

/// When messages pass a layer, if they are sent so far apart, in milliseconds.
fn passes(make: impl Fn() -> Limiter, gaps: &[u64], pause: Option<(usize, u64)>) -> Vec<u128> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let limit = make();
        let (connection, mut far) = connect(&RateLimitLayer::new().outbound(limit.clone())).await;
        let (mut writer, reader) = connection.split();
        read_all(reader);
        let start = Instant::now();
        let write = async {
            for (at, gap) in gaps.iter().enumerate() {
                sleep(Duration::from_millis(*gap)).await;
                if let Some((pause_at, length)) = pause
                    && pause_at == at
                {
                    limit.pause(Duration::from_millis(length));
                }
                writer.send("x".to_owned().into()).await.unwrap();
            }
            pending::<()>().await;
        };
        tokio::select! {
            times = arrivals(&mut far, gaps.len()) => times.iter().map(|at| (*at - start).as_millis()).collect(),
            () = write => unreachable!("it waits"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The two ways pass the same messages at the same time.
    #[test]
    fn a_limit_that_is_asked_passes_what_one_that_is_here_does(
        rate in 1u32..40, burst in 1u32..10,
        gaps in prop::collection::vec(0u64..300, 1..40),
        pause in prop::option::of((0usize..40, 1u64..2_000)),
    ) {
        let quota = Quota::per_second(n(rate)).burst(n(burst));
        let here = passes(|| Limiter::new(quota), &gaps, pause);
        let asked = passes(|| Limiter::shared(Local(Limiter::new(quota))), &gaps, pause);
        // Timers count in milliseconds.
        prop_assert!(here.iter().zip(&asked).all(|(a, b)| a.abs_diff(*b) <= 2), "{here:?}\n{asked:?}");
    }
}
