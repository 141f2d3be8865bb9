//! The numbers that the layers below show of themselves.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use metrics_util::debugging::DebuggingRecorder;
use support::{Seen, down, message, poll_once, saying, under};
use tokio::time::{advance, sleep};
use tower_ws_core::{DropReason, Event, Failure, FailureKind, Reading, Readings, Shared, Up, Value};
use tower_ws_metrics::MetricsLayer;
use tower_ws_test_kit::expect;

/// A layer's numbers, as a test sets them.
#[derive(Clone)]
struct Numbers(Shared<Values>);

#[derive(Default)]
struct Values([AtomicU64; 4]);

impl Default for Numbers {
    fn default() -> Self {
        Self(Shared::new(Values::default()))
    }
}

impl Numbers {
    fn set(&self, numbers: [u64; 4]) {
        for (at, number) in numbers.into_iter().enumerate() {
            self.0.0[at].store(number, Relaxed);
        }
    }

    fn up(&self) -> Event<String> {
        let mut up = Up::new();
        up.show(self.0.source());
        Event::Up(up)
    }
}

impl Readings for Values {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        let [parked, lost, nth, age] = std::array::from_fn(|at| self.0[at].load(Relaxed));
        show(Reading::new("shelf_parked", "parked", Value::Gauge(parked as f64)));
        show(Reading::new("shelf_lost_total", "lost", Value::Counter(lost)).label("reason", "rust"));
        show(Reading::new("shelf_found", "found", Value::Gauge(7.0)).label("shelf", "lower"));
        let took = Duration::from_secs(nth);
        show(Reading::new("shelf_trip_seconds", "trips", Value::Sample { took, nth }));
        if age > 0 {
            let age = Duration::from_secs(age);
            show(Reading::new("shelf_oldest_seconds", "age", Value::Age(age)));
        }
    }
}

/// Polls the session until `time` has passed.
async fn idle(session: &mut (impl futures_core::Stream<Item = Event<String>> + Unpin), time: Duration) {
    let mut reading = pin!(expect::event(session));
    tokio::select! {
        event = &mut reading => panic!("{event:?}"),
        () = sleep(time) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn they_are_read_while_something_is_held() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    numbers.set([3, 1, 0, 4]);
    let mut session = under(MetricsLayer::session(), saying([numbers.up()])).await;
    expect::event(&mut session).await;
    assert_eq!(seen.total("tower_ws_shelf_parked"), 3.0);
    assert_eq!(seen.total("tower_ws_shelf_lost_total{reason=rust}"), 1.0);

    numbers.set([2, 5, 7, 9]);
    idle(&mut session, Duration::from_secs(11)).await;
    assert_eq!(seen.total("tower_ws_shelf_parked"), 2.0);
    assert_eq!(seen.total("tower_ws_shelf_lost_total{reason=rust}"), 5.0);
    // Read twice since: a sample counts once, an age whenever it is read.
    assert_eq!(seen.records("tower_ws_shelf_trip_seconds"), [7.0]);
    assert_eq!(seen.records("tower_ws_shelf_oldest_seconds"), [4.0, 9.0, 9.0]);

    // The last is read at the end; what is gone is in no gauge.
    numbers.set([4, 6, 8, 0]);
    drop(session);
    assert_eq!(seen.total("tower_ws_shelf_parked"), 0.0);
    assert_eq!(seen.total("tower_ws_shelf_lost_total{reason=rust}"), 6.0);
    assert_eq!(seen.records("tower_ws_shelf_trip_seconds"), [7.0, 8.0]);
}

/// A session that does nothing costs nothing; what it did is told within 5 s.
#[tokio::test(start_paused = true)]
async fn an_idle_session_is_not_woken_for_them() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    let mut session = under(MetricsLayer::session(), saying([numbers.up()])).await;
    expect::event(&mut session).await;
    assert_eq!(polls(&mut session, Duration::from_secs(60)).await, 1);

    // Long after the last time: at once. What is written wakes whoever reads, here the same task.
    session.send("hello".to_owned().into()).await.unwrap();
    numbers.set([2, 0, 0, 0]);
    assert_eq!(polls(&mut session, Duration::from_secs(1)).await, 2);
    assert_eq!(seen.total("tower_ws_shelf_parked"), 2.0);
    // Soon after it: the poll that sees to that, and the one that publishes.
    session.send("hello".to_owned().into()).await.unwrap();
    numbers.set([3, 0, 0, 0]);
    assert_eq!(polls(&mut session, Duration::from_secs(60)).await, 3);
    assert_eq!(seen.total("tower_ws_shelf_parked"), 3.0);
    // Nothing has passed, and it is awake for another reason.
    numbers.set([4, 0, 0, 0]);
    assert_eq!(polls(&mut session, Duration::from_secs(60)).await, 1);
    assert_eq!(seen.total("tower_ws_shelf_parked"), 4.0);
}

/// What comes of messages later is of them: an acknowledgement, or that one was given up.
#[tokio::test(start_paused = true)]
async fn what_becomes_of_messages_is_told_within_the_time() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    let connection = saying([numbers.up()]);
    let mut session = under(MetricsLayer::session(), connection.clone()).await;
    expect::event(&mut session).await;
    for event in [
        Event::Delivered(message("a")),
        Event::Dropped(message("a"), DropReason::Expired),
    ] {
        session.send(message("a")).await.unwrap();
        numbers.set([1, 0, 0, 0]);
        idle(&mut session, Duration::from_secs(6)).await;
        assert_eq!(seen.total("tower_ws_shelf_parked"), 1.0);
        numbers.set([0, 0, 0, 0]);
        connection.event(event);
        expect::event(&mut session).await;
        polls(&mut session, Duration::from_secs(6)).await;
        assert_eq!(seen.total("tower_ws_shelf_parked"), 0.0);
    }
}

/// Whoever reads may have nothing to read for hours.
#[tokio::test(start_paused = true)]
async fn what_another_task_writes_is_told_while_nothing_comes_in() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    let mut session = under(MetricsLayer::session(), saying([numbers.up()])).await;
    expect::event(&mut session).await;
    let (mut sink, mut stream) = session.split();
    let reads = tokio::spawn(async move { drop(stream.next().await) });
    for parked in 1..=3 {
        sleep(Duration::from_secs(7)).await;
        numbers.set([parked, 0, 0, 0]);
        sink.send(message("a")).await.unwrap();
        sleep(Duration::from_secs(6)).await;
        assert_eq!(seen.total("tower_ws_shelf_parked"), parked as f64);
    }
    reads.abort();
}

/// In an outage the layers below are busy.
#[tokio::test(start_paused = true)]
async fn an_outage_is_told_while_it_lasts() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    let lost = down(Failure::new(FailureKind::Network, "reset"), true);
    let mut session = under(MetricsLayer::session(), saying([numbers.up(), lost])).await;
    expect::event(&mut session).await;
    expect::event(&mut session).await;
    for parked in 1..=3 {
        numbers.set([parked, 0, 0, 0]);
        idle(&mut session, Duration::from_secs(6)).await;
        assert_eq!(seen.total("tower_ws_shelf_parked"), parked as f64);
    }
}

/// How often the session is polled while `time` passes.
async fn polls(session: &mut (impl futures_core::Stream<Item = Event<String>> + Unpin), time: Duration) -> u32 {
    let mut polls = 0;
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        session.poll_next_unpin(cx)
    });
    tokio::select! {
        biased;
        () = sleep(time) => {}
        event = counted => panic!("{event:?}"),
    }
    polls
}

#[tokio::test(start_paused = true)]
async fn sessions_add_up() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let mut sessions = Vec::new();
    for parked in [1, 2] {
        let numbers = Numbers::default();
        numbers.set([parked, 10, 0, 0]);
        let mut session = under(MetricsLayer::session(), saying([numbers.up()])).await;
        expect::event(&mut session).await;
        sessions.push(session);
    }
    assert_eq!(seen.total("tower_ws_shelf_parked"), 3.0);
    assert_eq!(seen.total("tower_ws_shelf_lost_total{reason=rust}"), 20.0);
    sessions.remove(0);
    assert_eq!(seen.total("tower_ws_shelf_parked"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_begins_anew_does_not_count_backwards() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (first, second) = (Numbers::default(), Numbers::default());
    first.set([1, 10, 3, 0]);
    second.set([1, 4, 1, 0]);
    let lost = down(Failure::new(FailureKind::Network, "reset"), true);
    let mut session = under(MetricsLayer::session(), saying([first.up(), lost, second.up()])).await;
    for _ in 0..3 {
        expect::event(&mut session).await;
    }
    assert_eq!(seen.total("tower_ws_shelf_parked"), 1.0);
    assert_eq!(seen.total("tower_ws_shelf_lost_total{reason=rust}"), 14.0);
    assert_eq!(seen.records("tower_ws_shelf_trip_seconds"), [3.0, 1.0]);
}

/// Exporters refuse what has a label twice.
#[tokio::test(start_paused = true)]
async fn a_label_that_a_layer_has_itself_is_that_layers() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    numbers.set([1, 2, 0, 0]);
    let layer = MetricsLayer::session().label("shelf", "upper");
    let mut session = under(layer, saying([numbers.up()])).await;
    expect::event(&mut session).await;
    assert_eq!(seen.total("tower_ws_shelf_parked{shelf=upper}"), 1.0);
    assert_eq!(seen.total("tower_ws_shelf_lost_total{shelf=upper,reason=rust}"), 2.0);
    assert_eq!(seen.total("tower_ws_shelf_found{shelf=lower}"), 7.0);
}

/// During an outage the depth of the queue is what one wants to know.
#[tokio::test(start_paused = true)]
async fn they_are_read_in_an_outage() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    let lost = down(Failure::new(FailureKind::Network, "reset"), true);
    let mut session = under(MetricsLayer::session(), saying([numbers.up(), lost])).await;
    expect::event(&mut session).await;
    expect::event(&mut session).await;
    numbers.set([8, 0, 0, 0]);
    poll_once(pin!(expect::event(&mut session))).await;
    advance(Duration::from_secs(6)).await;
    poll_once(pin!(expect::event(&mut session))).await;
    assert_eq!(seen.total("tower_ws_shelf_parked"), 8.0);
}

/// Who has no numbers needs no timer: this runs without tokio.
#[test]
fn without_numbers_there_is_no_timer() {
    let mut session = under(MetricsLayer::session(), saying([support::up()]))
        .now_or_never()
        .unwrap();
    session.next().now_or_never().unwrap().unwrap();
    assert!(session.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_one_session_counted_the_next_does_not_count_again() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let numbers = Numbers::default();
    let layer = MetricsLayer::session();
    for (session, lost) in [(1, 5), (2, 5), (3, 6), (4, 6)] {
        numbers.set([1, lost, lost, 0]);
        let mut connection = under(layer.clone(), saying([numbers.up()])).await;
        expect::event(&mut connection).await;
        drop(connection);
        assert_eq!(
            seen.total("tower_ws_shelf_lost_total{reason=rust}"),
            lost as f64,
            "{session}"
        );
        assert_eq!(seen.total("tower_ws_shelf_parked"), 0.0);
    }
    assert_eq!(seen.records("tower_ws_shelf_trip_seconds"), [5.0, 6.0]);
}
