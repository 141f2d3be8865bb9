//! What is to be written, by record. No I/O.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
};

use bytes::Bytes;
use tower_ws_core::Replay;

/// A message as it is recorded. Times are milliseconds of wall time since 1970.
#[derive(Clone, Eq, PartialEq)]
pub struct Row {
    /// Its number: the order of acceptance.
    pub seq: u64,
    /// When it was accepted.
    pub accepted: i64,
    /// From when on it is not worth sending.
    pub deadline: Option<i64>,
    /// Whether it may be sent twice.
    pub replay: Replay,
    /// It may have been handed over, and must not be sent twice.
    pub leaving: bool,
    /// Its size, as the queue measured it.
    pub size: usize,
    /// What was packed.
    pub payload: Bytes,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A payload may hold secrets.
        f.debug_struct("Row")
            .field("seq", &self.seq)
            .field("replay", &self.replay)
            .field("leaving", &self.leaving)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// What is to become of one record. This list is complete.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A new one.
    Put(Row),
    /// Whether it is [leaving](Row::leaving).
    Mark(bool),
    /// It goes.
    Remove,
}

/// At most one change for each record, so that what waits for a slow disk is never more than what
/// is recorded.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    changes: BTreeMap<u64, Change>,
    puts: usize,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many of them put a record.
    pub(crate) fn puts(&self) -> usize {
        self.puts
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Change)> {
        self.changes.iter().map(|(seq, change)| (*seq, change))
    }

    pub(crate) fn put(&mut self, row: Row) {
        self.puts += 1;
        self.changes.insert(row.seq, Change::Put(row));
    }

    pub(crate) fn mark(&mut self, seq: u64, leaving: bool) {
        match self.changes.get_mut(&seq) {
            Some(Change::Put(row)) => row.leaving = leaving,
            Some(Change::Remove) => {}
            _ => drop(self.changes.insert(seq, Change::Mark(leaving))),
        }
    }

    pub(crate) fn remove(&mut self, seq: u64) {
        if let Some(Change::Put(_)) = self.changes.insert(seq, Change::Remove) {
            // Nobody has written it.
            self.changes.remove(&seq);
            self.puts -= 1;
        }
    }

    /// Puts back what could not be written, below what came since.
    pub(crate) fn restore(&mut self, seq: u64, change: Change) {
        self.changes.entry(seq).or_insert(change);
    }

    /// Takes out what makes room: it must not wait behind what finds none.
    pub(crate) fn take_relief(&mut self) -> Self {
        let makes_room = |change: &Change| matches!(change, Change::Remove | Change::Mark(false));
        let (relief, rest) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|(_, change)| makes_room(change));
        self.changes = rest;
        Self {
            changes: relief,
            puts: 0,
        }
    }
}

impl IntoIterator for Changes {
    type Item = (u64, Change);
    type IntoIter = btree_map::IntoIter<u64, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}
