use std::fmt;

use super::atomics::{Arc, AtomicU64, Ordering};

/// Where one message is: a small state shared by whoever waits for the message and the layers it
/// passes.
///
/// A ticket moves only forward, by epoch and then by [phase](Phase). Each [step](TicketSteps) has
/// one owner; the side that waits may [`cancel`](Ticket::cancel) at any time.
///
/// So a caller who gives up takes the message out of whatever queue it stands in, and a failed call
/// can say truthfully whether the peer may have seen it
/// ([`may_have_been_seen`](Ticket::may_have_been_seen)).
///
/// One allocation, one atomic. Clones share the state.
#[derive(Clone)]
pub struct Ticket(Arc<State>);

struct State {
    state: AtomicU64,
    tag: u64,
}

/// The layout: phase in the two low bits, two flags, the epoch in the rest.
const PHASE: u64 = 0b11;
const WAITING: u64 = 0;
const SENT: u64 = 1;
const HELD: u64 = 2;
const SETTLED: u64 = 3;
const CANCELLED: u64 = 1 << 2;
const SEEN: u64 = 1 << 3;
const EPOCH_SHIFT: u32 = 8;

impl Ticket {
    /// A ticket of a message that has not been written.
    pub fn new() -> Self {
        Self::tagged(0)
    }

    /// The same, with a number by which the one who waits knows it again.
    pub fn tagged(tag: u64) -> Self {
        Self(Arc::new(State {
            state: AtomicU64::new(WAITING),
            tag,
        }))
    }

    /// The number given to [`tagged`](Self::tagged); 0 for a new ticket.
    pub fn tag(&self) -> u64 {
        self.0.tag
    }

    /// True if both are of the same message.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Where the message is now.
    pub fn phase(&self) -> Phase {
        Phase::of(self.0.state.load(Ordering::Acquire))
    }

    /// True when bytes of the message may have reached the peer, in this epoch or an earlier one.
    pub fn may_have_been_seen(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & SEEN != 0
    }

    /// True when nobody waits any more. A layer that still holds the message drops it.
    pub fn is_cancelled(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// True when nobody waits for an outcome: the caller has given up, or knows it. A layer that
    /// still holds the message lets go of it.
    pub fn is_abandoned(&self) -> bool {
        let state = self.0.state.load(Ordering::Acquire);
        state & CANCELLED != 0 || state & PHASE == SETTLED
    }

    /// Nobody waits any more. Returns where the message was at that moment: if [`Phase::Waiting`],
    /// it will not be written in this epoch or any other.
    pub fn cancel(&self) -> Phase {
        Phase::of(self.0.state.fetch_or(CANCELLED, Ordering::AcqRel))
    }

    fn step(&self, next: impl Fn(u64) -> Option<u64>) -> bool {
        self.0
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .is_ok()
    }
}

/// The steps of a [`Ticket`], for those who write layers: an application that took one would lie to
/// the layers below.
///
/// | step | who takes it |
/// |---|---|
/// | [`renew`](Self::renew) | the caller's side, for its next message |
/// | [`enter`](Self::enter) | reconnect, when it passes the message to the connection of an epoch |
/// | [`mark_sent`](Self::mark_sent) | the lift, right before the codec gets the message |
/// | [`mark_held`](Self::mark_held) | a layer that keeps a sent message to send it again |
/// | [`settle`](Self::settle) | the caller's side, when the outcome is known |
pub trait TicketSteps {
    /// Makes this ticket as good as [a new one](Ticket::tagged), without an allocation if it has no
    /// other clone.
    fn renew(&mut self, tag: u64);

    /// The message is passed to the connection of `epoch`. Ignored if the ticket is already further
    /// on.
    fn enter(&self, epoch: u64);

    /// The codec is about to get the message. False if it was cancelled or settled: then it must
    /// not be written.
    #[must_use]
    fn mark_sent(&self) -> bool;

    /// The connection is gone and a layer keeps the message to send it again. False if it was never
    /// sent, was cancelled or is settled: then it must not be sent again.
    #[must_use]
    fn mark_held(&self) -> bool;

    /// The outcome is known. Final.
    fn settle(&self);
}

impl TicketSteps for Ticket {
    fn renew(&mut self, tag: u64) {
        match Arc::get_mut(&mut self.0) {
            Some(state) => {
                *state = State {
                    state: AtomicU64::new(WAITING),
                    tag,
                }
            }
            None => *self = Self::tagged(tag),
        }
    }

    fn enter(&self, epoch: u64) {
        self.step(|state| {
            let forward = state >> EPOCH_SHIFT < epoch && state & PHASE != SETTLED;
            forward.then_some(epoch << EPOCH_SHIFT | state & (CANCELLED | SEEN) | WAITING)
        });
    }

    fn mark_sent(&self) -> bool {
        self.step(|state| {
            let open = state & CANCELLED == 0 && state & PHASE == WAITING;
            // Without a reconnect layer nobody numbers the epochs: there is one, the first.
            let epoch = (state >> EPOCH_SHIFT).max(1);
            open.then_some(epoch << EPOCH_SHIFT | SEEN | SENT)
        })
    }

    fn mark_held(&self) -> bool {
        self.step(|state| {
            let open = state & CANCELLED == 0 && state & PHASE == SENT;
            open.then_some(state & !PHASE | HELD)
        })
    }

    fn settle(&self) {
        self.step(|state| Some(state | SETTLED));
    }
}

impl Default for Ticket {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("phase", &self.phase())
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

/// How far a message has come. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Nothing of it has been written in the present epoch.
    Waiting,
    /// The codec of this epoch's connection has it: the peer may have seen it.
    Sent(u64),
    /// It was sent, the connection is gone, and a layer keeps it to send it again.
    Held,
    /// The outcome is known.
    Settled,
}

impl Phase {
    fn of(state: u64) -> Self {
        match state & PHASE {
            WAITING => Self::Waiting,
            SENT => Self::Sent(state >> EPOCH_SHIFT),
            HELD => Self::Held,
            _ => Self::Settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_waits_for_what_is_cancelled_or_settled() {
        let flags = |ticket: &Ticket| (ticket.is_cancelled(), ticket.is_abandoned());
        let ticket = Ticket::new();
        assert_eq!(flags(&ticket), (false, false));
        assert!(ticket.mark_sent());
        assert_eq!(flags(&ticket), (false, false));
        ticket.settle();
        assert_eq!(flags(&ticket), (false, true));
        let ticket = Ticket::new();
        let _ = ticket.cancel();
        assert_eq!(flags(&ticket), (true, true));
    }

    #[test]
    fn a_cancelled_message_is_never_written() {
        let ticket = Ticket::new();
        assert_eq!(ticket.cancel(), Phase::Waiting);
        assert!(!ticket.mark_sent());
        assert!(!ticket.may_have_been_seen());
    }

    #[test]
    fn a_resend_counts_as_waiting_but_stays_seen() {
        let ticket = Ticket::new();
        ticket.enter(1);
        assert!(ticket.mark_sent());
        assert!(ticket.mark_held());
        ticket.enter(2);
        assert_eq!(ticket.phase(), Phase::Waiting);
        assert!(ticket.may_have_been_seen());
        assert!(ticket.mark_sent());
        assert_eq!(ticket.phase(), Phase::Sent(2));
    }

    #[test]
    fn only_what_was_sent_can_be_held() {
        let ticket = Ticket::new();
        assert!(!ticket.mark_held());
        ticket.enter(3);
        assert!(!ticket.mark_held());
        assert!(ticket.mark_sent() && ticket.mark_held());
        assert_eq!(ticket.phase(), Phase::Held);
        assert!(!ticket.mark_held(), "it is held already");
        ticket.settle();
        assert_eq!((ticket.mark_held(), ticket.phase()), (false, Phase::Settled));
    }

    #[test]
    fn a_ticket_is_itself_and_its_clones() {
        let (ticket, other) = (Ticket::new(), Ticket::new());
        assert!(ticket.is(&ticket.clone()));
        assert!(!ticket.is(&other));
    }

    #[test]
    fn renewing_spares_a_shared_state() {
        let mut ticket = Ticket::new();
        let other = ticket.clone();
        other.settle();
        ticket.renew(3);
        assert_eq!((ticket.phase(), other.phase()), (Phase::Waiting, Phase::Settled));
        assert_eq!((ticket.tag(), other.tag()), (3, 0));
    }

    proptest! {
        #[test]
        fn only_forward(steps in prop::collection::vec((0..5u8, 1..5u64), 0..60)) {
            let ticket = Ticket::new();
            let rank = |t: &Ticket| {
                let state = t.0.state.load(Ordering::Relaxed);
                if state & PHASE == SETTLED { u64::MAX } else { state >> EPOCH_SHIFT << 2 | state & PHASE }
            };
            let mut before = rank(&ticket);
            for (step, epoch) in steps {
                match step {
                    0 => ticket.enter(epoch),
                    1 => drop(ticket.mark_sent()),
                    2 => drop(ticket.mark_held()),
                    3 => ticket.settle(),
                    _ => drop(ticket.cancel()),
                }
                prop_assert!(rank(&ticket) >= before);
                before = rank(&ticket);
            }
        }
    }
}
