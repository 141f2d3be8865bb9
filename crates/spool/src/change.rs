//! What is to be written, by record. No I/O.

use std::collections::BTreeMap;

use bytes::Bytes;
use tower_ws_core::Replay;

/// A message as it is recorded. Times are milliseconds of wall time since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) accepted: i64,
    pub(crate) deadline: Option<i64>,
    pub(crate) replay: Replay,
    /// It may have been handed over, and must not be sent twice.
    pub(crate) leaving: bool,
    /// Its size, as the queue measured it.
    pub(crate) size: usize,
    pub(crate) payload: Bytes,
}

/// What is to become of one record.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Row),
    /// Whether it is leaving.
    Mark(bool),
    Remove,
}

/// At most one change for each record, so that what waits for a slow disk is never more than what
/// is recorded.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<u64, Change>);

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Change)> {
        self.0.iter().map(|(seq, change)| (*seq, change))
    }

    pub(crate) fn put(&mut self, row: Row) {
        self.0.insert(row.seq, Change::Put(row));
    }

    pub(crate) fn mark(&mut self, seq: u64, leaving: bool) {
        match self.0.get_mut(&seq) {
            Some(Change::Put(row)) => row.leaving = leaving,
            Some(Change::Remove) => {}
            _ => drop(self.0.insert(seq, Change::Mark(leaving))),
        }
    }

    pub(crate) fn remove(&mut self, seq: u64) {
        match self.0.get(&seq) {
            // Nobody has written it.
            Some(Change::Put(_)) => drop(self.0.remove(&seq)),
            _ => drop(self.0.insert(seq, Change::Remove)),
        }
    }

    /// Takes out what makes room: it must not wait behind what finds none.
    pub(crate) fn take_relief(&mut self) -> Self {
        let (relief, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, change)| change.is_relief());
        self.0 = rest;
        Self(relief)
    }

    /// Takes back what could not be written, below what came since. Returns the records that could
    /// not be put, and those that could not be marked as leaving: who asked for these has to know.
    pub(crate) fn take_back(&mut self, failed: Self) -> (Vec<u64>, Vec<u64>) {
        let (mut puts, mut marks) = (Vec::new(), Vec::new());
        for (seq, change) in failed.0 {
            match change {
                Change::Put(_) => {
                    self.0.remove(&seq);
                    puts.push(seq);
                }
                Change::Mark(true) => marks.push(seq),
                relief => drop(self.0.entry(seq).or_insert(relief)),
            }
        }
        (puts, marks)
    }
}

impl Change {
    fn is_relief(&self) -> bool {
        matches!(self, Self::Remove | Self::Mark(false))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(seq: u64) -> Row {
        Row {
            seq,
            accepted: 0,
            deadline: None,
            replay: Replay::Unknown,
            leaving: false,
            size: 0,
            payload: Bytes::new(),
        }
    }

    /// What is in the file after these changes.
    fn write(file: &mut BTreeMap<u64, bool>, changes: &Changes) {
        for (seq, change) in changes.iter() {
            match change {
                Change::Put(row) => file.insert(seq, row.leaving),
                Change::Mark(leaving) => file.get_mut(&seq).map(|old| std::mem::replace(old, *leaving)),
                Change::Remove => file.remove(&seq),
            };
        }
    }

    proptest! {
        #[test]
        fn whatever_fails_the_file_ends_as_it_should(
            steps in prop::collection::vec((0..6u8, any::<u16>()), 1..200),
        ) {
            let (mut changes, mut file, mut model) = (Changes::default(), BTreeMap::new(), BTreeMap::new());
            let mut next = 0;
            for (step, pick) in steps {
                let some = model.keys().nth(usize::from(pick) % model.len().max(1)).copied();
                match (step, some) {
                    (0, _) => {
                        next += 1;
                        changes.put(row(next));
                        model.insert(next, false);
                    }
                    (1 | 2, Some(seq)) => {
                        changes.mark(seq, step == 1);
                        model.insert(seq, step == 1);
                    }
                    (3, Some(seq)) => {
                        changes.remove(seq);
                        model.remove(&seq);
                    }
                    (4, _) => write(&mut file, &std::mem::take(&mut changes)),
                    (5, _) => {
                        let failed = std::mem::take(&mut changes);
                        // Something comes meanwhile.
                        if let Some(seq) = some {
                            changes.remove(seq);
                            model.remove(&seq);
                        }
                        let (puts, marks) = changes.take_back(failed);
                        for seq in puts {
                            model.remove(&seq);
                        }
                        for seq in marks.iter().filter(|seq| model.contains_key(seq)).copied().collect::<Vec<_>>() {
                            model.insert(seq, false);
                            changes.mark(seq, false);
                        }
                        let relief = changes.take_relief();
                        prop_assert!(relief.iter().all(|(_, change)| change.is_relief()));
                        write(&mut file, &relief);
                    }
                    _ => {}
                }
                prop_assert!(changes.0.len() <= model.len() + file.len());
            }
            write(&mut file, &changes);
            prop_assert_eq!(file, model);
        }
    }
}
