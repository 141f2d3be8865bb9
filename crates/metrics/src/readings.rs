use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label};
use tokio::time::{Instant, Sleep, sleep};
use tower_ws_core::{Reading, Readings, Value};

use crate::register::Scope;

/// How often the layers below are asked for their numbers: well within the 10 to 60 s in which collectors ask this process.
const EVERY: Duration = Duration::from_secs(5);

/// Reads the numbers of the layers below one session, and publishes them.
///
/// What it added to a gauge is taken away again when it is dropped.
pub(crate) struct Reader {
    scope: Scope,
    shown: Vec<Arc<dyn Readings>>,
    series: Vec<Series>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// One published number, and how it was when it was last read.
struct Series {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    meter: Meter,
}

enum Meter {
    Gauge(Gauge, f64),
    Counter(Counter, u64),
    /// With the number of the last sample.
    Sample(Histogram, u64),
    Age(Histogram),
    /// A sort of number of a later version of the contract.
    Unknown,
}

impl Reader {
    pub(crate) fn new(label: Option<Label>) -> Self {
        Self {
            scope: Scope::new(None, label),
            shown: Vec::new(),
            series: Vec::new(),
            alarm: None,
        }
    }

    /// A connection came up: these are the numbers from now on.
    pub(crate) fn came_up(&mut self, shown: &[Arc<dyn Readings>]) {
        self.shown = shown.to_vec();
        if self.shown.is_empty() {
            self.alarm = None;
        } else {
            self.alarm.get_or_insert_with(|| Box::pin(sleep(EVERY)));
        }
        self.read();
    }

    /// Reads when it is time to. To be called when there is nothing else to do: a session that is never idle is read at its
    /// transitions only, and costs nothing for it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(alarm) = &mut self.alarm {
            match alarm.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(()) => alarm.as_mut().reset(Instant::now() + EVERY),
            }
            self.read();
        }
    }

    pub(crate) fn read(&mut self) {
        let (scope, series) = (&self.scope, &mut self.series);
        for layer in &self.shown {
            layer.read(&mut |reading| publish(scope, series, reading));
        }
    }
}

fn publish(scope: &Scope, series: &mut Vec<Series>, reading: Reading) {
    let found = series
        .iter()
        .position(|known| known.name == reading.name && known.label == reading.label);
    let at = found.unwrap_or_else(|| {
        series.push(Series::register(scope, &reading));
        series.len() - 1
    });
    series[at].meter.show(reading.value);
}

impl Series {
    fn register(scope: &Scope, reading: &Reading) -> Self {
        let Reading { name, text, label, .. } = *reading;
        let labels: Vec<_> = label.into_iter().collect();
        let unit = if name.contains("_seconds") {
            metrics::Unit::Seconds
        } else if name.contains("_bytes") {
            metrics::Unit::Bytes
        } else {
            metrics::Unit::Count
        };
        let meter = match reading.value {
            Value::Gauge(_) => {
                scope.describe_gauge(name, unit, text);
                Meter::Gauge(scope.gauge(name, &labels), 0.0)
            }
            Value::Counter(_) => {
                scope.describe_counter(name, unit, text);
                Meter::Counter(scope.counter(name, &labels), 0)
            }
            Value::Sample { .. } | Value::Age(_) => {
                scope.describe_histogram(name, unit, text);
                let histogram = scope.histogram(name, &labels);
                match reading.value {
                    Value::Age(_) => Meter::Age(histogram),
                    _ => Meter::Sample(histogram, 0),
                }
            }
            _ => Meter::Unknown,
        };
        Self { name, label, meter }
    }
}

impl Meter {
    fn show(&mut self, value: Value) {
        match (self, value) {
            // By difference: the sessions of a stack share the gauge.
            (Self::Gauge(gauge, last), Value::Gauge(now)) if *last != now => {
                gauge.increment(now - std::mem::replace(last, now));
            }
            (Self::Counter(counter, last), Value::Counter(now)) if *last != now => {
                let last = std::mem::replace(last, now);
                // One that is lower than before has begun anew.
                counter.increment(now.checked_sub(last).unwrap_or(now));
            }
            (Self::Sample(histogram, last), Value::Sample { took, nth }) if *last != nth => {
                *last = nth;
                histogram.record(took);
            }
            (Self::Age(histogram), Value::Age(age)) => histogram.record(age),
            _ => {}
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.read();
        for series in &self.series {
            if let Meter::Gauge(gauge, last) = &series.meter {
                gauge.decrement(*last);
            }
        }
    }
}
