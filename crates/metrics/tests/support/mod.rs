//! A recorder that can be asked, and connections that are driven by hand.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; it fails by panicking"
)]

use std::{cell::RefCell, collections::BTreeMap, future::Future, pin::Pin, task::Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use metrics_util::{
    CompositeKey, MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};
use tower::{Layer, Service};
use tower_ws_core::{Down, Event, Failure, Outgoing, Up};
use tower_ws_metrics::{MetricsConnection, MetricsLayer};
use tower_ws_test_kit::{ManualConnection, ManualDialer};

/// What a recorder has seen so far. Its snapshots start afresh each time; this adds them up.
pub(crate) struct Seen {
    snapshotter: Snapshotter,
    values: RefCell<BTreeMap<String, Value>>,
}

/// One series.
pub(crate) struct Value {
    pub(crate) kind: MetricKind,
    pub(crate) unit: Option<&'static str>,
    pub(crate) text: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) name: String,
    total: f64,
    records: Vec<f64>,
}

impl Seen {
    pub(crate) fn by(recorder: &DebuggingRecorder) -> Self {
        Self {
            snapshotter: recorder.snapshotter(),
            values: RefCell::default(),
        }
    }

    /// A counter or a gauge: `name{key=value,key=value}`.
    pub(crate) fn total(&self, series: &str) -> f64 {
        self.with(series, |value| value.total)
    }

    /// All series of a name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.all(|values| {
            values
                .values()
                .filter(|value| value.name == name)
                .map(|value| value.total)
                .sum()
        })
    }

    /// A histogram.
    pub(crate) fn records(&self, series: &str) -> Vec<f64> {
        self.with(series, |value| value.records.clone())
    }

    /// The counters that are not zero, and begin so.
    pub(crate) fn counted(&self, prefix: &str) -> Vec<String> {
        self.all(|values| {
            let counted = values.iter().filter(|(series, value)| {
                value.kind == MetricKind::Counter && value.total != 0.0 && series.starts_with(prefix)
            });
            counted
                .map(|(series, value)| format!("{series} {}", value.total))
                .collect()
        })
    }

    pub(crate) fn all<T>(&self, look: impl FnOnce(&BTreeMap<String, Value>) -> T) -> T {
        self.update();
        look(&self.values.borrow())
    }

    fn with<T>(&self, series: &str, look: impl FnOnce(&Value) -> T) -> T {
        self.all(|values| match values.get(series) {
            Some(value) => look(value),
            None => panic!("no {series} among {:#?}", values.keys()),
        })
    }

    fn update(&self) {
        let mut values = self.values.borrow_mut();
        for (key, unit, text, value) in self.snapshotter.snapshot().into_vec() {
            let entry = values.entry(series(&key)).or_insert_with(|| Value {
                kind: key.kind(),
                unit: unit.map(|unit| unit.as_str()),
                text: text.map(|text| text.to_string()),
                labels: labels(&key),
                name: key.key().name().to_owned(),
                total: 0.0,
                records: Vec::new(),
            });
            match value {
                DebugValue::Counter(count) => entry.total += count as f64,
                // Reset to zero by each snapshot; the layer only moves gauges up and down.
                DebugValue::Gauge(change) => entry.total += change.0,
                DebugValue::Histogram(records) => entry.records.extend(records.iter().map(|record| record.0)),
            }
        }
    }
}

fn labels(key: &CompositeKey) -> Vec<String> {
    let labels = key.key().labels();
    labels
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect()
}

fn series(key: &CompositeKey) -> String {
    match labels(key).join(",") {
        labels if labels.is_empty() => key.key().name().to_owned(),
        labels => format!("{}{{{labels}}}", key.key().name()),
    }
}

/// A connection that says this and then waits.
pub(crate) fn saying(events: impl IntoIterator<Item = Event<String>>) -> ManualConnection<String> {
    let connection = ManualConnection::new();
    events.into_iter().for_each(|event| connection.event(event));
    connection
}

/// A connection that ends after what it says.
pub(crate) fn ending(events: impl IntoIterator<Item = Event<String>>) -> ManualConnection<String> {
    let connection = saying(events);
    connection.end();
    connection
}

/// The layer on top of this connection.
pub(crate) async fn under(
    layer: MetricsLayer,
    connection: ManualConnection<String>,
) -> MetricsConnection<ManualConnection<String>> {
    let dialer = ManualDialer::new();
    dialer.gives(connection);
    layer.layer(dialer).call(()).await.unwrap()
}

pub(crate) fn up() -> Event<String> {
    Event::Up(Up::new())
}

pub(crate) fn down(cause: Failure, will_retry: bool) -> Event<String> {
    let mut down = Down::new(cause);
    down.will_retry = will_retry;
    Event::Down(down)
}

pub(crate) fn message(text: &str) -> Outgoing<String> {
    Outgoing::new(text.to_owned())
}

/// Reads to the end.
pub(crate) async fn drain<S: Stream<Item = Event<String>> + Unpin>(connection: &mut S) {
    while connection.next().await.is_some() {}
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    std::future::poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}
