//! The journal's side of the ledger: what is to be written, and what became of it.

use tower_ws_core::{Causes, DropReason};

use super::{CLOSED, FAILED, Ledger, NEVER};
use crate::{
    change::Change,
    journal::{Batch, JournalError},
};

impl Ledger {
    pub(crate) fn has_work(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What is to be written next.
    pub(crate) fn batch(&mut self) -> Batch {
        let number = self.next;
        self.next += 1;
        self.flying = self.pending.puts();
        Batch {
            number,
            changes: std::mem::take(&mut self.pending),
            first_id: self.first_id,
        }
    }

    /// What makes room, if there is any: it must not wait behind what finds none.
    pub(crate) fn relief(&mut self) -> Batch {
        Batch {
            number: 0,
            changes: self.pending.take_relief(),
            first_id: self.first_id,
        }
    }

    /// Returns whether it is the first after a failure.
    pub(crate) fn committed(&mut self, batch: &Batch) -> bool {
        self.commits += 1;
        if self.ended {
            // Nobody waited for it.
            return false;
        }
        self.over(batch.number);
        self.failure.take().is_some()
    }

    /// Returns whether it is another failure than the last one.
    pub(crate) fn failed(&mut self, batch: Batch, error: &JournalError) -> bool {
        if self.ended {
            // It was counted as unknown then.
            return false;
        }
        let number = batch.number;
        let unknown = matches!(error, JournalError::Unknown(_));
        for (seq, change) in batch.changes {
            match change {
                Change::Put(_) => self.put_failed(seq, unknown),
                Change::Mark(true) => {
                    if let Some(record) = self.records.get_mut(&seq) {
                        // It may have been marked anew.
                        record.mark = record.mark.filter(|mark| *mark > number);
                    }
                }
                // Whatever was written of these, they may be written again.
                relief => self.pending.restore(seq, relief),
            }
        }
        self.over(number);
        let text = Causes(error).to_string();
        let last = self.failure.replace(text);
        last != self.failure
    }

    fn put_failed(&mut self, seq: u64, unknown: bool) {
        let Some(record) = self.records.get_mut(&seq) else {
            return;
        };
        record.put = unknown.then_some(NEVER);
        match (record.is_held(), unknown) {
            // Nobody was told that it is kept.
            (false, _) => self.forget(seq),
            (true, true) => self.hold(seq, false, Some(DropReason::Interrupted(None))),
            (true, false) => self.hold(seq, false, Some(DropReason::Refused(FAILED))),
        }
    }

    fn over(&mut self, number: u64) {
        if number > 0 {
            self.done = number;
            self.flying = 0;
        }
    }

    /// Nothing new is taken; what is pending is still written.
    pub(crate) fn stop(&mut self) {
        self.shut.get_or_insert(CLOSED);
    }

    /// Nothing will be written any more.
    pub(crate) fn ended(&mut self) {
        self.stop();
        self.ended = true;
        // What is being written, if the journal never came back.
        for seq in self.seqs() {
            let put = self.records.get(&seq).and_then(|record| record.put);
            if put.is_some_and(|put| put > self.done && put < self.next) {
                self.put_failed(seq, true);
            }
        }
        for (seq, change) in std::mem::take(&mut self.pending) {
            if let Change::Put(_) = change {
                self.put_failed(seq, false);
            }
        }
        self.over(self.next);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }
}
