//! Timers, moments and wall time.

mod alarm;
mod clock;
mod moment;
mod pace;

use std::time::Duration;

use tokio::time::Instant;

pub use self::{
    alarm::Alarm,
    clock::{Clock, SystemClock},
    moment::Moment,
    pace::Pace,
};

/// So far away that it never comes: 30 years. An `Instant` has no maximum, so a limit that is
/// longer than the clock can tell becomes this one.
pub const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The moment `delay` after `from`, or [`FAR_FUTURE`] after it if that comes first: no delay, not
/// even `Duration::MAX`, overflows.
#[must_use]
pub fn later(from: Instant, delay: Duration) -> Instant {
    from + delay.min(FAR_FUTURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_delay_overflows() {
        let now = Instant::now();
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
        assert_eq!(later(now, Duration::MAX), now + FAR_FUTURE);
    }
}
