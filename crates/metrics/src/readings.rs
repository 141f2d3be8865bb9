use std::{
    sync::{Arc, Mutex, PoisonError},
    task::Context,
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label};
use tokio::time::Instant;
use tower_ws_core::{Alarm, Reading, Readings, Source, Unit, Value};

use crate::register::Scope;

/// How often the layers below are asked for their numbers: well within the 10 to 60 s in which
/// collectors ask this process.
const EVERY: Duration = Duration::from_secs(5);

/// Reads the numbers of the layers below one session, and publishes them.
///
/// A session that does nothing is not woken for it: what little changes then (a probe and its
/// answer) is read when the session is awake for that.
///
/// What it added to a gauge is taken away again when it is dropped, or when the layer shows other
/// numbers.
pub(crate) struct Reader {
    catalog: Arc<Catalog>,
    published: Vec<Published>,
    /// When it is time to read again; `None` before the first read.
    next: Option<Instant>,
    alarm: Alarm,
    /// There is no connection: what the layers below do about that changes their numbers.
    down: bool,
    /// Something was held when it was last read: how old it is changes by itself.
    holds: bool,
}

/// The series of all that the layers below show: of all sessions with the same label.
pub(crate) struct Catalog {
    scope: Scope,
    /// The name under which sources remember how far their counters were published: what the series
    /// of this layer have of their own.
    exporter: String,
    series: Mutex<Vec<Arc<Series>>>,
}

/// A source, and what was last read of it.
struct Published {
    source: Source,
    /// In the order in which the source shows them; with what was added to a gauge.
    numbers: Vec<(Arc<Series>, f64)>,
}

/// One published number.
struct Series {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    meter: Meter,
}

enum Meter {
    Gauge(Gauge),
    Counter(Counter),
    Sample(Histogram),
    Age(Histogram),
    /// A sort of number of a later version of the contract.
    Unknown,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            published: Vec::new(),
            next: None,
            alarm: Alarm::default(),
            down: false,
            holds: false,
        }
    }

    /// A connection came up: these are the sources from now on.
    pub(crate) fn came_up(&mut self, sources: &[Source]) {
        let mut before = std::mem::take(&mut self.published);
        self.published = sources
            .iter()
            .map(|source| match before.iter().position(|old| old.source.is(source)) {
                Some(at) => before.swap_remove(at),
                None => Published::new(source.clone()),
            })
            .collect();
        for mut gone in before {
            gone.read(&self.catalog);
            gone.end();
        }
        self.down = false;
        self.read();
    }

    /// The connection is gone.
    pub(crate) fn went_down(&mut self) {
        self.down = true;
        self.read();
    }

    /// Reads when it is time to: true if it was. The task that polls is woken for it if messages have
    /// `passed` since the last time, or the numbers change without.
    pub(crate) fn poll(&mut self, passed: bool, cx: &mut Context<'_>) -> bool {
        if self.published.is_empty() {
            return false;
        }
        let now = Instant::now();
        let next = *self.next.get_or_insert(now + EVERY);
        let is_time = match passed || self.down || self.holds {
            true => self.alarm.poll(next, now, cx).is_ready(),
            false => next <= now,
        };
        if is_time {
            self.read();
            self.next = Some(now + EVERY);
            if self.down || self.holds {
                // It is not time, but the task is to be woken when it is.
                let _ = self.alarm.poll(now + EVERY, now, cx);
            }
        }
        is_time
    }

    pub(crate) fn read(&mut self) {
        self.next = None;
        self.holds = false;
        for published in &mut self.published {
            self.holds |= published.read(&self.catalog);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.read();
        self.published.iter().for_each(Published::end);
    }
}

// === impl Catalog ===

impl Catalog {
    pub(crate) fn new(label: Option<Label>) -> Self {
        let exporter = label.as_ref().map(|label| format!("{}={}", label.key(), label.value()));
        Self {
            scope: Scope::new(None, label),
            exporter: exporter.unwrap_or_default(),
            series: Mutex::default(),
        }
    }

    /// The series of a reading, registered when it is first seen.
    fn series(&self, reading: &Reading) -> Arc<Series> {
        let lock = || self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |series: &[Arc<Series>]| series.iter().find(|known| known.is_of(reading)).cloned();
        if let Some(series) = known(&lock()) {
            return series;
        }
        // The recorder may do anything meanwhile: nothing is locked. Who else registers it gets the
        // same.
        let new = Arc::new(Series::register(&self.scope, reading));
        let mut series = lock();
        if let Some(known) = known(&series) {
            drop(series);
            return known;
        }
        series.push(new.clone());
        new
    }
}

// === impl Published ===

impl Published {
    fn new(source: Source) -> Self {
        let numbers = Vec::new();
        Self { source, numbers }
    }

    /// True if something is held.
    fn read(&mut self, catalog: &Catalog) -> bool {
        let (source, numbers) = (&self.source, &mut self.numbers);
        let mut holds = false;
        source.read(&mut |reading| {
            holds |= matches!(reading.value, Value::Age(_));
            let found = numbers.iter().position(|(series, _)| series.is_of(&reading));
            let at = found.unwrap_or_else(|| {
                numbers.push((catalog.series(&reading), 0.0));
                numbers.len() - 1
            });
            let (series, added) = &mut numbers[at];
            series.meter.publish(added, source, &catalog.exporter, &reading);
        });
        holds
    }

    /// Takes back what was added to gauges.
    fn end(&self) {
        for (series, added) in &self.numbers {
            if let Meter::Gauge(gauge) = &series.meter {
                gauge.decrement(*added);
            }
        }
    }
}

// === impl Series ===

impl Series {
    fn is_of(&self, reading: &Reading) -> bool {
        self.name == reading.name && self.label == reading.label
    }

    fn register(scope: &Scope, reading: &Reading) -> Self {
        let Reading { name, text, label, .. } = *reading;
        let labels: Vec<_> = label.into_iter().collect();
        let unit = match reading.unit {
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
            _ => metrics::Unit::Count,
        };
        let meter = match reading.value {
            Value::Gauge(_) => {
                scope.describe_gauge(name, unit, text);
                Meter::Gauge(scope.gauge(name, &labels))
            }
            Value::Counter(_) => {
                scope.describe_counter(name, unit, text);
                Meter::Counter(scope.counter(name, &labels))
            }
            Value::Sample { .. } | Value::Age(_) => {
                scope.describe_histogram(name, unit, text);
                let histogram = scope.histogram(name, &labels);
                match reading.value {
                    Value::Age(_) => Meter::Age(histogram),
                    _ => Meter::Sample(histogram),
                }
            }
            _ => Meter::Unknown,
        };
        Self { name, label, meter }
    }
}

// === impl Meter ===

impl Meter {
    /// `added` is what this session has added to the gauge.
    fn publish(&self, added: &mut f64, source: &Source, exporter: &str, reading: &Reading) {
        match (self, reading.value) {
            // By difference: sessions share the gauge.
            (Self::Gauge(gauge), Value::Gauge(now)) if *added != now => {
                gauge.increment(now - std::mem::replace(added, now));
            }
            (Self::Counter(counter), Value::Counter(total)) => match source.rise(exporter, reading, total) {
                0 => {}
                rise => counter.increment(rise),
            },
            (Self::Sample(histogram), Value::Sample { took, nth }) if source.rise(exporter, reading, nth) > 0 => {
                histogram.record(took);
            }
            (Self::Age(histogram), Value::Age(age)) => histogram.record(age),
            _ => {}
        }
    }
}
