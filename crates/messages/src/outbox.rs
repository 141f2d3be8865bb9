//! What waits to be taken by the stack, and who waits for which outcome. No I/O, no clock.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, Waker},
};

use tower_ws_core::{Failure, Phase, Ticket};

use crate::{
    error::{Reason, SendError},
    sender::Outcome,
};

/// Messages on their way into the stack, by serial numbers that only grow.
#[derive(Debug)]
pub(crate) struct Outbox<M> {
    waiting: VecDeque<Entry<M>>,
    /// Of them those that nobody waits for: number and bytes.
    unattended: (usize, usize),
    /// Taken by the stack, and somebody waits for the outcome.
    open: BTreeMap<u64, Open<M>>,
    /// Of them those that are not known to be written, in order.
    unwritten: VecDeque<u64>,
    last: u64,
}

/// A message that the stack has not taken.
#[derive(Debug)]
struct Entry<M> {
    serial: u64,
    message: M,
    bytes: usize,
    until: Until,
    waker: Option<Waker>,
}

/// What is left of an entry when its message goes into the stack.
#[derive(Debug)]
pub(crate) struct Slip {
    serial: u64,
    until: Until,
    /// Of one whose outcome is awaited.
    pub(crate) ticket: Option<Ticket>,
    waker: Option<Waker>,
}

/// For what its sender waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Until {
    /// Nobody waits.
    Nothing,
    /// The stack has it.
    Taken,
    /// Its outcome is known.
    Settled,
}

#[derive(Debug)]
struct Open<M> {
    ticket: Option<Ticket>,
    outcome: Option<Result<Outcome, SendError<M>>>,
    waker: Option<Waker>,
}

impl<M> Outbox<M> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            unattended: (0, 0),
            open: BTreeMap::new(),
            unwritten: VecDeque::new(),
            last: 0,
        }
    }

    pub(crate) fn push(&mut self, message: M, bytes: usize, until: Until) -> u64 {
        self.last += 1;
        if until == Until::Nothing {
            self.unattended.0 += 1;
            self.unattended.1 += bytes;
        }
        self.waiting.push_back(Entry {
            serial: self.last,
            message,
            bytes,
            until,
            waker: None,
        });
        self.last
    }

    /// How many messages wait that nobody waits for, and how large they are.
    pub(crate) fn unattended(&self) -> (usize, usize) {
        self.unattended
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits, and no outcome is awaited.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.values().all(|open| open.outcome.is_some())
    }

    /// The next message for the stack, which is ready for one. Whether whoever waits for its outcome
    /// waits for a flush, or for an acknowledgement.
    pub(crate) fn pop(&mut self, awaits_flush: bool) -> Option<(M, Slip)> {
        let entry = self.waiting.pop_front()?;
        self.left(&entry);
        let Entry {
            serial,
            message,
            until,
            waker,
            ..
        } = entry;
        let ticket = (until == Until::Settled).then(|| Ticket::tagged(serial));
        let mut slip = Slip {
            serial,
            until,
            ticket,
            waker,
        };
        if let Some(ticket) = slip.ticket.clone() {
            if awaits_flush {
                self.unwritten.push_back(serial);
            }
            let open = Open {
                ticket: Some(ticket),
                outcome: None,
                waker: slip.waker.take(),
            };
            self.open.insert(serial, open);
        }
        Some((message, slip))
    }

    fn left(&mut self, entry: &Entry<M>) {
        if entry.until == Until::Nothing {
            self.unattended.0 -= 1;
            self.unattended.1 -= entry.bytes;
        }
    }

    /// Takes back what the stack has not taken.
    pub(crate) fn take_back(&mut self, serial: u64) -> Option<M> {
        let at = self.waiting.binary_search_by_key(&serial, |entry| entry.serial).ok()?;
        let entry = self.waiting.remove(at)?;
        self.left(&entry);
        Some(entry.message)
    }

    /// The session has ended: whoever waits gets its message back. Gives those that nobody waits for.
    pub(crate) fn end(&mut self, cause: Option<&Failure>) -> (Vec<M>, Vec<Waker>) {
        let (mut left, mut wakers) = (Vec::new(), Vec::new());
        self.unattended = (0, 0);
        for entry in std::mem::take(&mut self.waiting) {
            if entry.until == Until::Nothing {
                left.push(entry.message);
                continue;
            }
            let error = SendError::new(Some(entry.message), Reason::Closed(cause.cloned()));
            self.open.insert(entry.serial, Open::ended(error));
            wakers.extend(entry.waker);
        }
        wakers.extend(self.settle_where(|ticket| {
            Some(match ticket.may_have_been_seen() {
                true => Reason::Interrupted(cause.cloned()),
                false => Reason::Closed(cause.cloned()),
            })
        }));
        (left, wakers)
    }

    /// The sender waits for this.
    pub(crate) fn poll(&mut self, serial: u64, until: Until, cx: &Context<'_>) -> Poll<Result<Outcome, SendError<M>>> {
        if let Ok(at) = self.waiting.binary_search_by_key(&serial, |entry| entry.serial) {
            park(&mut self.waiting[at].waker, cx);
            return Poll::Pending;
        }
        let Some(open) = self.open.get_mut(&serial) else {
            // Taken, or nobody knows of it any more.
            return Poll::Ready(match until {
                Until::Settled => Err(SendError::new(None, Reason::Closed(None))),
                _ => Ok(Outcome::Taken),
            });
        };
        match open.outcome.take() {
            Some(outcome) => {
                self.open.remove(&serial);
                Poll::Ready(outcome)
            }
            None => {
                park(&mut open.waker, cx);
                Poll::Pending
            }
        }
    }

    /// The sender waits no longer: whether the peer may have seen the message, if the stack has it.
    pub(crate) fn give_up(&mut self, serial: u64) -> Option<bool> {
        let open = self.open.remove(&serial)?;
        let ticket = open.ticket?;
        // One that was not sent is dropped by whoever has it.
        let _ = ticket.cancel();
        Some(ticket.may_have_been_seen())
    }

    /// The stack has taken the message of this slip, or has failed with it although it had been
    /// ready for one: then nobody has it any more.
    #[must_use]
    pub(crate) fn taken(&mut self, slip: Slip, is_taken: bool) -> Option<Waker> {
        if is_taken {
            return slip.waker;
        }
        let error = SendError::new(None, Reason::Closed(None));
        match slip.until {
            Until::Nothing => None,
            Until::Taken => {
                self.open.insert(slip.serial, Open::ended(error));
                slip.waker
            }
            Until::Settled => self.settle(slip.serial, Err(error)),
        }
    }

    /// The outcome of a message is known. Nobody may wait for it: then it is let go.
    #[must_use]
    pub(crate) fn settle(&mut self, serial: u64, outcome: Result<Outcome, SendError<M>>) -> Option<Waker> {
        let open = self.open.get_mut(&serial).filter(|open| open.outcome.is_none())?;
        open.outcome = Some(outcome);
        open.waker.take()
    }

    /// Does somebody wait for the outcome of this message?
    pub(crate) fn is_awaited(&self, serial: u64) -> bool {
        self.open.get(&serial).is_some_and(|open| open.outcome.is_none())
    }

    /// Has the stack sent a message that is not known to be written?
    pub(crate) fn has_unwritten(&mut self) -> bool {
        self.forget_settled();
        let first = self.unwritten.front().and_then(|serial| self.open.get(serial));
        first.and_then(|open| open.ticket.as_ref()).is_some_and(is_sent)
    }

    /// All that was sent until now is flushed.
    #[must_use]
    pub(crate) fn written(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while self.has_unwritten() {
            if let Some(serial) = self.unwritten.pop_front() {
                wakers.extend(self.settle(serial, Ok(Outcome::Written)));
            }
        }
        wakers
    }

    fn forget_settled(&mut self) {
        while let Some(serial) = self.unwritten.front()
            && !self.is_awaited(*serial)
        {
            self.unwritten.pop_front();
        }
    }

    /// Settles each that somebody waits for and for which `judge` has a reason.
    #[must_use]
    pub(crate) fn settle_where(&mut self, mut judge: impl FnMut(&Ticket) -> Option<Reason>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for open in self.open.values_mut().filter(|open| open.outcome.is_none()) {
            if let Some(reason) = open.ticket.as_ref().and_then(&mut judge) {
                open.outcome = Some(Err(SendError::new(None, reason)));
                wakers.extend(open.waker.take());
            }
        }
        wakers
    }
}

impl<M> Open<M> {
    fn ended(error: SendError<M>) -> Self {
        Self {
            ticket: None,
            outcome: Some(Err(error)),
            waker: None,
        }
    }
}

fn is_sent(ticket: &Ticket) -> bool {
    matches!(ticket.phase(), Phase::Sent(_))
}

fn park(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use tower_ws_core::TicketSteps;

    use super::*;

    #[test]
    fn what_awaits_an_acknowledgement_leaves_nothing_behind() {
        let mut outbox = Outbox::new();
        for _ in 0..100 {
            let serial = outbox.push("a", 1, Until::Settled);
            let (_, slip) = outbox.pop(false).unwrap();
            assert!(outbox.taken(slip, true).is_none());
            let _ = outbox.settle(serial, Ok(Outcome::Acknowledged));
            let polled = outbox.poll(serial, Until::Settled, &Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(Outcome::Acknowledged))));
        }
        assert!(outbox.is_idle() && outbox.open.is_empty() && outbox.unwritten.is_empty());
    }

    #[test]
    fn a_sink_that_fails_is_told_of() {
        let mut outbox = Outbox::new();
        for until in [Until::Taken, Until::Settled] {
            let serial = outbox.push("a", 1, until);
            let (_, slip) = outbox.pop(true).unwrap();
            let _ = outbox.taken(slip, false);
            let polled = outbox.poll(serial, until, &Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Err(error)) if matches!(error.reason(), Reason::Closed(_))));
        }
        assert!(outbox.open.is_empty() && !outbox.has_unwritten() && outbox.unwritten.is_empty());
    }

    fn poll(
        outbox: &mut Outbox<&'static str>,
        serial: u64,
        until: Until,
    ) -> Poll<Result<Outcome, SendError<&'static str>>> {
        outbox.poll(serial, until, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_nobody_waits_for_is_counted_while_it_waits() {
        let mut outbox = Outbox::new();
        outbox.push("a", 3, Until::Nothing);
        let back = outbox.push("b", 4, Until::Nothing);
        outbox.push("c", 5, Until::Taken);
        assert_eq!((outbox.unattended(), outbox.waiting()), ((2, 7), 3));
        assert_eq!(outbox.take_back(back), Some("b"));
        assert_eq!(outbox.take_back(back), None);
        assert_eq!((outbox.unattended(), outbox.waiting()), ((1, 3), 2));
        assert!(outbox.pop(true).is_some());
        assert_eq!((outbox.unattended(), outbox.waiting()), ((0, 0), 1));
        assert!(outbox.pop(true).is_some());
        assert_eq!((outbox.unattended(), outbox.waiting()), ((0, 0), 0));
        assert!(outbox.is_idle());
    }

    #[test]
    fn idle_is_nothing_that_waits_and_nothing_that_is_awaited() {
        let mut outbox = Outbox::new();
        let serial = outbox.push("a", 1, Until::Settled);
        assert!(!outbox.is_idle());
        let (_, slip) = outbox.pop(true).unwrap();
        let _ = outbox.taken(slip, true);
        assert!(!outbox.is_idle() && outbox.is_awaited(serial));
        let _ = outbox.settle(serial, Ok(Outcome::Written));
        assert!(outbox.is_idle() && !outbox.is_awaited(serial));
        // One that waits beside one that is settled.
        outbox.push("b", 1, Until::Nothing);
        assert!(!outbox.is_idle());
    }

    #[test]
    fn who_gives_up_learns_whether_it_may_have_been_seen() {
        let mut outbox = Outbox::new();
        for sent in [false, true] {
            let serial = outbox.push("a", 1, Until::Settled);
            assert_eq!(outbox.give_up(serial), None, "the stack does not have it");
            let (_, slip) = outbox.pop(true).unwrap();
            let ticket = slip.ticket.clone().unwrap();
            let _ = outbox.taken(slip, true);
            assert!(!sent || ticket.mark_sent());
            assert_eq!(outbox.give_up(serial), Some(sent));
            assert!(ticket.is_cancelled());
            assert_eq!(outbox.give_up(serial), None);
        }
    }

    #[test]
    fn a_flush_settles_what_was_sent_before_it_and_nothing_else() {
        let mut outbox = Outbox::new();
        let serials: Vec<_> = (0..3).map(|_| outbox.push("a", 1, Until::Settled)).collect();
        for n in 0..3 {
            let (_, slip) = outbox.pop(true).unwrap();
            // The last is still with a layer.
            assert!(n == 2 || slip.ticket.as_ref().unwrap().mark_sent());
            let _ = outbox.taken(slip, true);
        }
        assert!(outbox.has_unwritten());
        let _ = outbox.written();
        assert!(!outbox.has_unwritten());
        for serial in &serials[..2] {
            assert!(matches!(
                poll(&mut outbox, *serial, Until::Settled),
                Poll::Ready(Ok(Outcome::Written))
            ));
        }
        assert!(poll(&mut outbox, serials[2], Until::Settled).is_pending());
    }

    #[test]
    fn at_the_end_each_gets_its_message_back_or_its_reason() {
        let mut outbox = Outbox::new();
        let sent = outbox.push("sent", 1, Until::Settled);
        let (_, slip) = outbox.pop(true).unwrap();
        assert!(slip.ticket.as_ref().unwrap().mark_sent());
        let _ = outbox.taken(slip, true);
        let waits = outbox.push("waits", 1, Until::Taken);
        outbox.push("alone", 1, Until::Nothing);
        assert_eq!(outbox.end(None).0, ["alone"]);
        assert_eq!((outbox.unattended(), outbox.waiting()), ((0, 0), 0));
        let Poll::Ready(Err(error)) = poll(&mut outbox, sent, Until::Settled) else {
            panic!("it is settled")
        };
        assert!(matches!(error.reason(), Reason::Interrupted(None)));
        let Poll::Ready(Err(error)) = poll(&mut outbox, waits, Until::Taken) else {
            panic!("it is settled")
        };
        assert!(matches!(error.reason(), Reason::Closed(None)));
        assert_eq!(error.into_message(), Some("waits"));
        // Nobody knows of them any more; what was only to be taken was.
        assert!(matches!(poll(&mut outbox, sent, Until::Settled), Poll::Ready(Err(_))));
        assert!(matches!(
            poll(&mut outbox, waits, Until::Taken),
            Poll::Ready(Ok(Outcome::Taken))
        ));
    }
}
