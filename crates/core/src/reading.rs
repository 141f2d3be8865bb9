use std::{fmt, sync::Arc, time::Duration};

/// A layer's numbers, for whoever exports them: how deep a queue is, how long a round trip takes.
///
/// The layer leaves its handle in [`Up`](crate::Up) with [`Up::show`](crate::Up::show); a layer above, such as that of
/// `tower-ws-metrics`, reads it from time to time, also while the connection is down. So the layer names no exporter, and
/// the exporter names no layer.
///
/// ```
/// use tower_ws_core::{Reading, Readings, Value};
///
/// struct Parked(u64);
///
/// impl Readings for Parked {
///     fn read(&self, show: &mut dyn FnMut(Reading)) {
///         show(Reading::new("parked_messages", "messages put aside", Value::Gauge(self.0 as f64)));
///     }
/// }
/// ```
pub trait Readings: Send + Sync {
    /// Shows each number as it is now, the same ones in the same order each time.
    fn read(&self, show: &mut dyn FnMut(Reading));
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// What it is called: the layer first, words with underscores between them, and at the end the unit, if it has one
    /// (`_bytes`, `_seconds`), and `_total` if it only rises. An exporter puts `tower_ws_` before it.
    pub name: &'static str,
    /// A sentence about it, for people.
    pub text: &'static str,
    /// What tells it from others of this name: a label's key, and one of a few fixed words.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: Value,
}

/// What sort of number a [`Reading`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// How many there are now. Those of several sessions are added up.
    Gauge(f64),
    /// How many there have been. It only rises, or begins anew at zero.
    Counter(u64),
    /// The last of many. Those that are read go into a histogram, so that one can ask for percentiles; whoever reads
    /// leaves out one that it has seen.
    Sample {
        /// How long it took.
        took: Duration,
        /// Which one it is, counted from 1.
        nth: u64,
    },
    /// How long something has lasted by now. Goes into a histogram each time it is read: the ages in two sessions do not
    /// add up.
    Age(Duration),
}

impl Reading {
    /// A number without a label.
    pub fn new(name: &'static str, text: &'static str, value: Value) -> Self {
        Self {
            name,
            text,
            label: None,
            value,
        }
    }

    /// Sets the label.
    #[must_use]
    pub fn with_label(mut self, key: &'static str, word: &'static str) -> Self {
        self.label = Some((key, word));
        self
    }
}

/// The numbers of all layers below.
#[derive(Clone, Default)]
pub(crate) struct Shown(pub(crate) Vec<Arc<dyn Readings>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shown").field(&self.0.len()).finish()
    }
}
