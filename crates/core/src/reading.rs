//! The numbers of a layer: where they stand, who writes them, how they are exported.

mod shared;
mod source;

use std::time::Duration;

pub(crate) use self::source::Sources;
pub use self::{
    shared::{Lease, Shared},
    source::Source,
};

/// A layer's numbers for an exporter: how deep a queue is, how long a round trip takes.
///
/// The layer keeps them in a [`Shared`](crate::Shared) state and shows it in [`Up`](crate::Up)
/// ([`Up::show`](crate::Up::show)). A layer above, such as that of `tower-ws-metrics`, reads it
/// from time to time, also while the connection is down. So the layer names no exporter, and the
/// exporter names no layer.
///
/// ```
/// use tower_ws_core::{Reading, Readings, Unit, Value};
///
/// struct Parked(u64);
///
/// impl Readings for Parked {
///     fn read(&self, show: &mut dyn FnMut(Reading)) {
///         let parked = Value::Gauge(self.0 as f64);
///         show(Reading::new("parked_bytes", "payload put aside", parked).unit(Unit::Bytes));
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` shows no numbers",
    label = "no readings",
    note = "implement it for the state that a layer shares with its handles"
)]
pub trait Readings: Send + Sync {
    /// Shows each number as it is now, the same ones in the same order each time.
    fn read(&self, show: &mut dyn FnMut(Reading));
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// What it is called: the layer first, words with underscores between them, then the unit if it
    /// has one, and `_total` if it only rises. An exporter puts `tower_ws_` before it.
    pub name: &'static str,
    /// A sentence about it, for people.
    pub text: &'static str,
    /// What it is counted in. Default: [`Unit::Count`], or [`Unit::Seconds`] if the value is a
    /// time.
    pub unit: Unit,
    /// What tells it from others of this name: a label's key, and one of a few fixed words.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: Value,
}

/// What a [`Reading`] is counted in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unit {
    /// Things: messages, probes, connections.
    Count,
    /// Bytes of payload.
    Bytes,
    /// Seconds.
    Seconds,
}

/// What sort of number a [`Reading`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// How many there are now. Those of several sessions are added up.
    Gauge(f64),
    /// How many there have been for as long as the [`Shared`](crate::Shared) state exists, in all
    /// its sessions. It only rises. An exporter adds each rise to its own count once
    /// ([`Source::rise`](crate::Source::rise)).
    Counter(u64),
    /// The last of many. Those that are read go into a histogram, so that one can ask for
    /// percentiles; an exporter leaves out one that it has seen.
    Sample {
        /// How long it took.
        took: Duration,
        /// Which one it is, counted from 1.
        nth: u64,
    },
    /// How long something has lasted by now. Goes into a histogram each time it is read: the ages
    /// in two sessions do not add up.
    Age(Duration),
}

impl Reading {
    /// A number without a label.
    pub fn new(name: &'static str, text: &'static str, value: Value) -> Self {
        let unit = match value {
            Value::Sample { .. } | Value::Age(_) => Unit::Seconds,
            _ => Unit::Count,
        };
        Self {
            name,
            text,
            unit,
            label: None,
            value,
        }
    }

    /// Sets the unit.
    #[must_use]
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, key: &'static str, word: &'static str) -> Self {
        self.label = Some((key, word));
        self
    }
}
