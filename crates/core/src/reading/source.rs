use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Reading, Readings};

/// A [`Shared`](crate::Shared) state whose numbers are shown in [`Up`](crate::Up), as an exporter
/// sees it.
#[derive(Clone)]
pub struct Source(Arc<dyn Export>);

/// What a shared state is behind a [`Source`].
pub(super) trait Export: Readings {
    fn exported(&self) -> &Exported;
}

/// How far each counter of a state has been exported, and to where. It is part of the state, so
/// that whoever comes later (the exporter of the next session) goes on from there.
#[derive(Debug, Default)]
pub(super) struct Exported(Mutex<Vec<(Key, u64)>>);

#[derive(Debug, Eq, PartialEq)]
struct Key {
    exporter: Box<str>,
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
}

impl Source {
    pub(super) fn new(state: Arc<dyn Export>) -> Self {
        Self(state)
    }

    /// True if both are the same state: counters and gauges go on where they stood.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// By how much this counter has risen since the last call for the same `exporter`, to which it
    /// is added now. The name of an exporter stands for the series that it writes, so two that
    /// write the same one have the same name.
    pub fn rise(&self, exporter: &str, counter: &Reading, total: u64) -> u64 {
        let mut exported = self.0.exported().0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = exported
            .iter_mut()
            .find(|(key, _)| key.name == counter.name && key.label == counter.label && *key.exporter == *exporter);
        match known {
            // One that is lower than before has begun anew.
            Some((_, before)) => total.checked_sub(std::mem::replace(before, total)).unwrap_or(total),
            None => {
                let key = Key {
                    exporter: exporter.into(),
                    name: counter.name,
                    label: counter.label,
                };
                exported.push((key, total));
                total
            }
        }
    }
}

impl Readings for Source {
    fn read(&self, show: &mut dyn FnMut(Reading)) {
        self.0.read(show);
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&Arc::as_ptr(&self.0)).finish()
    }
}

/// The sources of all layers below, innermost first: they travel in the extensions of `Up`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(pub(crate) Vec<Source>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Shared, Value};

    struct Nothing;
    impl Readings for Nothing {
        fn read(&self, _: &mut dyn FnMut(Reading)) {}
    }

    #[test]
    fn a_rise_is_exported_once_whoever_asks() {
        let state = Shared::new(Nothing);
        let (first, second) = (state.source(), state.source());
        assert!(first.is(&second));
        let counter = |word| Reading::new("drops_total", "drops", Value::Counter(0)).label("reason", word);
        assert_eq!(first.rise("a", &counter("late"), 3), 3);
        assert_eq!(second.rise("a", &counter("late"), 5), 2);
        assert_eq!(first.rise("a", &counter("late"), 5), 0);
        assert_eq!(first.rise("a", &counter("full"), 4), 4);
        assert_eq!(first.rise("b", &counter("late"), 5), 5, "another series");
        assert_eq!(first.rise("a", &counter("late"), 1), 1, "it began anew");
    }
}
