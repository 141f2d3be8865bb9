mod list;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use tokio::time::Instant;
use tower_ws_ack::Strategy;
use tower_ws_core::{DropReason, Outgoing, Pack, Replay, Verbatim, jsonrpc::Ids};
use tower_ws_queue::Held;

use crate::{
    change::Row,
    record::{Place, Record, millis, wall_of},
    spool::Core,
    writer::Shared,
};

/// The store of one session. [`Spool`](crate::Spool) makes it; see the [crate docs](crate).
pub struct SpoolStore<M, S, P = Verbatim>
where
    S: Strategy<M>,
{
    core: Arc<Core>,
    pack: P,
    strategy: S,
    /// Another session has the file.
    locked_out: bool,
    /// By the order of acceptance.
    held: VecDeque<(u64, Held<M>)>,
    records: BTreeMap<u64, Record>,
    bytes: usize,
    /// What is out and awaits an acknowledgement.
    keys: BTreeMap<S::Key, u64>,
    /// What is out and awaits none: settled with the next flush.
    unkeyed: Vec<u64>,
    /// Given up by the store, and not reported yet.
    lost: VecDeque<(u64, DropReason)>,
    /// Settled and reported by the last event. Deleted from the disk at the next call, when the
    /// reader has surely seen it.
    reported: Vec<u64>,
    /// Safe, and interrupted: sent by the next session, if this one ends here, and otherwise done
    /// with.
    interrupted: Vec<u64>,
    /// The last commit that a flush has to wait for, and the last whose failures are known.
    written: u64,
    seen: u64,
    sweep_at: usize,
    ids: Option<Ids>,
}

/// How many messages are marked as leaving at a time. More cost fewer commits; fewer are taken for
/// sent, though they were not, if the process is killed in between.
const AHEAD: usize = 64;
/// How many messages are recorded before it is looked for those that nobody waits for any more.
const SWEEP: usize = 256;

impl<M, S, P> SpoolStore<M, S, P>
where
    P: Pack<M>,
    S: Strategy<M>,
{
    pub(crate) fn new(core: Arc<Core>, pack: P, strategy: S, records: Option<Vec<Record>>) -> Self {
        let mut store = Self {
            core,
            pack,
            strategy,
            locked_out: records.is_none(),
            held: VecDeque::new(),
            records: BTreeMap::new(),
            bytes: 0,
            keys: BTreeMap::new(),
            unkeyed: Vec::new(),
            lost: VecDeque::new(),
            reported: Vec::new(),
            interrupted: Vec::new(),
            written: 0,
            seen: 0,
            sweep_at: SWEEP,
            ids: None,
        };
        let (now, wall) = (Instant::now(), store.core.options.clock.now());
        for mut record in records.into_iter().flatten() {
            // Looked at when the file was opened, or packed by this process: it is a message.
            let Some(message) = store.pack.unpack(record.row.payload.clone()) else {
                continue;
            };
            let seq = record.row.seq;
            let held = record.revive(message, now, wall);
            record.place = Place::Held;
            if record.marked.is_some() && !store.may_go_again(&held.item) {
                // It may have left with an earlier process.
                record.place = Place::Out;
                store.lost.push_back((seq, DropReason::Interrupted(None)));
            }
            store.written = store.written.max(record.written);
            store.bytes += record.bytes();
            store.records.insert(seq, record);
            store.held.push_back((seq, held));
        }
        store
    }

    /// May the peer see it twice?
    fn may_go_again(&self, item: &Outgoing<M>) -> bool {
        match item.replay {
            Replay::Safe => true,
            Replay::Unsafe => false,
            Replay::Unknown => self.strategy.is_safe(item),
        }
    }

    /// Takes a number for a message, and leaves it to the writer.
    fn record(&mut self, held: &Held<M>) -> Result<u64, DropReason> {
        if self.locked_out {
            return Err(DropReason::Refused("another session uses the spool"));
        }
        let Some(payload) = self.pack.pack(&held.item.message) else {
            return Err(DropReason::Refused("the spool keeps no message of its kind"));
        };
        if self.is_full(payload.len()) || self.records.len() >= self.sweep_at {
            self.sweep();
        }
        if self.is_full(payload.len()) {
            return Err(DropReason::Refused("the spool is full of what is not acknowledged"));
        }
        let (now, wall) = (Instant::now(), self.core.options.clock.now());
        let row = |seq| Row {
            seq,
            accepted: millis(wall),
            // Of what makes sense on this connection only, the next process has no use.
            deadline: match held.item.epoch {
                Some(_) => Some(millis(wall)),
                None => held.item.deadline.map(|at| wall_of(at, now, wall)),
            },
            replay: held.item.replay,
            leaving: false,
            size: held.bytes,
            payload,
        };
        let first_id = self.ids.as_ref().map_or(0, Ids::peek);
        let mut kept = None;
        let put = self.core.shared.put(first_id, |seq| {
            let row = row(seq);
            kept = Some(row.clone());
            row
        });
        let (Some((seq, written)), Some(row)) = (put, kept) else {
            return Err(DropReason::Refused("the spool is closed"));
        };
        self.written = written;
        self.bytes += row.payload.len();
        let record = Record {
            row,
            written,
            marked: None,
            place: Place::Held,
            ticket: held.item.ticket.clone(),
        };
        self.records.insert(seq, record);
        self.tally();
        Ok(seq)
    }

    /// One that is larger than the bound is taken while nothing else is there.
    fn is_full(&self, more: usize) -> bool {
        let limits = &self.core.options;
        let over = self.records.len() >= limits.messages || self.bytes + more > limits.bytes;
        over && !self.records.is_empty()
    }

    /// Learns what could not be written.
    fn collect(&mut self) {
        let done = self.core.shared.done();
        if done == self.seen {
            return;
        }
        self.seen = done;
        let failed = self.core.shared.take_failed();
        for seq in failed.marks {
            if let Some(record) = self.records.get_mut(&seq) {
                record.marked = None;
            }
        }
        for seq in failed.puts {
            if let Some(record) = self.records.remove(&seq) {
                self.bytes -= record.bytes();
                self.tally();
                let reason = DropReason::Refused("the spool could not record it; its log says why");
                self.lost.push_back((seq, reason));
            }
        }
    }

    /// Marks the next messages as leaving, those that must not be sent twice.
    fn mark_ahead(&mut self) {
        let mut seqs = Vec::new();
        for (seq, held) in self.held.iter().take(AHEAD) {
            let unmarked = self.records.get(seq).is_some_and(|record| record.marked.is_none());
            if unmarked && !self.may_go_again(&held.item) {
                seqs.push(*seq);
            }
        }
        let marked = self.core.shared.mark(seqs.iter().copied(), true);
        for seq in seqs {
            if let Some(record) = self.records.get_mut(&seq) {
                record.marked = Some(marked);
            }
        }
    }

    /// Lets go of what is out, and whose caller knows the outcome or has given up.
    fn sweep(&mut self) {
        let over = self.records.iter();
        let over = over.filter(|(_, record)| record.place != Place::Held && record.is_abandoned());
        let over: Vec<u64> = over.map(|(seq, _)| *seq).collect();
        over.into_iter().for_each(|seq| self.forget(seq));
        let records = &self.records;
        self.keys.retain(|_, seq| records.contains_key(seq));
        self.sweep_at = (self.records.len() * 2).max(SWEEP);
    }

    /// The session has not ended: what was reported as interrupted is done with.
    fn goes_on(&mut self) {
        for seq in std::mem::take(&mut self.interrupted) {
            self.forget(seq);
        }
    }

    fn acknowledged(&mut self, key: &S::Key) {
        if let Some(seq) = self.keys.remove(key) {
            self.forget(seq);
        }
    }
}

impl<M, S, P> SpoolStore<M, S, P>
where
    S: Strategy<M>,
{
    /// Its record goes.
    fn forget(&mut self, seq: u64) {
        if let Some(record) = self.records.remove(&seq) {
            self.bytes -= record.bytes();
            self.core.shared.remove([seq]);
            self.tally();
        }
    }

    /// Whoever reads has come back.
    fn delete_reported(&mut self) {
        for seq in std::mem::take(&mut self.reported) {
            self.forget(seq);
        }
    }

    fn tally(&self) {
        self.core.hub.set(self.records.len(), self.bytes);
    }
}

/// They are not leaving after all.
fn unmark<'a>(records: impl IntoIterator<Item = &'a mut Record>, shared: &Shared) {
    let marked = records
        .into_iter()
        .filter_map(|record| record.marked.take().and(Some(record.row.seq)));
    let marked: Vec<u64> = marked.collect();
    if !marked.is_empty() {
        shared.mark(marked, false);
    }
}

impl<M, S, P> Drop for SpoolStore<M, S, P>
where
    S: Strategy<M>,
{
    fn drop(&mut self) {
        if self.locked_out {
            return;
        }
        // Nobody is left to tell that they could not be recorded.
        for seq in self.core.shared.take_failed().puts {
            self.records.remove(&seq);
        }
        self.delete_reported();
        // What a caller knows the outcome of is not sent behind his back.
        let (over, mut left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.records)
            .into_values()
            .partition(Record::is_abandoned);
        self.core.shared.remove(over.iter().map(|record| record.row.seq));
        let held = left.iter_mut().filter(|record| record.place == Place::Held);
        unmark(held, &self.core.shared);
        for record in &mut left {
            record.place = Place::Kept;
            record.ticket = None;
        }
        self.core.hub.set(left.len(), left.iter().map(Record::bytes).sum());
        self.core.leave(left);
    }
}

impl<M, S, P> fmt::Debug for SpoolStore<M, S, P>
where
    S: Strategy<M>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolStore")
            .field("held", &self.held.len())
            .field("recorded", &self.records.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
