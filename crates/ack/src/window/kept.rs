use tokio::time::Instant;
use tower_ws_core::{DropReason, Outgoing, Phase, Replay, Ticket};

use crate::strategy::Strategy;

/// A message that is not acknowledged.
#[derive(Debug)]
pub(super) struct Kept<M, K> {
    /// As the caller gave it, but for the ticket.
    pub(super) outgoing: Outgoing<M>,
    /// The caller's, or one of our own: without it nobody knows whether the message was written.
    pub(super) ticket: Ticket,
    /// The caller has one.
    pub(super) is_callers: bool,
    /// Under which it awaits.
    pub(super) key: K,
    /// The caller's key, if it went again under another.
    pub(super) original: Option<K>,
    pub(super) bytes: usize,
    pub(super) until: Instant,
    /// Its time is over, but it is below and unsent: below gives it back.
    pub(super) overdue: bool,
    pub(super) handed_down: Instant,
    pub(super) repeated: bool,
    /// How much had come in when it was handed down last.
    pub(super) heard: u64,
    /// How many connections ended with nothing heard after it was handed down.
    pub(super) suspicions: u32,
}

impl<M: Clone, K> Kept<M, K> {
    /// The message, as it goes down.
    pub(super) fn item(&self) -> Outgoing<M> {
        let mut item = self.outgoing.clone();
        item.ticket = Some(self.ticket.clone());
        // Whoever is below gives it back when its time is over: then nothing of it is written
        // behind our back.
        item.deadline = Some(item.deadline.map_or(self.until, |deadline| deadline.min(self.until)));
        item
    }

    /// The message, as the caller gave it.
    pub(super) fn give_back(&self) -> Outgoing<M> {
        let mut outgoing = self.outgoing.clone();
        outgoing.ticket = self.is_callers.then(|| self.ticket.clone());
        outgoing
    }

    /// The one rule of sending again: what may have been seen goes only if it is safe.
    pub(super) fn may_go<S: Strategy<M>>(&self, strategy: &S) -> bool {
        !self.ticket.may_have_been_seen()
            || self.outgoing.epoch.is_none()
                && match self.outgoing.replay {
                    Replay::Safe => true,
                    Replay::Unsafe => false,
                    Replay::Unknown => strategy.is_safe(&self.give_back()),
                }
    }
}

impl<M, K> Kept<M, K> {
    /// Why it must not be handed down.
    pub(super) fn drop_reason(&self, now: Instant) -> Option<DropReason> {
        // A message that came without a ticket has one here.
        if self.ticket.is_abandoned() {
            return Some(DropReason::Cancelled);
        }
        let late = self.until <= now;
        self.outgoing
            .drop_reason(now)
            .or_else(|| late.then_some(DropReason::Expired))
    }

    /// The connection has ended. Did it end upon this message, with nothing heard after it, and so
    /// often that the message may be what the peer dies of?
    pub(super) fn suspect(&mut self, heard: u64, most: u32) -> bool {
        let is_below = matches!(self.ticket.phase(), Phase::Sent(_));
        if is_below && self.heard == heard {
            self.suspicions += 1;
            if self.suspicions == most {
                tracing::warn!(
                    connections = self.suspicions,
                    ticket = self.ticket.tag(),
                    record = self.outgoing.record,
                    "connections ended right after the same message: the peer may die of it"
                );
            }
        }
        self.suspicions >= most
    }
}
