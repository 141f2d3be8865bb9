//! Sessions with the same label share the handles of their metrics: there are hundreds.

mod support;

use std::{
    cell::Cell,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use support::{saying, under, up};
use tower::Layer;
use tower_ws_metrics::MetricsLayer;
use tower_ws_test_kit::{ManualDialer, expect};

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

/// Builds a stack of its own for the first metric that it is to make: to send it somewhere, say.
#[derive(Default)]
struct Sends {
    registrations: Registrations,
    is_building: Cell<bool>,
}

impl Recorder for Sends {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if !self.is_building.replace(true) {
            drop(MetricsLayer::session().layer(ManualDialer::<String>::new()));
        }
        self.registrations.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.registrations.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.registrations.register_histogram(key, metadata)
    }
}

/// What a recorder does is its own affair: nothing is locked meanwhile.
#[test]
fn a_recorder_may_build_a_stack_itself() {
    let recorder = Sends::default();
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        metrics::with_local_recorder(&recorder, || {
            drop(MetricsLayer::session().layer(ManualDialer::<String>::new()));
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("no deadlock");
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
