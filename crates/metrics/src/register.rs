use metrics::{
    Counter, Gauge, Histogram, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};

use crate::names::{Metric, Type};

/// The word for whatever is not among those known.
pub(crate) const OTHER: &str = "other";

/// Labels, each with one of a few fixed words.
pub(crate) type Labels<'a> = &'a [(&'static str, &'static str)];

/// Names and labels what one layer registers.
pub(crate) struct Scope {
    height: Option<&'static str>,
    label: Option<Label>,
}

/// Counters that differ in one label. All are registered at the start, at zero: a rate needs a
/// value to rise from.
pub(crate) struct Family {
    known: Vec<(&'static str, Counter)>,
    other: Counter,
}

/// One of what a gauge counts, for as long as it exists.
#[must_use = "the gauge goes down when this is dropped"]
pub(crate) struct Held(Gauge);

// === impl Scope ===

impl Scope {
    /// With a height: names at that height. Without one: names that say themselves what they are
    /// of.
    pub(crate) fn new(height: Option<&'static str>, label: Option<Label>) -> Self {
        Self { height, label }
    }

    pub(crate) fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    pub(crate) fn describe(&self, metrics: &[Metric]) {
        for metric in metrics {
            match metric.of {
                Type::Counter => self.describe_counter(metric.name, metric.unit, metric.text),
                Type::Gauge => self.describe_gauge(metric.name, metric.unit, metric.text),
                Type::Histogram => self.describe_histogram(metric.name, metric.unit, metric.text),
            }
        }
    }

    pub(crate) fn describe_counter(&self, name: &str, unit: Unit, text: &'static str) {
        describe_counter!(self.name(name), unit, text);
    }

    pub(crate) fn describe_gauge(&self, name: &str, unit: Unit, text: &'static str) {
        describe_gauge!(self.name(name), unit, text);
    }

    pub(crate) fn describe_histogram(&self, name: &str, unit: Unit, text: &'static str) {
        describe_histogram!(self.name(name), unit, text);
    }

    pub(crate) fn counter(&self, name: &str, labels: Labels<'_>) -> Counter {
        counter!(self.name(name), self.labels(labels))
    }

    pub(crate) fn gauge(&self, name: &str, labels: Labels<'_>) -> Gauge {
        gauge!(self.name(name), self.labels(labels))
    }

    pub(crate) fn histogram(&self, name: &str, labels: Labels<'_>) -> Histogram {
        histogram!(self.name(name), self.labels(labels))
    }

    /// One counter for each word of the label `key`, and one for all others. `fixed` is what they
    /// have in common.
    pub(crate) fn family(
        &self,
        name: &str,
        fixed: Labels<'_>,
        key: &'static str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> Family {
        let name = SharedString::from_shared(self.name(name).into());
        let counter = |word| counter!(name.clone(), self.labels(&[fixed, &[(key, word)]].concat()));
        Family {
            known: words.into_iter().map(|word| (word, counter(word))).collect(),
            other: counter(OTHER),
        }
    }

    fn name(&self, name: &str) -> String {
        // Some hundred names are made for each session, and a formatter would grow each of them by
        // its parts.
        match self.height {
            Some(height) => ["tower_ws_", height, "_", name].concat(),
            None => ["tower_ws_", name].concat(),
        }
    }

    fn labels(&self, labels: Labels<'_>) -> Vec<Label> {
        let fixed = labels.iter().map(|&(key, word)| Label::from_static_parts(key, word));
        // Exporters refuse what has a label twice, and a layer of the application's own may have
        // any.
        let own = self
            .label
            .iter()
            .filter(|own| labels.iter().all(|(key, _)| own.key() != *key));
        own.cloned().chain(fixed).collect()
    }
}

// === impl Family ===

impl Family {
    pub(crate) fn count(&self, word: &'static str) {
        let known = self.known.iter().find(|(known, _)| *known == word);
        known.map_or(&self.other, |(_, counter)| counter).increment(1);
    }
}

// === impl Held ===

impl Held {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
