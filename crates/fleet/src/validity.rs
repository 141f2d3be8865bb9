//! For how long a lease may be relied upon, without asking. No I/O: both clocks are passed in.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Until when a lease is good, by a clock that may stand still while the machine sleeps, and by one
/// that may be set: it is over when one of them says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    until: Instant,
    wall_until: SystemTime,
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    pub(crate) wall: SystemTime,
}

impl Validity {
    /// Of a lease of this length that was asked for at this moment: nine tenths of it, so that
    /// clocks may run differently.
    pub(crate) fn of(asked: Now, length: Duration) -> Self {
        let good = length * 9 / 10;
        Self {
            until: asked.at + good,
            wall_until: asked.wall + good,
        }
    }

    /// Never shorter than it was.
    pub(crate) fn extend(&mut self, other: Self) {
        self.until = self.until.max(other.until);
        // A clock that was set back makes it no shorter: the other one holds.
        self.wall_until = other.wall_until;
    }

    /// How long it is still good.
    pub(crate) fn left(&self, now: Now) -> Duration {
        let wall = self.wall_until.duration_since(now.wall).unwrap_or_default();
        self.until.saturating_duration_since(now.at).min(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(now: Now, at: Duration, wall: i64) -> Now {
        let wall_at = match wall {
            0.. => now.wall + SECOND * wall as u32,
            back => now.wall - SECOND * back.unsigned_abs() as u32,
        };
        Now {
            at: now.at + at,
            wall: wall_at,
        }
    }

    #[test]
    fn it_is_over_when_one_clock_says_so() {
        let now = Now {
            at: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + SECOND * 1_000_000,
        };
        let mut validity = Validity::of(now, SECOND * 10);
        assert_eq!(validity.left(now), SECOND * 9);
        // The machine slept: one clock stood still.
        assert_eq!(validity.left(after(now, SECOND, 9)), Duration::ZERO);
        // Set back: the other one holds.
        assert_eq!(validity.left(after(now, SECOND * 8, -100)), SECOND);
        assert_eq!(validity.left(after(now, SECOND * 9, -100)), Duration::ZERO);
        let renewed = after(now, SECOND * 3, 3);
        validity.extend(Validity::of(renewed, SECOND * 10));
        assert_eq!(validity.left(renewed), SECOND * 9);
        // Renewed by a clock that has been set back meanwhile.
        let back = after(now, SECOND * 4, -50);
        validity.extend(Validity::of(back, SECOND * 10));
        assert_eq!(validity.left(back), SECOND * 9);
    }
}
