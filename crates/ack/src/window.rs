mod kept;
mod retired;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::{DropReason, Event, Failure, Outgoing, Pace, Phase, TicketSteps, later};

use self::{kept::Kept, retired::Retired};
use crate::{
    handle::Snapshot,
    placed::Placed,
    sorted::Sorted,
    strategy::{Keys, Strategy},
};

/// What was accepted and is not acknowledged, and what is to be done about it. No I/O: time is
/// passed in, and what there is to tell is left in a queue.
#[derive(Debug)]
pub(crate) struct Window<M, K> {
    limits: Limits,
    /// By the order in which they were accepted.
    kept: Placed<Kept<M, K>>,
    index: Sorted<K, u64>,
    /// Which of them are to be handed down, first or again.
    due: BTreeSet<u64>,
    retired: Retired<K>,
    events: VecDeque<Event<M>>,
    next: u64,
    /// Why the last connection went down, while there is no other.
    cause: Option<Failure>,
    pace: Pace,
    /// How much has come in on this connection, by any measure that only rises.
    heard: u64,
    /// No message's time is over before this. It may be out of date, never too late.
    earliest: Option<Instant>,
    /// When the time of the message that was kept last is over. If nothing is kept then, neither is
    /// the room that many took at once.
    last_until: Option<Instant>,
    stats: Snapshot,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) suspicions: u32,
    /// Is what a store keeps given up for them, too?
    pub(crate) recorded_too: bool,
}

impl<M, K> Window<M, K>
where
    M: Clone,
    K: Clone + Ord,
{
    /// Room for so many stays: more come only when much is given up at once.
    const FEW_EVENTS: usize = 64;

    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            kept: Placed::new(),
            index: Sorted::new(),
            due: BTreeSet::new(),
            retired: Retired::new(),
            events: VecDeque::new(),
            next: 0,
            cause: None,
            pace: Pace::default(),
            heard: 0,
            earliest: None,
            last_until: None,
            stats: Snapshot::default(),
        }
    }

    /// Counts on from these.
    pub(crate) fn counting_from(mut self, counts: Snapshot) -> Self {
        self.stats = counts;
        self
    }

    /// True when nothing more is to be accepted. So the bytes go over the limit by one message at
    /// most.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= self.limits.messages.max(1) || self.stats.bytes >= self.limits.bytes.max(1)
    }

    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(crate) fn due(&self) -> usize {
        self.due.len()
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(crate) fn pop_event(&mut self) -> Option<Event<M>> {
        let event = self.events.pop_front()?;
        if self.events.is_empty() && self.events.capacity() > Self::FEW_EVENTS {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    pub(crate) fn stats(&self) -> Snapshot {
        Snapshot {
            in_flight: self.kept.len(),
            ..self.stats
        }
    }

    /// Gives back a message that was not kept.
    pub(crate) fn refuse(&mut self, outgoing: Outgoing<M>, reason: DropReason) {
        self.events.push_back(Event::Dropped(outgoing, reason));
    }

    /// Keeps a message, and makes it due.
    pub(crate) fn accept(&mut self, now: Instant, key: K, outgoing: Outgoing<M>, bytes: usize) {
        let kept = self.keep(now, key, outgoing, bytes);
        let serial = kept.map(|(serial, _)| serial);
        self.due.extend(serial);
    }

    /// Keeps a message, and returns it as it is to be handed down at once; its number goes with it.
    pub(crate) fn accept_next<S>(
        &mut self,
        now: Instant,
        key: K,
        outgoing: Outgoing<M>,
        bytes: usize,
        strategy: &mut S,
    ) -> Option<(u64, Outgoing<M>)>
    where
        S: Strategy<M, Key = K>,
    {
        let (serial, kept) = self.keep(now, key, outgoing, bytes)?;
        let item = match kept.ticket.may_have_been_seen() {
            true => self.hand_down(serial, now, strategy)?,
            false => kept.item(),
        };
        Some((serial, item))
    }

    /// A message that is kept from now on, and its number; `None` if it is refused.
    fn keep(
        &mut self,
        now: Instant,
        key: K,
        mut outgoing: Outgoing<M>,
        bytes: usize,
    ) -> Option<(u64, &mut Kept<M, K>)> {
        let serial = self.next;
        if self.retired.contains(&key) || !self.index.insert(key.clone(), serial) {
            let reason = DropReason::Refused("another message with its key is unacknowledged, or was given up lately");
            self.refuse(outgoing, reason);
            return None;
        }
        self.next += 1;
        self.stats.bytes += bytes;
        let own = outgoing.deadline.unwrap_or(now);
        let until = later(now, self.limits.timeout).max(own);
        self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
        self.last_until = Some(until);
        let ticket = outgoing.ticket.take();
        let kept = Kept {
            is_callers: ticket.is_some(),
            ticket: ticket.unwrap_or_default(),
            outgoing,
            key,
            original: None,
            bytes,
            until,
            overdue: false,
            handed_down: now,
            repeated: false,
            heard: self.heard,
            suspicions: 0,
        };
        Some((serial, self.kept.insert(serial, kept)))
    }

    /// The next message to hand down, in the order of acceptance, and its number.
    pub(crate) fn next_due<S>(&mut self, now: Instant, strategy: &mut S) -> Option<(u64, Outgoing<M>)>
    where
        S: Strategy<M, Key = K>,
    {
        while let Some(&serial) = self.due.first() {
            let Some(kept) = self.kept.get(serial) else {
                self.due.remove(&serial);
                continue;
            };
            if let Some(reason) = kept.drop_reason(now) {
                self.give_up(serial, reason);
            } else if !kept.may_go(strategy) {
                self.give_up(serial, DropReason::Interrupted(None));
            } else {
                self.due.remove(&serial);
                return self.hand_down(serial, now, strategy).map(|item| (serial, item));
            }
        }
        None
    }

    fn hand_down<S>(&mut self, serial: u64, now: Instant, strategy: &mut S) -> Option<Outgoing<M>>
    where
        S: Strategy<M, Key = K>,
    {
        let kept = self.kept.get_mut(serial)?;
        let mut item = kept.item();
        if kept.ticket.may_have_been_seen() {
            kept.repeated = true;
            self.stats.resent += 1;
            if let Some((key, message)) = strategy.again(&kept.give_back())
                && self.index.insert(key.clone(), serial)
            {
                item.message = message;
                let old = std::mem::replace(&mut kept.key, key);
                self.index.remove(&old);
                self.retired.insert(old.clone());
                kept.original.get_or_insert(old);
            }
        }
        kept.handed_down = now;
        kept.heard = self.heard;
        Some(item)
    }

    /// It could not be handed down after all.
    pub(crate) fn unsent(&mut self, serial: u64) {
        if self.kept.get(serial).is_some() {
            self.due.insert(serial);
        }
    }

    /// A layer below gave this one back. False if it is not kept.
    pub(crate) fn returned(&mut self, key: &K, reason: DropReason) -> bool {
        let Some(&serial) = self.index.get(key) else {
            return false;
        };
        let Some(kept) = self.kept.get(serial) else {
            return false;
        };
        match reason {
            DropReason::Disconnected if kept.overdue => self.give_up(serial, DropReason::Expired),
            // It never reached the socket: the next connection gets it, unless it was for that one.
            DropReason::Disconnected if kept.outgoing.epoch.is_none() => drop(self.due.insert(serial)),
            reason => self.give_up(serial, reason),
        }
        true
    }

    /// These are acknowledged, and come up as delivered if asked for. Returns the caller's own key
    /// of one that went again under another.
    pub(crate) fn acknowledged(&mut self, now: Instant, keys: Keys<K>, deliver: bool) -> Option<K> {
        match keys {
            Keys::One(key) => self.settle(now, &key, deliver),
            Keys::UpTo(key) => {
                let seen = self
                    .index
                    .up_to(&key)
                    .filter(|(_, serial)| self.may_be_acknowledged(**serial));
                let keys: Vec<K> = seen.map(|(key, _)| key.clone()).collect();
                if keys.is_empty() {
                    self.stats.unmatched += 1;
                }
                keys.iter().for_each(|key| drop(self.settle(now, key, deliver)));
                None
            }
            Keys::Each(keys) => {
                keys.iter().for_each(|key| drop(self.settle(now, key, deliver)));
                None
            }
        }
    }

    fn settle(&mut self, now: Instant, key: &K, deliver: bool) -> Option<K> {
        let (kept, events, stats) = (&mut self.kept, &mut self.events, &mut self.stats);
        let mut settled = None;
        let serial = self.index.remove_if(key, |serial| {
            settled = kept.settle(*serial, |kept| {
                // Nobody can acknowledge what was not sent.
                if !kept.ticket.may_have_been_seen() {
                    return None;
                }
                // An acknowledgement of one that went twice may be that of either.
                if !kept.repeated {
                    stats.sample(now.saturating_duration_since(kept.handed_down));
                }
                if deliver {
                    events.push_back(Event::Delivered(kept.give_back()));
                }
                Some((kept.bytes, kept.original.take()))
            });
            settled.is_some()
        });
        let (Some(serial), Some((bytes, original))) = (serial, settled) else {
            match self.retired.contains(key) {
                true => self.stats.late += 1,
                false => self.stats.unmatched += 1,
            }
            return None;
        };
        self.forget(serial, bytes);
        self.stats.acked += 1;
        original
    }

    /// Nobody can acknowledge what was not sent.
    fn may_be_acknowledged(&self, serial: u64) -> bool {
        self.kept
            .get(serial)
            .is_some_and(|kept| kept.ticket.may_have_been_seen())
    }

    /// So much has come in so far.
    pub(crate) fn set_heard(&mut self, heard: u64) {
        self.heard = heard;
    }

    /// There is a connection.
    pub(crate) fn up(&mut self) {
        self.cause = None;
    }

    /// The connection is lost, and there may be another: makes due what may go again, and gives up
    /// the rest; everything that may have been seen, if the peer closed because it was too big.
    pub(crate) fn down<S>(&mut self, cause: &Failure, strategy: &S)
    where
        S: Strategy<M, Key = K>,
    {
        self.cause = Some(cause.clone());
        // What was refused once will be again.
        let replay = !cause.is_too_large();
        let serials: Vec<u64> = self.kept.iter().map(|(serial, _)| serial).collect();
        for serial in serials {
            let Some(kept) = self.kept.get_mut(serial) else {
                continue;
            };
            let seen = kept.ticket.may_have_been_seen();
            // One that a store keeps is not given up for it, unless it is to be: it goes on, with the
            // redials' delays.
            let is_suspect = kept.suspect(self.heard, self.limits.suspicions)
                && (self.limits.recorded_too || kept.outgoing.record.is_none());
            if seen && !(replay && !is_suspect && kept.may_go(strategy)) {
                self.give_up(serial, DropReason::Interrupted(None));
            } else if kept.outgoing.epoch.is_some() {
                self.give_up(serial, DropReason::Disconnected);
            } else if kept.overdue {
                self.give_up(serial, DropReason::Expired);
            } else if kept.ticket.is_abandoned()
                || matches!(kept.ticket.phase(), Phase::Sent(_)) && !kept.ticket.mark_held()
            {
                // It may have been abandoned since we looked.
                self.give_up(serial, DropReason::Cancelled);
            } else {
                self.due.insert(serial);
            }
        }
    }

    /// There will not be another connection: gives everything back.
    pub(crate) fn end(&mut self, cause: Option<&Failure>) {
        self.cause = cause.cloned().or(self.cause.take());
        let serials: Vec<u64> = self.kept.iter().map(|(serial, _)| serial).collect();
        serials
            .into_iter()
            .for_each(|serial| self.give_up(serial, DropReason::Closed));
    }

    /// Gives up what nobody waits for any more, to make room.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if !self.pace.may_look(now, self.kept.len()) {
            return;
        }
        let abandoned: Vec<u64> = self
            .kept
            .iter()
            // What is below and unsent comes back by itself.
            .filter(|(serial, kept)| {
                kept.ticket.is_abandoned() && (kept.ticket.may_have_been_seen() || self.due.contains(serial))
            })
            .map(|(serial, _)| serial)
            .collect();
        abandoned
            .into_iter()
            .for_each(|serial| self.give_up(serial, DropReason::Cancelled));
    }

    /// When [`sweep`](Self::sweep) looks next.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.pace.next()
    }

    /// When the first message's time may be over: if it is earlier than before, so is the next look at
    /// the clock.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// When to look at the clock next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let due = self
            .due
            .iter()
            .filter_map(|serial| self.kept.get(*serial)?.outgoing.deadline);
        self.earliest.into_iter().chain(due).min().or(self.last_until)
    }

    /// Gives up what has waited too long, and what it took while there was more of it.
    pub(crate) fn expire(&mut self, now: Instant) {
        let due = self.due.iter().copied();
        let due: Vec<u64> = due
            .filter(|serial| {
                self.kept
                    .get(*serial)
                    .is_some_and(|kept| kept.drop_reason(now).is_some())
            })
            .collect();
        due.into_iter()
            .for_each(|serial| self.give_up(serial, DropReason::Expired));
        if self.earliest.is_some_and(|earliest| earliest <= now) {
            let over = self.kept.iter().filter(|(_, kept)| kept.until <= now);
            let over: Vec<u64> = over.map(|(serial, _)| serial).collect();
            for serial in over {
                match self.kept.get_mut(serial) {
                    Some(kept) if !kept.ticket.may_have_been_seen() => kept.overdue = true,
                    _ => self.give_up(serial, DropReason::Expired),
                }
            }
            let kept = self.kept.iter().filter(|(_, kept)| !kept.overdue);
            self.earliest = kept.map(|(_, kept)| kept.until).min();
        }
        if self.last_until.take_if(|until| *until <= now).is_some() && self.kept.len() == 0 {
            (self.kept, self.index) = (Placed::new(), Sorted::new());
        }
    }

    /// Lets go of a message, and says truthfully how it ended: of one that may have been seen, that
    /// it was interrupted, and by what.
    fn give_up(&mut self, serial: u64, reason: DropReason) {
        let Some(kept) = self.remove(serial) else { return };
        let reason = if kept.ticket.is_abandoned() {
            DropReason::Cancelled
        } else {
            reason
        };
        match reason {
            DropReason::Expired => self.stats.expired += 1,
            DropReason::Interrupted(_) | DropReason::Closed if kept.ticket.may_have_been_seen() => {
                self.stats.interrupted += 1;
            }
            _ => {}
        }
        if !kept.ticket.may_have_been_seen() {
            self.events.push_back(Event::Dropped(kept.give_back(), reason));
            return;
        }
        // Only the connection that it went out on brings its acknowledgement, and after these there
        // is none.
        if !matches!(reason, DropReason::Interrupted(_) | DropReason::Closed) {
            self.retired.insert(kept.key.clone());
        }
        // Of one that was written, and that nobody waits for, there is nothing to say.
        if reason != DropReason::Cancelled {
            let reason = DropReason::Interrupted(self.cause.clone());
            self.events.push_back(Event::Dropped(kept.give_back(), reason));
        }
    }

    fn remove(&mut self, serial: u64) -> Option<Kept<M, K>> {
        let kept = self.kept.remove(serial)?;
        self.index.remove(&kept.key);
        self.forget(serial, kept.bytes);
        Some(kept)
    }

    /// One of this size is kept no more.
    fn forget(&mut self, serial: u64, bytes: usize) {
        self.due.remove(&serial);
        self.stats.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests;
