//! A recorder that can be asked, and connections that do as they are told.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; it fails by panicking"
)]

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use futures_util::StreamExt;
use metrics_util::{
    CompositeKey, MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};
use tower::{Layer, Service};
use tower_ws_core::{BoxError, Down, Event, Failure, Outgoing, Up};
use tower_ws_metrics::{MetricsConnection, MetricsLayer};

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

/// A connection that says what it is told and then waits; it accepts everything.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    events: VecDeque<Event<String>>,
    ends: bool,
}

impl Fake {
    pub(crate) fn saying(events: impl IntoIterator<Item = Event<String>>) -> Self {
        Self {
            events: events.into_iter().collect(),
            ends: false,
        }
    }

    /// Ends after what it says.
    pub(crate) fn ending(events: impl IntoIterator<Item = Event<String>>) -> Self {
        let mut fake = Self::saying(events);
        fake.ends = true;
        fake
    }

    /// This connection, under the layer.
    pub(crate) async fn under(self, layer: MetricsLayer) -> MetricsConnection<Fake> {
        layer.layer(Once(Some(self))).call(()).await.unwrap()
    }
}

impl Stream for Fake {
    type Item = Event<String>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Sink<Outgoing<String>> for Fake {
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Outgoing<String>) -> Result<(), BoxError> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }
}

struct Once(Option<Fake>);

impl Service<()> for Once {
    type Response = Fake;
    type Error = BoxError;
    type Future = Ready<Result<Fake, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(self.0.take().ok_or_else(|| "one only".into()))
    }
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

/// The next event, which must be there.
pub(crate) async fn next<S: Stream<Item = Event<String>> + Unpin>(connection: &mut S) -> Event<String> {
    connection.next().await.expect("an event")
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
