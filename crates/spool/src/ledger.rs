//! What is recorded, where each message is, and what is still to be written. No I/O: the session
//! asks and tells, a [`Journal`](crate::journal::Journal) gets batches, and their outcomes come
//! back.
//!
//! Committed, then handed over: [`leave`](Ledger::leave) is the only way out to a connection, and
//! looks at the outcomes that are known, under the same lock that outcomes are told under.

mod outcome;

use std::{
    collections::{BTreeMap, VecDeque},
    task::Poll,
    time::SystemTime,
};

use tokio::time::Instant;
use tower_ws_core::{DropReason, Phase, Ticket};

use crate::{
    change::{Changes, Row},
    record::{Record, State, Terms},
};

const CLOSED: &str = "the spool is closed";
const FAILED: &str = "the spool could not record it; its log says why";
const FULL: &str = "the spool is full of what is not acknowledged";

/// The batch of what may be on the disk, and is not to be taken for recorded.
const NEVER: u64 = u64::MAX;

/// How many messages are recorded before it is looked for those that nobody waits for any more.
const SWEEP: usize = 256;

#[derive(Debug)]
pub(crate) struct Ledger {
    limits: Limits,
    /// In the order of acceptance.
    records: BTreeMap<u64, Record>,
    bytes: usize,
    pending: Changes,
    /// How many records the batch puts that is being written.
    flying: usize,
    /// The number of the batch that takes what is pending.
    next: u64,
    /// The last batch whose outcome is known.
    done: u64,
    next_seq: u64,
    first_id: u64,
    /// Whose state is `Lost`, `Told`, and `Out` with a ticket. The state decides: one that is in a
    /// list and not in that state is passed over.
    lost: VecDeque<u64>,
    told: Vec<u64>,
    unflushed: Vec<u64>,
    sweep_at: usize,
    in_use: bool,
    /// Why nothing is taken, if nothing is.
    shut: Option<&'static str>,
    /// Nothing will be written any more.
    ended: bool,
    commits: u64,
    failure: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// A message that comes back into a queue, and where it was.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) row: Row,
    pub(crate) terms: Terms,
    /// The peer may have seen it.
    pub(crate) seen: bool,
}

impl Returned {
    /// `left`: it may have left with an earlier process.
    fn of(record: &Record, left: bool) -> Self {
        Self {
            row: record.row.clone(),
            terms: record.terms.clone(),
            seen: left || record.may_be_seen(),
        }
    }
}

impl Ledger {
    /// With what is on the disk.
    pub(crate) fn new(limits: Limits, rows: Vec<Row>, first_id: u64, now: Instant, wall: SystemTime) -> Self {
        let mut ledger = Self {
            limits,
            records: BTreeMap::new(),
            bytes: 0,
            pending: Changes::default(),
            flying: 0,
            next: 1,
            done: 0,
            next_seq: rows.last().map_or(1, |row| row.seq + 1),
            first_id,
            lost: VecDeque::new(),
            told: Vec::new(),
            unflushed: Vec::new(),
            sweep_at: SWEEP,
            in_use: false,
            shut: None,
            ended: false,
            commits: 0,
            failure: None,
        };
        for row in rows {
            let terms = Terms::of(&row, now, wall);
            ledger.add(row, State::Kept, 0, terms);
        }
        ledger
    }

    /// One that takes nothing, for this reason.
    pub(crate) fn shut(reason: &'static str) -> Self {
        let limits = Limits { messages: 0, bytes: 0 };
        Self {
            shut: Some(reason),
            ended: true,
            ..Self::new(limits, Vec::new(), 1, Instant::now(), SystemTime::UNIX_EPOCH)
        }
    }

    // --- the session's side

    /// A session begins, with what is there. `None` if another has not ended.
    pub(crate) fn begin(&mut self, now: Instant, wall: SystemTime) -> Option<Vec<Returned>> {
        if std::mem::replace(&mut self.in_use, true) {
            return None;
        }
        let begin = |record: &mut Record| {
            record.terms = Terms::of(&record.row, now, wall);
            Returned::of(record, record.mark.is_some())
        };
        Some(self.records.values_mut().map(begin).collect())
    }

    /// The session is over: what is not settled is for the next.
    pub(crate) fn end(&mut self) {
        self.came_back();
        for seq in self.seqs() {
            let Some(record) = self.records.get_mut(&seq) else {
                continue;
            };
            // What is not recorded was never accepted. What a caller knows the outcome of is not sent
            // behind his back.
            if matches!(record.put, None | Some(NEVER)) || record.is_abandoned() {
                self.forget(seq);
                continue;
            }
            record.seen = record.may_be_seen();
            let state = std::mem::replace(&mut record.state, State::Kept);
            if matches!(state, State::Held) || !record.seen && matches!(state, State::Out(_)) {
                self.unmark(seq);
            }
        }
        self.lost.clear();
        self.told.clear();
        self.unflushed.clear();
        self.in_use = false;
    }

    /// Takes a message under the next number, and leaves it to be written.
    pub(crate) fn enter(&mut self, mut row: Row, terms: Terms, first_id: u64) -> Result<u64, DropReason> {
        if let Some(reason) = self.shut {
            return Err(DropReason::Refused(reason));
        }
        if self.is_full(row.payload.len()) {
            return Err(DropReason::Refused(FULL));
        }
        let seq = self.next_seq;
        row.seq = seq;
        self.next_seq += 1;
        self.first_id = self.first_id.max(first_id);
        self.pending.put(row.clone());
        self.add(row, State::Held, self.next, terms);
        Ok(seq)
    }

    /// Is it time to [`sweep`](Self::sweep), before a message of so many bytes enters?
    pub(crate) fn must_sweep(&self, bytes: usize) -> bool {
        self.is_full(bytes) || self.records.len() >= self.sweep_at
    }

    /// Lets go of what is out, and whose caller knows the outcome or has given up.
    pub(crate) fn sweep(&mut self) {
        let over = self.records.iter();
        let over = over.filter(|(_, record)| matches!(record.state, State::Out(_)) && record.is_abandoned());
        let over: Vec<u64> = over.map(|(seq, _)| *seq).collect();
        over.into_iter().for_each(|seq| self.forget(seq));
        self.sweep_at = (self.records.len() * 2).max(SWEEP);
    }

    /// Is it recorded, or to be?
    pub(crate) fn knows(&self, seq: u64) -> bool {
        self.records.contains_key(&seq)
    }

    /// Does somebody wait for its outcome? If it is not known, whoever says so.
    pub(crate) fn is_waited_for(&self, seq: u64) -> bool {
        let record = self.records.get(&seq);
        record.is_none_or(|record| record.terms.ticket.is_some())
    }

    /// One that came back is held, or given up for this reason.
    pub(crate) fn hold(&mut self, seq: u64, seen: bool, lost: Option<DropReason>) {
        let Some(record) = self.records.get_mut(&seq) else {
            return;
        };
        record.seen |= seen;
        record.state = State::Held;
        if let Some(reason) = lost {
            record.state = State::Lost(reason);
            self.lost.push_back(seq);
        }
    }

    /// Lets go of a message that is held, and recorded: also as leaving, unless the peer may see it
    /// twice. From here it is out.
    pub(crate) fn leave(&mut self, seq: u64, twice: bool) -> Poll<()> {
        let (done, open) = (self.done, self.shut.is_none());
        match self.records.get_mut(&seq) {
            Some(record) if open && record.is_held() && record.may_leave(twice, done) => {
                record.state = State::Out(None);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }

    /// What has just left awaits no acknowledgement. The ticket is the one that it goes with.
    pub(crate) fn await_flush(&mut self, seq: u64, ticket: Ticket) {
        if let Some(record) = self.records.get_mut(&seq) {
            record.state = State::Out(Some(ticket));
            self.unflushed.push(seq);
        }
    }

    /// Has something that awaits a flush been written?
    pub(crate) fn awaits_flush(&self) -> bool {
        self.unflushed.iter().any(|seq| self.is_sent(*seq) == Some(true))
    }

    /// `None`: it awaits no flush.
    fn is_sent(&self, seq: u64) -> Option<bool> {
        match &self.records.get(&seq)?.state {
            State::Out(Some(ticket)) => Some(matches!(ticket.phase(), Phase::Sent(_) | Phase::Settled)),
            _ => None,
        }
    }

    pub(crate) fn is_unmarked(&self, seq: u64) -> bool {
        self.records.get(&seq).is_some_and(|record| record.mark.is_none())
    }

    /// Leaves marks to be written, for what is held and not marked.
    pub(crate) fn mark(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            if let Some(record) = self.records.get_mut(&seq)
                && record.is_held()
                && record.mark.is_none()
            {
                record.mark = Some(self.next);
                self.pending.mark(seq, true);
            }
        }
    }

    /// Ready once everything that has entered is written, or could not be.
    pub(crate) fn poll_kept(&self) -> Poll<()> {
        match self.pending.puts() + self.flying {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// The next that is given up, and why.
    pub(crate) fn next_lost(&mut self) -> Option<(u64, DropReason)> {
        while let Some(seq) = self.lost.pop_front() {
            if let Some(record) = self.records.get_mut(&seq)
                && let State::Lost(reason) = &record.state
            {
                return Some((seq, reason.clone()));
            }
        }
        None
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.is_some()
    }

    /// The connection has flushed what it was handed.
    pub(crate) fn flushed(&mut self) {
        for seq in std::mem::take(&mut self.unflushed) {
            match self.is_sent(seq) {
                Some(true) => self.forget(seq),
                // A flush that passed by what it should have written proves nothing.
                Some(false) => self.unflushed.push(seq),
                None => {}
            }
        }
    }

    /// The connection is gone. What is held is not leaving. What was not flushed comes back.
    pub(crate) fn went_down(&mut self) -> Vec<Returned> {
        for seq in self.seqs() {
            if self.records.get(&seq).is_some_and(Record::is_held) {
                self.unmark(seq);
            }
        }
        let unflushed = std::mem::take(&mut self.unflushed).into_iter();
        let out = unflushed.filter_map(|seq| {
            let record = self.records.get(&seq)?;
            matches!(record.state, State::Out(Some(_))).then(|| Returned::of(record, false))
        });
        out.collect()
    }

    /// The message is given up. Returns the reason to tell, if somebody is to be told, and whether
    /// it is kept all the same. `again`: the peer may see it twice.
    pub(crate) fn dropped(&mut self, seq: u64, reason: DropReason, again: bool) -> (Option<DropReason>, bool) {
        self.came_back();
        let (done, ended) = (self.done, self.ended);
        let Some(record) = self.records.get_mut(&seq) else {
            return (Some(reason), false);
        };
        if reason == DropReason::Disconnected && !record.terms.bound {
            // It never got away. One that was not flushed comes back by itself; so does this.
            if let State::Out(None) = record.state {
                self.await_flush(seq, Ticket::new());
            }
            return (None, true);
        }
        let waits = record.terms.ticket.is_some();
        let reason = match &record.state {
            // It had found out first.
            State::Lost(reason) => reason.clone(),
            _ => reason,
        };
        let reason = match reason {
            DropReason::Closed | DropReason::Expired if record.seen => DropReason::Interrupted(None),
            // Nobody can take it off the disk any more: the next process may send it.
            DropReason::Closed if ended && waits && record.put.is_some() => DropReason::Interrupted(None),
            reason => reason,
        };
        if reason == DropReason::Closed && !waits && record.is_written(done) {
            // Never sent, and nobody has been told that it will not be.
            record.state = State::Kept;
            self.unmark(seq);
            return (Some(reason), true);
        }
        let again = again && !waits && record.is_written(done) && matches!(reason, DropReason::Interrupted(_));
        record.state = State::Told { again };
        self.told.push(seq);
        (Some(reason), false)
    }

    /// Whoever reads has come back: what he was told of he has heard.
    pub(crate) fn came_back(&mut self) {
        let told = std::mem::take(&mut self.told);
        let (again, over): (Vec<u64>, Vec<u64>) = told.into_iter().partition(|seq| {
            let state = self.records.get(seq).map(|record| &record.state);
            matches!(state, Some(State::Told { again: true }))
        });
        over.into_iter().for_each(|seq| self.forget(seq));
        self.told = again;
    }

    /// The session goes on: nothing that was told of is for the next.
    pub(crate) fn goes_on(&mut self) {
        for seq in std::mem::take(&mut self.told) {
            self.forget(seq);
        }
    }

    /// It is settled: its record goes.
    pub(crate) fn forget(&mut self, seq: u64) {
        if let Some(record) = self.records.remove(&seq) {
            self.bytes -= record.row.payload.len();
            if record.put.is_some() {
                self.pending.remove(seq);
            }
        }
    }

    pub(crate) fn first_id(&self) -> u64 {
        self.first_id
    }

    // --- for handles

    pub(crate) fn messages(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many commits succeeded, and why the last one did not.
    pub(crate) fn health(&self) -> (u64, Option<String>) {
        (self.commits, self.failure.clone())
    }

    // --- inside

    fn add(&mut self, row: Row, state: State, put: u64, terms: Terms) {
        self.bytes += row.payload.len();
        let record = Record {
            mark: row.leaving.then_some(put),
            state,
            put: Some(put),
            seen: false,
            terms,
            row,
        };
        self.records.insert(record.row.seq, record);
    }

    /// One that is larger than the bound is taken while nothing else is there.
    fn is_full(&self, more: usize) -> bool {
        let over = self.records.len() >= self.limits.messages || self.bytes + more > self.limits.bytes;
        over && !self.records.is_empty()
    }

    /// It is not leaving after all.
    fn unmark(&mut self, seq: u64) {
        if let Some(record) = self.records.get_mut(&seq)
            && record.mark.take().is_some()
        {
            self.pending.mark(seq, false);
        }
    }

    fn seqs(&self) -> Vec<u64> {
        self.records.keys().copied().collect()
    }
}

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;
