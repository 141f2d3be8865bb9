use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tower_ws_core::{Failure, Phase, Ticket, TicketSteps, jsonrpc::Ids};

use crate::error::CallError;

/// The calls that wait for an answer. No I/O, no clock of its own.
///
/// A slot stands behind each id: slot = id modulo the number of slots. An id whose slot is taken is
/// skipped, never reused, so a late answer finds nobody rather than somebody else.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    ids: Ids,
    live: usize,
    unsettled: usize,
    /// No deadline is earlier than this one. It may be out of date, never too late.
    earliest: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    /// 0: free.
    id: u64,
    ticket: Ticket,
    made: Instant,
    limit: Duration,
    waker: Option<Waker>,
    outcome: Option<Outcome>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How a call ended.
pub(crate) type Outcome = Result<Answer, CallError>;

/// What the peer answered, as text: parsing is left to the caller's task.
#[derive(Debug)]
pub(crate) enum Answer {
    Result(Bytes),
    Error(Bytes),
    /// Out of form.
    Broken(Bytes),
}

/// Those to wake, once no lock is held.
pub(crate) type Wakers = Vec<Waker>;

impl Table {
    const SLOTS: usize = 8;

    pub(crate) fn new(ids: Ids) -> Self {
        Self {
            slots: Vec::new(),
            ids,
            live: 0,
            unsettled: 0,
            earliest: None,
        }
    }

    /// Opens a slot for a call, whose caller is woken by this waker once it has ended. The permit is
    /// given back when the slot is free again.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        limit: Duration,
        permit: Option<OwnedSemaphorePermit>,
        waker: Option<Waker>,
    ) -> Opened {
        if self.live * 2 >= self.slots.len() {
            self.grow(now);
        }
        let id = loop {
            let id = self.ids.next_id();
            if self.slots[self.index(id)].id == 0 {
                break id;
            }
        };
        // A limit too long for the clock is no limit.
        let deadline = now.checked_add(limit);
        let earlier = match (deadline, self.earliest) {
            (Some(deadline), Some(earliest)) => deadline < earliest,
            (deadline, _) => deadline.is_some(),
        };
        if earlier {
            self.earliest = deadline;
        }
        self.live += 1;
        self.unsettled += 1;
        let index = self.index(id);
        let slot = &mut self.slots[index];
        slot.ticket.renew(id);
        slot.id = id;
        slot.made = now;
        slot.limit = limit;
        slot._permit = permit;
        slot.waker = waker;
        Opened {
            id,
            ticket: slot.ticket.clone(),
            earlier,
        }
    }

    /// Looks for the outcome; takes it and frees the slot if it is there.
    pub(crate) fn poll(&mut self, id: u64, cx: &Context<'_>) -> Poll<Outcome> {
        let Some(slot) = self.slot(id) else {
            return Poll::Ready(Err(CallError::Closed(None)));
        };
        match slot.outcome.take() {
            Some(outcome) => {
                slot.free();
                self.live -= 1;
                Poll::Ready(outcome)
            }
            None => {
                match &mut slot.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// The caller gave up: frees the slot. `None` if the call was settled already.
    pub(crate) fn abandon(&mut self, id: u64) -> Option<GivenUp> {
        let slot = self.slot(id)?;
        let given_up = slot.outcome.is_none().then(|| slot.give_up());
        slot.free();
        self.live -= 1;
        self.unsettled -= usize::from(given_up.is_some());
        given_up
    }

    /// The call has ended. Nobody may wait any more: then the outcome is let go.
    pub(crate) fn settle(&mut self, id: u64, outcome: Outcome) -> Option<Waker> {
        let slot = self.slot(id).filter(|slot| slot.outcome.is_none())?;
        let waker = slot.settle(outcome);
        self.unsettled -= 1;
        waker
    }

    /// Settles each open call for which `judge` has an outcome.
    pub(crate) fn settle_where(&mut self, mut judge: impl FnMut(&Ticket) -> Option<CallError>) -> Wakers {
        let mut wakers = Wakers::new();
        for slot in &mut self.slots {
            if slot.is_open()
                && let Some(error) = judge(&slot.ticket)
            {
                wakers.extend(slot.settle(Err(error)));
                self.unsettled -= 1;
            }
        }
        wakers
    }

    /// Settles the calls whose time is up. With why there is no connection, if there is none.
    pub(crate) fn expire(&mut self, now: Instant, cause: Option<&Failure>) -> (Vec<GivenUp>, Wakers) {
        let (mut expired, mut wakers) = (Vec::new(), Wakers::new());
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return (expired, wakers);
        }
        self.earliest = None;
        for slot in &mut self.slots {
            let (true, Some(deadline)) = (slot.is_open(), slot.deadline()) else {
                continue;
            };
            if deadline <= now {
                let given_up = slot.give_up();
                expired.push(given_up);
                wakers.extend(slot.settle(Err(CallError::TimedOut {
                    limit: slot.limit,
                    sent: given_up.is_seen,
                    cause: cause.cloned(),
                })));
                self.unsettled -= 1;
            } else if self.earliest.is_none_or(|earliest| deadline < earliest) {
                self.earliest = Some(deadline);
            }
        }
        if self.live == 0 {
            // The time of the last call is over, too: a burst has room only for as long.
            self.slots = Vec::new();
        }
        (expired, wakers)
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// How many calls wait for an outcome.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// When the oldest call was made that waits for an outcome and that the peer may have seen.
    pub(crate) fn oldest_seen(&self) -> Option<Instant> {
        let seen = self
            .slots
            .iter()
            .filter(|slot| slot.is_open() && slot.ticket.may_have_been_seen());
        seen.map(|slot| slot.made).min()
    }

    /// True if the call waits for an outcome and the peer may have seen it.
    pub(crate) fn may_be_answered(&mut self, id: u64) -> bool {
        self.slot(id)
            .is_some_and(|slot| slot.is_open() && slot.ticket.may_have_been_seen())
    }

    fn index(&self, id: u64) -> usize {
        // The number of slots is a power of two.
        id as usize & (self.slots.len() - 1)
    }

    fn slot(&mut self, id: u64) -> Option<&mut Slot> {
        if self.slots.is_empty() || id == 0 {
            return None;
        }
        let index = self.index(id);
        Some(&mut self.slots[index]).filter(|slot| slot.id == id)
    }

    /// Twice the slots. Ids that differ modulo the old number differ modulo the new one.
    fn grow(&mut self, now: Instant) {
        let old = std::mem::take(&mut self.slots);
        self.slots
            .resize_with((old.len() * 2).max(Self::SLOTS), || Slot::new(now));
        for slot in old.into_iter().filter(|slot| slot.id != 0) {
            let index = self.index(slot.id);
            self.slots[index] = slot;
        }
    }
}

/// A slot that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: u64,
    pub(crate) ticket: Ticket,
    /// True when this deadline is now the earliest.
    pub(crate) earlier: bool,
}

/// A call that nobody waits for any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GivenUp {
    pub(crate) id: u64,
    pub(crate) made: Instant,
    /// Where its message was.
    pub(crate) phase: Phase,
    /// Whether the peer may have seen it, on this connection or on one before.
    pub(crate) is_seen: bool,
}

// === impl Slot ===

impl Slot {
    /// A free one.
    fn new(now: Instant) -> Self {
        Self {
            id: 0,
            ticket: Ticket::new(),
            made: now,
            limit: Duration::ZERO,
            waker: None,
            outcome: None,
            _permit: None,
        }
    }

    fn give_up(&mut self) -> GivenUp {
        GivenUp {
            id: self.id,
            made: self.made,
            phase: self.ticket.cancel(),
            // Looked at after that, when it can become seen no more.
            is_seen: self.ticket.may_have_been_seen(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.made.checked_add(self.limit)
    }

    fn is_open(&self) -> bool {
        self.id != 0 && self.outcome.is_none()
    }

    fn settle(&mut self, outcome: Outcome) -> Option<Waker> {
        self.ticket.settle();
        self.outcome = Some(outcome);
        self.waker.take()
    }

    fn free(&mut self) {
        self.id = 0;
        self.outcome = None;
        self.waker = None;
        self._permit = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn poll(table: &mut Table, id: u64) -> Poll<Outcome> {
        table.poll(id, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_late_answer_finds_nobody() {
        let mut table = Table::new(Ids::new());
        let now = Instant::now();
        let first = table.open(now, LIMIT, None, None).id;
        assert_eq!(table.abandon(first).unwrap().phase, Phase::Waiting);
        let others: Vec<_> = (0..100).map(|_| table.open(now, LIMIT, None, None).id).collect();
        assert!(table.settle(first, Ok(Answer::Result(Bytes::new()))).is_none());
        for id in others {
            assert!(poll(&mut table, id).is_pending());
        }
    }

    #[test]
    fn a_deadline_says_whether_the_message_was_sent() {
        let mut table = Table::new(Ids::new());
        let now = Instant::now();
        let waiting = table.open(now, LIMIT, None, None);
        let sent = table.open(now, LIMIT, None, None);
        assert!(sent.ticket.mark_sent());
        let later = table.open(now, LIMIT * 2, None, None);
        assert_eq!(table.earliest(), Some(now + LIMIT));
        let (expired, _) = table.expire(now + LIMIT, None);
        let expired: Vec<_> = expired.iter().map(|call| (call.id, call.made, call.phase)).collect();
        assert_eq!(
            expired,
            [(waiting.id, now, Phase::Waiting), (sent.id, now, Phase::Sent(1))]
        );
        for (id, expected) in [(waiting.id, false), (sent.id, true)] {
            let Poll::Ready(Err(CallError::TimedOut { sent, .. })) = poll(&mut table, id) else {
                panic!()
            };
            assert_eq!(sent, expected);
        }
        assert!(!waiting.ticket.mark_sent(), "a timed out message is never written");
        assert!(poll(&mut table, later.id).is_pending());
        assert_eq!(table.earliest(), Some(now + LIMIT * 2));
    }

    #[test]
    fn the_room_of_a_burst_is_given_back_once_its_time_is_over() {
        let mut table = Table::new(Ids::new());
        let now = Instant::now();
        let calls: Vec<_> = (0..100).map(|_| table.open(now, LIMIT, None, None).id).collect();
        for &id in &calls {
            drop(table.settle(id, Ok(Answer::Result(Bytes::new()))));
        }
        drop(table.expire(now + LIMIT, None));
        assert!(
            calls.iter().all(|&id| poll(&mut table, id).is_ready()),
            "not while there are outcomes"
        );

        let next = table.open(now + LIMIT, LIMIT, None, None).id;
        assert!(table.abandon(next).is_some());
        assert!(!table.slots.is_empty());
        drop(table.expire(now + LIMIT * 2, None));
        assert!(table.slots.is_empty());
        assert!(table.open(now + LIMIT * 2, LIMIT, None, None).id > next);
    }

    #[test]
    fn the_earliest_deadline_is_that_of_those_left() {
        let mut table = Table::new(Ids::new());
        let now = Instant::now();
        for limits in [3, 1, 2, 4] {
            table.open(now, LIMIT * limits, None, None);
        }
        assert_eq!(table.earliest(), Some(now + LIMIT));
        assert!(table.expire(now + LIMIT / 2, None).0.is_empty());
        let mut left = 4;
        for passed in 1..=4 {
            assert_eq!(table.expire(now + LIMIT * passed, None).0.len(), 1);
            left -= 1;
            assert_eq!(table.unsettled(), left);
            let next = (passed < 4).then_some(now + LIMIT * (passed + 1));
            assert_eq!(table.earliest(), next);
        }
    }

    #[test]
    fn what_the_peer_may_have_seen_and_what_is_settled_by_a_judge() {
        let mut table = Table::new(Ids::new());
        let now = Instant::now();
        let unsent = table.open(now, LIMIT, None, None);
        let old = table.open(now + LIMIT, LIMIT, None, None);
        let young = table.open(now + LIMIT * 2, LIMIT, None, None);
        assert!(old.ticket.mark_sent() && young.ticket.mark_sent());
        assert_eq!(table.oldest_seen(), Some(now + LIMIT));
        assert!(!table.may_be_answered(unsent.id) && table.may_be_answered(old.id));
        let judge = |ticket: &Ticket| ticket.is(&old.ticket).then_some(CallError::Closed(None));
        drop(table.settle_where(judge));
        assert_eq!(table.unsettled(), 2);
        assert!(matches!(
            poll(&mut table, old.id),
            Poll::Ready(Err(CallError::Closed(None)))
        ));
        assert_eq!(table.oldest_seen(), Some(now + LIMIT * 2));
        assert!(!table.may_be_answered(old.id));
    }

    proptest! {
        #[test]
        fn ids_rise_and_every_call_has_one_end(steps in prop::collection::vec((0..4u8, any::<u16>()), 1..400)) {
            let mut table = Table::new(Ids::new());
            let now = Instant::now();
            let (mut last, mut open, mut settled) = (0, BTreeSet::new(), BTreeSet::new());
            for (step, pick) in steps {
                let any = |set: &BTreeSet<u64>| set.iter().nth(usize::from(pick) % set.len().max(1)).copied();
                match step {
                    0 | 1 => {
                        let id = table.open(now, LIMIT, None, None).id;
                        prop_assert!(id > last);
                        last = id;
                        open.insert(id);
                    }
                    2 => if let Some(id) = any(&open) {
                        table.settle(id, Ok(Answer::Result(Bytes::from(id.to_string()))));
                        open.remove(&id);
                        settled.insert(id);
                    },
                    _ => if let Some(id) = any(&settled) {
                        settled.remove(&id);
                        let Poll::Ready(Ok(Answer::Result(text))) = poll(&mut table, id) else { panic!() };
                        prop_assert_eq!(text, id.to_string());
                    } else if let Some(id) = any(&open) {
                        open.remove(&id);
                        prop_assert!(table.abandon(id).is_some());
                    },
                }
                prop_assert_eq!(table.unsettled(), open.len());
                prop_assert_eq!(table.live, open.len() + settled.len());
            }
        }
    }
}
