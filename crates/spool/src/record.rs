//! One recorded message, as the session knows it. Time is passed in.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_ws_core::{Outgoing, Ticket, later};
use tower_ws_queue::Held;

use crate::change::Row;

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) row: Row,
    /// The commit that has it.
    pub(crate) written: u64,
    /// The commit that has its mark, if it is marked as leaving.
    pub(crate) marked: Option<u64>,
    pub(crate) place: Place,
    pub(crate) ticket: Option<Ticket>,
}

/// Where the message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// In the queue.
    Held,
    /// Handed to the connection, or on its way to it.
    Out,
    /// Nowhere: the next session sends it.
    Kept,
}

impl Record {
    /// One that was in the file.
    pub(crate) fn recovered(row: Row) -> Self {
        Self {
            marked: row.leaving.then_some(0),
            row,
            written: 0,
            place: Place::Kept,
            ticket: None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.row.payload.len()
    }

    /// True if the one who waited for it has been reported how it ended, or has gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_abandoned)
    }

    /// The message, as a queue holds it that begins now. Its age and its deadline go on by wall
    /// time.
    pub(crate) fn revive<M>(&self, message: M, now: Instant, wall: SystemTime) -> Held<M> {
        let wall = millis(wall);
        let mut item = Outgoing::new(message).replay(self.row.replay);
        item.record = std::num::NonZeroU64::new(self.row.seq);
        // A deadline that has passed is one that passes now.
        item.deadline = self.row.deadline.map(|at| {
            let left = at.saturating_sub(wall).max(0);
            later(now, Duration::from_millis(left.unsigned_abs()))
        });
        // A clock that was set back makes nothing younger than new; one that cannot go back so far
        // makes it new.
        let age = Duration::from_millis(wall.saturating_sub(self.row.accepted).max(0).unsigned_abs());
        let since = now.checked_sub(age).unwrap_or(now);
        Held::new(item, self.row.size, since)
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

    fn record(accepted: i64, deadline: Option<i64>) -> Record {
        Record::recovered(Row {
            seq: 3,
            accepted,
            deadline,
            replay: Replay::Safe,
            leaving: false,
            size: 5,
            payload: Bytes::new(),
        })
    }

    fn wall(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn age_and_deadline_go_on() {
        let now = Instant::now();
        let held = record(100 * SECOND, Some(170 * SECOND)).revive("x", now, wall(130));
        assert_eq!(now.duration_since(held.since), Duration::from_secs(30));
        assert_eq!(held.item.deadline, Some(now + Duration::from_secs(40)));
        assert_eq!((held.bytes, held.item.replay), (5, Replay::Safe));
        assert_eq!(held.item.record.map(u64::from), Some(3));
        assert_eq!(wall_of(now + Duration::from_secs(40), now, wall(130)), 170 * SECOND);
    }

    #[test]
    fn a_clock_that_jumps_does_no_more_than_that() {
        let now = Instant::now();
        // Back before it was accepted: it is new. The deadline is farther off.
        let held = record(100 * SECOND, Some(170 * SECOND)).revive("x", now, wall(50));
        assert_eq!(held.since, now);
        assert_eq!(held.item.deadline, Some(now + Duration::from_secs(120)));
        // Far ahead: it is old, and late.
        let held = record(100 * SECOND, Some(170 * SECOND)).revive("x", now, wall(1 << 40));
        assert!(held.item.drop_reason(now) == Some(tower_ws_core::DropReason::Expired));
        let odd = record(i64::MIN / 2, Some(i64::MAX / 2)).revive("x", now, wall(0));
        assert!(odd.item.deadline.is_some_and(|deadline| deadline > now));
        assert_eq!(wall_of(now, now + Duration::from_secs(1), wall(7)), 7 * SECOND);
    }
}
