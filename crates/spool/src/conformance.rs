//! What every [`Journal`] keeps, tried: for the tests of whoever writes one.
//!
//! ```no_run
//! # fn open_mine() -> Option<(Box<dyn tower_ws_spool::conformance::Opened>, tower_ws_spool::Contents)> { None }
//! // In a test, with a place that holds nothing yet.
//! tower_ws_spool::conformance::journal(open_mine);
//! ```
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use std::collections::BTreeMap;

use bytes::Bytes;
use tower_ws_core::Replay;

use crate::{
    change::{Change, Changes, Row},
    journal::{Batch, Contents, Journal, JournalError},
};

/// A journal whose type does not matter. Each [`Journal`] is one.
pub trait Opened {
    /// [`Journal::commit`].
    ///
    /// # Errors
    ///
    /// Those of [`Journal::commit`].
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError>;
}

impl<J: Journal> Opened for J {
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        Journal::commit(self, batch)
    }
}

/// Opens one place again and again, writes to it, and looks at what is found there.
///
/// `open` gives what the place holds, which is nothing at first. While a journal from it is open,
/// it may give `None`; if it gives another one, the first must be lost from there on.
///
/// # Panics
///
/// If something is not as [`Journal`] says.
pub fn journal(mut open: impl FnMut() -> Option<(Box<dyn Opened>, Contents)>) {
    let mut opened = || open().expect("nobody has it open");
    let (mut journal, contents) = opened();
    assert_eq!(contents, Contents::default(), "a new place holds nothing");
    let mut model = Model::default();

    // All that a record has comes back, in the order of acceptance.
    model.write(&mut *journal, (1..=6).map(|seq| (seq, Change::Put(row(seq)))), 7);
    drop(journal);
    let (mut journal, contents) = opened();
    assert_eq!(contents, model.contents(), "what was put");

    // Marks and removals, together with what is new; of what is not there, too.
    let changes = [
        (1, Change::Mark(true)),
        (2, Change::Remove),
        (4, Change::Mark(false)),
        (7, Change::Put(row(7))),
        (90, Change::Mark(true)),
        (91, Change::Remove),
    ];
    // The counter of ids never goes back.
    model.write(&mut *journal, changes, 3);
    model.write(&mut *journal, [], 9);
    drop(journal);
    let (mut journal, contents) = opened();
    assert_eq!(contents, model.contents(), "what was marked and removed");

    // A number that was in use before is a new one once its record is gone.
    model.write(&mut *journal, [(2, Change::Put(row(2)))], 9);
    model.write(&mut *journal, [(2, Change::Remove)], 9);
    // Much at a time.
    let many = (100..1_100).map(|seq| (seq, Change::Put(row(seq))));
    model.write(&mut *journal, many, 1 << 40);

    // Another owner: he cannot be while the first one is, or the first one is none any more.
    if let Some((mut other, contents)) = open() {
        assert_eq!(contents, model.contents(), "what another owner finds");
        let late = batch([(3, Change::Remove), (2_000, Change::Put(row(2_000)))], 1 << 50);
        let outcome = journal.commit(&late);
        assert!(matches!(outcome, Err(JournalError::Lost(_))), "{outcome:?}");
        model.write(&mut *other, [(5, Change::Remove)], 0);
        drop(other);
    }
    drop(journal);
    let mut opened = || open().expect("nobody has it open");
    assert_eq!(opened().1, model.contents(), "what is there at the end");
}

/// What a journal is to hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u64, Row>,
    first_id: u64,
}

impl Model {
    fn write(&mut self, journal: &mut dyn Opened, changes: impl IntoIterator<Item = (u64, Change)>, first_id: u64) {
        let batch = batch(changes, first_id);
        journal.commit(&batch).unwrap();
        self.first_id = self.first_id.max(first_id);
        for (seq, change) in batch.changes {
            match change {
                Change::Put(row) => drop(self.rows.insert(seq, row)),
                Change::Mark(leaving) => {
                    if let Some(row) = self.rows.get_mut(&seq) {
                        row.leaving = leaving;
                    }
                }
                Change::Remove => drop(self.rows.remove(&seq)),
            }
        }
    }

    fn contents(&self) -> Contents {
        Contents {
            rows: self.rows.values().cloned().collect(),
            first_id: self.first_id,
        }
    }
}

fn batch(changes: impl IntoIterator<Item = (u64, Change)>, first_id: u64) -> Batch {
    let mut all = Changes::default();
    for (seq, change) in changes {
        match change {
            Change::Put(row) => all.put(row),
            Change::Mark(leaving) => all.mark(seq, leaving),
            Change::Remove => all.remove(seq),
        }
    }
    Batch {
        number: 1,
        changes: all,
        first_id,
    }
}

/// One of each kind.
fn row(seq: u64) -> Row {
    let replays = [Replay::Unknown, Replay::Safe, Replay::Unsafe];
    Row {
        seq,
        accepted: 1_700_000_000_000 + seq as i64,
        deadline: seq.is_multiple_of(2).then_some(i64::MAX - seq as i64),
        replay: replays[seq as usize % replays.len()],
        leaving: seq.is_multiple_of(4),
        size: seq as usize * 3,
        // Any bytes, and none.
        payload: Bytes::from_iter((0..seq % 7).map(|n| (n * 85) as u8)),
    }
}
