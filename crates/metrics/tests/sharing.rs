//! Sessions with the same label share the handles of their metrics: there are hundreds.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use support::{saying, under, up};
use tower_ws_metrics::MetricsLayer;
use tower_ws_test_kit::expect;

/// Counts what is registered, and what is made of it goes nowhere.
#[derive(Default)]
struct Registrations(AtomicUsize);

impl Recorder for Registrations {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.0.fetch_add(1, Relaxed);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.fetch_add(1, Relaxed);
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.fetch_add(1, Relaxed);
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn a_metric_is_registered_once_while_anybody_has_it() {
    let (one, other) = (Registrations::default(), Registrations::default());
    let count = |recorder: &Registrations| recorder.0.swap(0, Relaxed);
    let guard = metrics::set_default_local_recorder(&one);
    let mut first = under(MetricsLayer::session(), saying([up()])).await;
    expect::event(&mut first).await;
    let registered = count(&one);
    assert!(registered > 50, "{registered}");

    let second = under(MetricsLayer::session(), saying([up()])).await;
    assert_eq!(count(&one), 0, "of the same label");
    let labelled = under(MetricsLayer::session().label("role", "orders"), saying([up()])).await;
    assert_eq!(count(&one), registered, "of another label");
    drop(first);
    let third = under(MetricsLayer::session(), saying([up()])).await;
    assert_eq!(count(&one), 0, "the second has them still");

    // Another recorder has metrics of its own.
    drop(guard);
    let guard = metrics::set_default_local_recorder(&other);
    let elsewhere = under(MetricsLayer::session(), saying([up()])).await;
    assert_eq!((count(&one), count(&other)), (0, registered));
    drop(guard);

    let guard = metrics::set_default_local_recorder(&one);
    drop((second, third, labelled, elsewhere));
    let _last = under(MetricsLayer::session(), saying([up()])).await;
    assert_eq!(count(&one), registered, "nobody had them any more");
    drop(guard);
}
