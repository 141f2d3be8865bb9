//! The questions that have been sent, and whose answer is whose.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use tower_ws_core::{Phase, Ticket};

/// How many questions are remembered: 8. An answer to an older one passes up as any message does.
const ROOM: usize = 8;

/// Nonces lie from 2^52 to 2^53: a JSON number holds them exactly, and no counter of requests gets
/// there.
const NONCES: std::ops::Range<u64> = 1 << 52..1 << 53;

/// The probes of one connection.
#[derive(Debug)]
pub(crate) struct Probes {
    sent: VecDeque<Sent>,
    timeout: Duration,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Sent {
    nonce: u64,
    at: Instant,
    ticket: Ticket,
    lost: bool,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// It came after so long.
    InTime(Duration),
    /// It came when it had been counted as lost.
    Late,
}

impl Probes {
    pub(crate) fn new(timeout: Duration, rng: fastrand::Rng) -> Self {
        Self {
            sent: VecDeque::new(),
            timeout,
            rng,
        }
    }

    /// Questions have this time to be answered from now on.
    pub(crate) fn allow(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// A new question. Its ticket carries the nonce, so that it is known again if it is dropped
    /// below. True if another had to be forgotten unanswered.
    pub(crate) fn begin(&mut self, now: Instant) -> (u64, Ticket, bool) {
        let evicted = match self.sent.len() {
            ROOM.. => self.sent.pop_front().is_some_and(|sent| !sent.lost),
            _ => false,
        };
        let nonce = self.rng.u64(NONCES);
        let ticket = Ticket::tagged(nonce);
        self.sent.push_back(Sent {
            nonce,
            at: now,
            ticket: ticket.clone(),
            lost: false,
        });
        (nonce, ticket, evicted)
    }

    /// A question that has not been written and may still be, for however long it waits: another one
    /// behind it would tell no more.
    pub(crate) fn unsent(&self) -> Option<u64> {
        let last = self.sent.back()?;
        (last.ticket.phase() == Phase::Waiting).then_some(last.nonce)
    }

    /// Whether the question with this nonce is known, and has been written.
    pub(crate) fn has_left(&self, nonce: u64) -> bool {
        let sent = self.sent.iter().find(|sent| sent.nonce == nonce);
        sent.is_some_and(|sent| sent.ticket.phase() != Phase::Waiting)
    }

    /// Whether the question with this nonce may still be answered, be it too late.
    pub(crate) fn knows(&self, nonce: u64) -> bool {
        self.sent.iter().any(|sent| sent.nonce == nonce)
    }

    /// True if there is nothing that could be answered or dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// An answer with this nonce came in. `None` if it answers no question of ours.
    pub(crate) fn answered(&mut self, nonce: u64, now: Instant) -> Option<Answer> {
        let sent = self.take(nonce)?;
        Some(match sent.lost {
            true => Answer::Late,
            false => Answer::InTime(now.saturating_duration_since(sent.at)),
        })
    }

    /// A message with this ticket was dropped. `None` if it is no question of ours; true if it had
    /// not been counted as lost yet.
    pub(crate) fn dropped(&mut self, ticket: &Ticket) -> Option<bool> {
        self.take(ticket.tag()).map(|sent| !sent.lost)
    }

    /// Counts as lost what is unanswered for too long. Returns how many.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        for sent in self.sent.iter_mut().filter(|sent| !sent.lost) {
            if now < sent.at + self.timeout {
                break;
            }
            sent.lost = true;
            lost += 1;
        }
        lost
    }

    /// When the question with this nonce counts as lost. `None` if it has been answered, dropped or
    /// lost.
    pub(crate) fn deadline(&self, nonce: u64) -> Option<Instant> {
        let sent = self.sent.iter().find(|sent| sent.nonce == nonce)?;
        (!sent.lost).then(|| sent.at + self.timeout)
    }

    fn take(&mut self, nonce: u64) -> Option<Sent> {
        let at = self.sent.iter().position(|sent| sent.nonce == nonce)?;
        self.sent.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn probes() -> Probes {
        Probes::new(TIMEOUT, fastrand::Rng::with_seed(1))
    }

    #[test]
    fn an_answer_counts_once_and_only_with_its_nonce() {
        let (mut probes, start) = (probes(), Instant::now());
        let (nonce, ..) = probes.begin(start);
        let rtt = Duration::from_millis(30);
        assert_eq!(probes.answered(nonce ^ 1, start + rtt), None);
        assert_eq!(probes.answered(nonce, start + rtt), Some(Answer::InTime(rtt)));
        assert_eq!(probes.answered(nonce, start + rtt), None);
        assert!(probes.is_empty());
    }

    #[test]
    fn what_is_late_is_lost_but_known() {
        let (mut probes, start) = (probes(), Instant::now());
        let (nonce, ..) = probes.begin(start);
        assert_eq!(probes.expire(start + TIMEOUT / 2), 0);
        assert_eq!(probes.expire(start + TIMEOUT), 1);
        assert_eq!(probes.expire(start + TIMEOUT), 0);
        assert_eq!(probes.deadline(nonce), None);
        assert_eq!(probes.answered(nonce, start + TIMEOUT * 2), Some(Answer::Late));
    }

    #[test]
    fn a_dropped_question_is_known_by_its_ticket() {
        let (mut probes, start) = (probes(), Instant::now());
        let (nonce, ticket, _) = probes.begin(start);
        assert_eq!(probes.unsent(), Some(nonce));
        assert_eq!(probes.dropped(&Ticket::new()), None);
        assert_eq!(probes.dropped(&ticket), Some(true));
        assert_eq!(probes.dropped(&ticket), None);
    }

    #[test]
    fn what_nobody_answers_is_forgotten_in_the_end() {
        let (mut probes, start) = (probes(), Instant::now());
        let forgotten = (0..100).filter(|_| probes.begin(start).2).count();
        assert_eq!(forgotten, 100 - ROOM);
        assert_eq!(probes.expire(start + TIMEOUT), ROOM as u64);
    }
}
