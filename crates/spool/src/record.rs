//! One recorded message: where it is, and how it becomes one of the queue's. Time is passed in.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_ws_core::{DropReason, Ticket, later};

use crate::change::Row;

/// A message that is recorded.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) row: Row,
    pub(crate) state: State,
    /// The batch that has it. `None`: it is not on the disk, and will not be.
    pub(crate) put: Option<u64>,
    /// The batch that has its mark, if it is marked as leaving.
    pub(crate) mark: Option<u64>,
    /// The peer may have seen it, on a connection that is gone.
    pub(crate) seen: bool,
    pub(crate) terms: Terms,
}

/// What a session knows of a message beside what is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// When it was accepted, and until when it may be held.
    pub(crate) since: Instant,
    pub(crate) deadline: Option<Instant>,
    /// Whom to tell of its outcome.
    pub(crate) ticket: Option<Ticket>,
    /// It makes sense on the connection of one epoch only.
    pub(crate) bound: bool,
}

/// Where a message is: the states of the [crate docs](crate#the-life-of-a-message), and two on the
/// way to *forgotten*, which is to have no record.
#[derive(Debug)]
pub(crate) enum State {
    /// Nowhere: the next session sends it.
    Kept,
    /// In the queue, or given up by it and not told of yet.
    Held,
    /// Handed to the connection, until it is acknowledged. With a ticket: until it is flushed, and
    /// the ticket knows whether it has been written.
    Out(Option<Ticket>),
    /// The store gives it up, for this reason, and has not said so yet.
    Lost(DropReason),
    /// Whoever reads was told of its end. Forgotten once he has come back; if the next session may
    /// send it `again`, not before it is sure that this one goes on.
    Told { again: bool },
}

impl Record {
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// Is it on the disk, if the outcomes up to this batch are known?
    pub(crate) fn is_written(&self, done: u64) -> bool {
        self.put.is_some_and(|put| put <= done)
    }

    /// Is as much on the disk as has to be, before the peer may see it? What the peer may not see
    /// `twice` has to be marked.
    pub(crate) fn may_leave(&self, twice: bool, done: u64) -> bool {
        self.is_written(done) && (twice || self.mark.is_some_and(|mark| mark <= done))
    }

    /// May the peer have seen it, where it is or before?
    pub(crate) fn may_be_seen(&self) -> bool {
        self.seen
            || match &self.state {
                State::Out(None) => true,
                State::Out(Some(ticket)) => ticket.may_have_been_seen(),
                _ => false,
            }
    }

    /// True if the one who waited for it has been told how it ended, or has gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.terms.ticket.as_ref().is_some_and(Ticket::is_abandoned)
    }
}

impl Terms {
    /// Those of a message whose age and deadline go on by wall time.
    pub(crate) fn of(row: &Row, now: Instant, wall: SystemTime) -> Self {
        let wall = millis(wall);
        // A clock that was set back makes nothing younger than new; one that cannot go back so far
        // makes it new.
        let age = Duration::from_millis(wall.saturating_sub(row.accepted).max(0).unsigned_abs());
        Self {
            since: now.checked_sub(age).unwrap_or(now),
            // A deadline that has passed is one that passes now.
            deadline: row.deadline.map(|at| {
                let left = at.saturating_sub(wall).max(0);
                later(now, Duration::from_millis(left.unsigned_abs()))
            }),
            ticket: None,
            bound: false,
        }
    }
}

/// Milliseconds since 1970; before that, none.
pub(crate) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX)
}

/// A moment of our clock as one of wall time.
pub(crate) fn wall_of(at: Instant, now: Instant, wall: SystemTime) -> i64 {
    let left = at.saturating_duration_since(now).as_millis();
    millis(wall).saturating_add(left.try_into().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tower_ws_core::Replay;

    use super::*;

    const SECOND: i64 = 1000;

    fn row(accepted: i64, deadline: Option<i64>) -> Row {
        Row {
            seq: 3,
            accepted,
            deadline,
            replay: Replay::Safe,
            leaving: false,
            size: 5,
            payload: Bytes::new(),
        }
    }

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn age_and_deadline_go_on() {
        let now = Instant::now();
        let terms = Terms::of(&row(100 * SECOND, Some(170 * SECOND)), now, wall(130));
        assert_eq!(now.duration_since(terms.since), Duration::from_secs(30));
        assert_eq!(terms.deadline, Some(now + Duration::from_secs(40)));
        assert_eq!(wall_of(now + Duration::from_secs(40), now, wall(130)), 170 * SECOND);
    }

    #[test]
    fn a_clock_that_jumps_does_no_more_than_that() {
        let now = Instant::now();
        // Back before it was accepted: it is new. The deadline is farther off.
        let terms = Terms::of(&row(100 * SECOND, Some(170 * SECOND)), now, wall(50));
        assert_eq!(terms.since, now);
        assert_eq!(terms.deadline, Some(now + Duration::from_secs(120)));
        // Far ahead: it is old, and late.
        let terms = Terms::of(&row(100 * SECOND, Some(170 * SECOND)), now, wall(1 << 40));
        assert_eq!(terms.deadline, Some(now));
        let odd = Terms::of(&row(i64::MIN / 2, Some(i64::MAX / 2)), now, wall(0));
        assert!(odd.deadline.is_some_and(|deadline| deadline > now));
        assert_eq!(wall_of(now, now + Duration::from_secs(1), wall(7)), 7 * SECOND);
    }
}
