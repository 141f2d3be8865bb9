//! What the layer does, said as plainly as it can be said: one list, looked at from the front.

use std::collections::BTreeSet;

use tower_ws_core::DropReason;

/// What comes up, by the message's number; a reply by its id.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Told {
    Up,
    Reply(u64),
    Delivered(u64),
    Down,
    Dropped(u64, &'static str),
}

/// One message that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) n: u64,
    /// Under which it awaits.
    pub(crate) key: u64,
    /// Under which its reply is expected.
    pub(crate) original: u64,
    pub(crate) safe: bool,
    /// The seconds at which its time is over, and after which it is not worth sending.
    pub(crate) until: u64,
    pub(crate) deadline: Option<u64>,
    pub(crate) seen: bool,
    pub(crate) due: bool,
    pub(crate) cancelled: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) window: usize,
    pub(crate) now: u64,
    pub(crate) up: bool,
    /// How many more messages the connection takes.
    pub(crate) room: usize,
    /// In the order of acceptance.
    pub(crate) line: Vec<Item>,
    /// The keys of what was given up and may yet be acknowledged.
    pub(crate) graves: BTreeSet<u64>,
    pub(crate) told: Vec<Told>,
    /// What went out, by number.
    pub(crate) wire: Vec<u64>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) resent: u64,
    pub(crate) interrupted: u64,
    pub(crate) expired: u64,
    pub(crate) late: u64,
    pub(crate) unmatched: u64,
}

impl Machine {
    /// May something new be sent?
    pub(crate) fn is_ready(&self) -> bool {
        let live = self.line.iter().filter(|item| !item.cancelled);
        self.up && self.room > 0 && live.clone().all(|item| !item.due) && live.count() < self.window
    }

    pub(crate) fn accept(&mut self, item: Item) {
        if self.graves.contains(&item.key) || self.line.iter().any(|kept| kept.key == item.key) {
            return self.told.push(Told::Dropped(item.n, "refused"));
        }
        self.line.push(item);
    }

    /// What is to be handed down goes, from the front, as far as there is room.
    pub(crate) fn drain(&mut self) {
        while let Some(at) = self.line.iter().position(|item| item.due) {
            if !self.up || self.room == 0 {
                return;
            }
            let now = self.now;
            let item = &mut self.line[at];
            if item.cancelled || item.until <= now || item.deadline.is_some_and(|deadline| deadline <= now) {
                self.give_up(at, DropReason::Expired);
            } else {
                self.counts.resent += u64::from(item.seen);
                (item.due, item.seen) = (false, true);
                self.wire.push(item.n);
                self.room -= 1;
            }
        }
    }

    /// These are acknowledged, if they can have been seen. Returns the id under which the reply
    /// goes up.
    pub(crate) fn acknowledged(&mut self, key: u64, cumulative: bool) -> u64 {
        let named = |item: &Item| item.seen && (item.key == key || cumulative && item.key < key);
        let (acked, rest) = self.line.drain(..).partition::<Vec<_>, _>(named);
        self.line = rest;
        match acked.len() {
            0 if self.graves.contains(&key) && !cumulative => self.counts.late += 1,
            0 => self.counts.unmatched += 1,
            some => self.counts.acked += some as u64,
        }
        self.told.extend(acked.iter().map(|item| Told::Delivered(item.n)));
        acked.first().map_or(key, |item| item.original)
    }

    /// The connection is lost, another is to come; with `replay` false nothing that was seen goes
    /// again.
    pub(crate) fn down(&mut self, replay: bool) {
        self.up = false;
        for at in (0..self.line.len()).rev() {
            let item = &mut self.line[at];
            if item.cancelled || item.seen && !(replay && item.safe) {
                self.give_up(at, DropReason::Interrupted(None));
            } else {
                item.due = true;
            }
        }
    }

    /// The session is over.
    pub(crate) fn end(&mut self) {
        self.up = false;
        for at in (0..self.line.len()).rev() {
            self.give_up(at, DropReason::Closed);
        }
    }

    /// Gives up what has waited too long.
    pub(crate) fn expire(&mut self) {
        let now = self.now;
        for at in (0..self.line.len()).rev() {
            let item = &self.line[at];
            let late = item.due && item.deadline.is_some_and(|deadline| deadline <= now);
            if late || item.until <= now {
                self.give_up(at, DropReason::Expired);
            }
        }
    }

    pub(crate) fn give_up(&mut self, at: usize, reason: DropReason) {
        let item = self.line.remove(at);
        let reason = if item.cancelled { DropReason::Cancelled } else { reason };
        let after_the_connection = matches!(reason, DropReason::Interrupted(_) | DropReason::Closed);
        self.counts.expired += u64::from(reason == DropReason::Expired);
        self.counts.interrupted += u64::from(item.seen && after_the_connection);
        if item.seen && !after_the_connection {
            self.graves.insert(item.key);
        }
        match (item.seen, reason) {
            (true, DropReason::Cancelled) => {}
            (true, _) => self.told.push(Told::Dropped(item.n, "interrupted")),
            (false, reason) => self.told.push(Told::Dropped(item.n, reason.as_str())),
        }
    }
}
