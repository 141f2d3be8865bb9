//! The order is proved here: a session of random steps over a journal in memory, which fails at
//! each of its commits in turn, in each way. After each step the process might be killed: whatever
//! the journal holds then, with or without the batch that is being written, is looked at.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;
use tower_ws_ack::Bare;
use tower_ws_core::{Down, DropReason, Failure, FailureKind, Outgoing, Phase, Replay, Ticket, TicketSteps, Up};
use tower_ws_queue::{Held, MakeStore, Store};

use super::*;
use crate::{
    change::Change,
    journal::{Batch, Contents, Journal, JournalError},
    options::SpoolOptions,
    spool::Spool,
    store::SpoolStore,
};

pub(super) type Strategy = Bare<fn(&String) -> Option<u64>, fn(&String) -> Option<u64>>;

/// "k7" awaits "ack 7"; "n7" awaits no acknowledgement.
fn strategy() -> Strategy {
    Bare::new(
        |sent| sent.strip_prefix('k')?.parse().ok(),
        |came| came.strip_prefix("ack ")?.parse().ok(),
    )
}

pub(super) fn spool(rows: Vec<Row>) -> Spool<String, Strategy> {
    Spool::new(Contents { rows, first_id: 1 }, None, strategy(), SpoolOptions::new())
}

pub(super) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Refused,
    /// Unknown, and it was written after all.
    Written,
    /// Unknown, and it was not written.
    Unwritten,
    Lost,
}

const FAULTS: [Fault; 4] = [Fault::Refused, Fault::Written, Fault::Unwritten, Fault::Lost];

/// In memory. Fails once.
#[derive(Clone, Default)]
struct Memory {
    rows: BTreeMap<u64, Row>,
    commits: usize,
    fault: Option<(usize, Fault)>,
}

impl Memory {
    fn write(&mut self, batch: &Batch) {
        for (seq, change) in batch.changes.iter() {
            match change {
                Change::Put(row) => drop(self.rows.insert(seq, row.clone())),
                Change::Mark(leaving) => {
                    if let Some(row) = self.rows.get_mut(&seq) {
                        row.leaving = *leaving;
                    }
                }
                Change::Remove => drop(self.rows.remove(&seq)),
            }
        }
    }
}

impl Journal for Memory {
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        let fault = self.fault.filter(|(at, _)| *at == self.commits).map(|(_, fault)| fault);
        self.commits += 1;
        if matches!(fault, None | Some(Fault::Written)) {
            self.write(batch);
        }
        match fault {
            None => Ok(()),
            Some(Fault::Refused) => Err(JournalError::Refused("full".into())),
            Some(Fault::Written | Fault::Unwritten) => Err(JournalError::Unknown("a flush failed".into())),
            Some(Fault::Lost) => Err(JournalError::Lost("somebody else's".into())),
        }
    }
}

struct World {
    rng: fastrand::Rng,
    spool: Spool<String, Strategy>,
    store: SpoolStore<String, Strategy>,
    journal: Memory,
    flying: Option<Batch>,
    made: u64,
    up: bool,
    /// Entered, and not known to be kept.
    entered: BTreeSet<String>,
    /// A flush after them was done.
    accepted: BTreeSet<String>,
    /// Settled, or told of.
    over: BTreeSet<String>,
    /// Among them, what no later process may send or report.
    done: BTreeSet<String>,
    /// On the wire, by connection.
    out: Vec<Held<String>>,
    /// How often each was written by the socket.
    sent: BTreeMap<String, usize>,
}

impl World {
    fn new(seed: u64, fault: Option<(usize, Fault)>) -> Self {
        let spool = spool(Vec::new());
        let mut store = spool.make_store();
        store.came_up(&mut Up::new());
        Self {
            rng: fastrand::Rng::with_seed(seed),
            store,
            spool,
            journal: Memory {
                fault,
                ..Memory::default()
            },
            flying: None,
            made: 0,
            up: true,
            entered: BTreeSet::new(),
            accepted: BTreeSet::new(),
            over: BTreeSet::new(),
            done: BTreeSet::new(),
            out: Vec::new(),
            sent: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..20) {
            0..5 => self.enter(),
            5..8 => self.write(),
            8..12 => self.leave(),
            12 => self.keep(),
            13 => self.acknowledge(),
            14 => self.flush(),
            15 if self.up => self.go_down(),
            15 | 16 if !self.up => {
                self.store.came_up(&mut Up::new());
                self.up = true;
            }
            17 => self.give_up(),
            _ => {}
        }
        self.look();
    }

    fn enter(&mut self) {
        self.made += 1;
        let text = format!("{}{}", self.rng.choice(["k", "n"]).unwrap(), self.made);
        let replay = self.rng.choice([Replay::Safe, Replay::Unsafe]).unwrap();
        let held = Held::new(Outgoing::new(text.clone()).replay(replay), 1, Instant::now());
        match self.store.push_back(held) {
            Ok(()) => drop(self.entered.insert(text)),
            Err((_, reason)) => assert!(matches!(reason, DropReason::Refused(_))),
        }
    }

    /// The writer takes a batch, or learns what became of it.
    fn write(&mut self) {
        let shared = self.spool.core.shared.clone();
        let Some(batch) = self.flying.take() else {
            let next = |ledger: &mut Ledger| (ledger.has_work() && !ledger.is_ended()).then(|| ledger.batch());
            self.flying = shared.with(next);
            return;
        };
        match self.journal.commit(&batch) {
            Ok(()) => drop(shared.with(|ledger| ledger.committed(&batch))),
            Err(error) => shared.with(|ledger| {
                ledger.failed(batch, &error);
                if let JournalError::Lost(_) = error {
                    ledger.ended();
                }
            }),
        }
    }

    fn leave(&mut self) {
        self.tell_what_the_store_gave_up();
        if !self.up {
            return;
        }
        let Poll::Ready(Some(held)) = self.store.poll_leave(&mut cx()) else {
            return;
        };
        let text = held.item.message.clone();
        assert!(self.on_disk(&text).is_some(), "{text} left before it was recorded");
        // The socket writes it, or does not come to that.
        if self.rng.bool() && held.item.ticket.as_ref().is_none_or(TicketSteps::mark_sent) {
            let times = self.sent.entry(text.clone()).or_default();
            *times += 1;
            assert!(*times == 1 || held.item.replay == Replay::Safe, "{text} was sent twice");
        }
        self.out.push(held);
    }

    fn keep(&mut self) {
        let kept = self.store.poll_kept(&mut cx());
        self.tell_what_the_store_gave_up();
        if kept.is_ready() {
            self.accepted.append(&mut self.entered);
        }
    }

    fn acknowledge(&mut self) {
        let keyed =
            |held: &Held<String>| held.item.message.starts_with('k') && self.sent.contains_key(&held.item.message);
        let Some(at) = self.out.iter().position(keyed) else {
            return;
        };
        let mut held = self.out.remove(at);
        self.store.settled(&mut held.item);
        self.done.insert(held.item.message.clone());
        self.over.insert(held.item.message);
    }

    fn flush(&mut self) {
        let phase = |held: &Held<String>| held.item.ticket.as_ref().map(Ticket::phase);
        let written = |held: &Held<String>| matches!(phase(held), None | Some(Phase::Sent(_)));
        if self.up && self.out.iter().all(written) {
            self.store.flushed();
            let (over, out) = std::mem::take(&mut self.out)
                .into_iter()
                .partition(|held| held.item.message.starts_with('n'));
            self.out = out;
            let over: Vec<Held<String>> = over;
            for held in over {
                self.done.insert(held.item.message.clone());
                self.over.insert(held.item.message);
            }
        }
    }

    /// What awaits an acknowledgement the layer below gives back; the rest is the store's.
    fn go_down(&mut self) {
        self.up = false;
        let mut down = Down::new(Failure::new(FailureKind::Network, "cut"));
        down.will_retry = true;
        let out = std::mem::take(&mut self.out);
        let (keyed, other): (Vec<_>, Vec<_>) = out.into_iter().partition(|held| held.item.message.starts_with('k'));
        for mut held in keyed {
            let reason = match self.sent.contains_key(&held.item.message) {
                true => DropReason::Interrupted(None),
                false => DropReason::Expired,
            };
            self.told(&mut held.item, reason);
        }
        // The lift says of some that they were not written, before the end or after it.
        let late = self.rng.bool();
        let mut unwritten: Vec<_> = other
            .into_iter()
            .filter(|held| !self.sent.contains_key(&held.item.message))
            .collect();
        if late {
            self.store.went_down(&down);
        }
        for held in &mut unwritten {
            assert_eq!(self.store.dropped(&mut held.item, DropReason::Disconnected), None);
        }
        if !late {
            self.store.went_down(&down);
        }
        self.tell_what_the_store_gave_up();
    }

    /// The queue gives up the one in front.
    fn give_up(&mut self) {
        self.tell_what_the_store_gave_up();
        if let Some(mut held) = self.store.pop_front() {
            let reason = self.rng.choice([DropReason::Expired, DropReason::Closed]).unwrap();
            self.told(&mut held.item, reason);
        }
    }

    fn tell_what_the_store_gave_up(&mut self) {
        while let Some((mut held, reason)) = self.store.given_up() {
            self.told(&mut held.item, reason);
        }
    }

    fn told(&mut self, item: &mut Outgoing<String>, reason: DropReason) {
        let text = item.message.clone();
        let reason = self.store.dropped(item, reason).unwrap();
        assert!(item.ticket.is_none(), "nobody waits for {text}");
        if !matches!(reason, DropReason::Interrupted(_)) {
            assert!(
                !self.sent.contains_key(&text),
                "{text} was sent, and comes back as {reason}"
            );
        }
        assert!(
            !self.accepted.contains(&text) || !matches!(reason, DropReason::Refused(_)),
            "{text} was accepted, and comes back as {reason}"
        );
        if item.record.is_some() {
            // Kept for the next session, says the store.
            assert!(self.on_disk(&text).is_some(), "{text} is said to be kept");
            self.accepted.insert(text);
            return;
        }
        if !matches!(reason, DropReason::Interrupted(_)) {
            self.done.insert(text.clone());
        }
        self.entered.remove(&text);
        assert!(self.over.insert(text.clone()), "{text} ended twice");
    }

    fn on_disk(&self, text: &str) -> Option<&Row> {
        self.journal.rows.values().find(|row| row.payload == text.as_bytes())
    }

    /// Kill -9: what does the next process find?
    fn look(&self) {
        let mut after = self.journal.clone();
        self.flying.iter().for_each(|batch| after.write(batch));
        for disk in [&self.journal, &after] {
            for text in self.accepted.difference(&self.over) {
                let found = disk.rows.values().any(|row| row.payload == text.as_bytes());
                assert!(found, "{text} was accepted, and is gone");
            }
            for row in disk.rows.values() {
                let text = String::from_utf8(row.payload.to_vec()).unwrap();
                let twice = self.sent.contains_key(&text) && row.replay == Replay::Unsafe && !row.leaving;
                assert!(!twice, "{text} was sent, must not be sent twice, and would be");
            }
        }
    }

    /// The session ends, and the next begins, with what is written by then.
    fn restart(mut self) {
        // The last batch may fail, the rest is written.
        let mut store = std::mem::replace(&mut self.store, self.spool.make_store());
        self.tell_what_the_store_gave_up();
        while let Some((mut held, reason)) = store.given_up() {
            store.dropped(&mut held.item, reason);
            self.over.insert(held.item.message);
        }
        drop(store);
        for _ in 0..20 {
            self.write();
        }
        self.look();
        if self.journal.fault.is_none_or(|(_, fault)| fault != Fault::Lost) {
            let left = self
                .journal
                .rows
                .values()
                .map(|row| std::str::from_utf8(&row.payload).unwrap());
            let left: Vec<_> = left.filter(|text| self.done.contains(*text)).collect();
            assert!(left.is_empty(), "{left:?} are done with, and still on the disk");
        }
        let next = spool(self.journal.rows.values().cloned().collect());
        let mut store = next.make_store();
        let mut found = BTreeSet::new();
        while let Some((held, reason)) = store.given_up() {
            assert!(matches!(reason, DropReason::Interrupted(_)));
            found.insert(held.item.message);
        }
        while let Some(held) = store.pop_front() {
            let text = held.item.message;
            assert!(
                held.item.replay == Replay::Safe || !self.sent.contains_key(&text),
                "{text} goes twice"
            );
            found.insert(text);
        }
        let missing: Vec<_> = self
            .accepted
            .difference(&self.over)
            .filter(|text| !found.contains(*text))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

fn run(seed: u64, fault: Option<(usize, Fault)>) -> usize {
    let mut world = World::new(seed, fault);
    for _ in 0..80 {
        world.step();
    }
    let commits = world.journal.commits;
    world.restart();
    commits
}

#[test]
fn committed_then_handed_over_whatever_fails_and_whenever_it_is_killed() {
    for seed in 0..150 {
        for at in 0..run(seed, None) {
            for fault in FAULTS {
                let _shown_if_it_fails = Shown(seed, at, fault);
                run(seed, Some((at, fault)));
            }
        }
    }
}

struct Shown(u64, usize, Fault);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}, commit {} is {:?}", self.0, self.1, self.2);
        }
    }
}
