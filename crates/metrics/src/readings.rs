use std::{task::Context, time::Duration};

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
    scope: Scope,
    /// The name under which sources remember how far their counters were published: what the series
    /// of this layer have of their own.
    exporter: String,
    published: Vec<Published>,
    /// When it is time to read again; `None` before the first read.
    next: Option<Instant>,
    alarm: Alarm,
    /// There is no connection: what the layers below do about that changes their numbers.
    down: bool,
    /// Something was held when it was last read: how old it is changes by itself.
    holds: bool,
}

/// A source, and what was last read of it.
struct Published {
    source: Source,
    series: Vec<Series>,
}

/// One published number.
struct Series {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    meter: Meter,
}

enum Meter {
    /// With what was added to it.
    Gauge(Gauge, f64),
    Counter(Counter),
    Sample(Histogram),
    Age(Histogram),
    /// A sort of number of a later version of the contract.
    Unknown,
}

impl Reader {
    pub(crate) fn new(label: Option<Label>) -> Self {
        let exporter = label.as_ref().map(|label| format!("{}={}", label.key(), label.value()));
        Self {
            scope: Scope::new(None, label),
            exporter: exporter.unwrap_or_default(),
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
            gone.read(&self.scope, &self.exporter);
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
            self.holds |= published.read(&self.scope, &self.exporter);
        }
    }
}

impl Published {
    fn new(source: Source) -> Self {
        let series = Vec::new();
        Self { source, series }
    }

    /// True if something is held.
    fn read(&mut self, scope: &Scope, exporter: &str) -> bool {
        let (source, series) = (&self.source, &mut self.series);
        let mut holds = false;
        source.read(&mut |reading| {
            holds |= matches!(reading.value, Value::Age(_));
            let found = series
                .iter()
                .position(|known| known.name == reading.name && known.label == reading.label);
            let at = found.unwrap_or_else(|| {
                series.push(Series::register(scope, &reading));
                series.len() - 1
            });
            series[at].meter.publish(source, exporter, &reading);
        });
        holds
    }

    /// Takes back what was added to gauges.
    fn end(&self) {
        for series in &self.series {
            if let Meter::Gauge(gauge, added) = &series.meter {
                gauge.decrement(*added);
            }
        }
    }
}

impl Series {
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
                Meter::Gauge(scope.gauge(name, &labels), 0.0)
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

impl Meter {
    fn publish(&mut self, source: &Source, exporter: &str, reading: &Reading) {
        match (self, reading.value) {
            // By difference: the sessions of a stack share the gauge.
            (Self::Gauge(gauge, added), Value::Gauge(now)) if *added != now => {
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

impl Drop for Reader {
    fn drop(&mut self) {
        self.read();
        self.published.iter().for_each(Published::end);
    }
}
