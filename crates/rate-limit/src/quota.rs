use std::{num::NonZeroU32, time::Duration};

use crate::meter::GRACE;

/// How much in how much time: of dials, of messages, of bytes.
///
/// Two ways of counting, because servers count in two ways:
///
/// - A **rate with a burst** ([`per_second`](Self::per_second), [`try_new`](Self::try_new)): the
///   generic cell rate algorithm of the [`governor`] crate. What was not used is saved up, to the
///   burst at most. In a time `t` at most `burst + rate × t` pass.
/// - A **strict window** ([`strict`](Self::strict)): at most so many in *any* window of this
///   length, wherever it begins.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use tower_ws_rate_limit::Quota;
///
/// let five = NonZeroU32::new(5).expect("is not zero");
/// let smooth = Quota::per_second(five).burst(NonZeroU32::MIN);
/// let strict = Quota::strict(five, Duration::from_secs(1))?;
/// # let _ = (smooth, strict);
/// # Ok::<(), tower_ws_rate_limit::QuotaError>(())
/// ```
///
/// # Why does the server ban me though I keep to the rate?
///
/// Because of the burst. A server that allows 5 a second and counts in windows of a second sees up
/// to 10 within one, if a client that was idle sends its burst of 5 and goes on at 5 a second. Most
/// bans after a reconnect, when everything is subscribed to at once, come from this. For such a
/// server use [`strict`](Self::strict).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota(Kind);

/// How late a task may be at least with the shortest of windows: timers count in milliseconds.
const LEAST_GRACE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Rate { every: Duration, burst: NonZeroU32 },
    Strict { most: NonZeroU32, window: Duration },
}

impl Quota {
    /// The longest time that a quota may be for: a day.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
    /// The longest that a spent burst may take to be saved up: a year.
    pub const LONGEST_REFILL: Duration = Duration::from_secs(365 * 24 * 3600);

    /// A rate of `most` a second, with a burst as large.
    pub fn per_second(most: NonZeroU32) -> Self {
        Self::rate(most, Duration::from_secs(1))
    }

    /// A rate of `most` a minute, with a burst as large.
    pub fn per_minute(most: NonZeroU32) -> Self {
        Self::rate(most, Duration::from_secs(60))
    }

    /// A rate of `most` in this time, with a burst as large. The share of one is rounded up to a
    /// whole nanosecond.
    ///
    /// # Errors
    ///
    /// If the time is zero, or longer than [a day](Self::LONGEST).
    pub fn try_new(most: NonZeroU32, per: Duration) -> Result<Self, QuotaError> {
        checked(per)?;
        Ok(Self::rate(most, per))
    }

    /// At most `most` in any window of this length: a sliding window, not one that begins afresh at
    /// full seconds.
    ///
    /// Servers count what arrives, and the way there may push two messages together. So the window
    /// is longer than it says, by a tenth, but by 10 ms at least and 250 ms at most. That is also
    /// how late a task may be for its turn.
    ///
    /// # Errors
    ///
    /// If the time is zero, or longer than [a day](Self::LONGEST).
    pub fn strict(most: NonZeroU32, window: Duration) -> Result<Self, QuotaError> {
        checked(window)?;
        Ok(Self(Kind::Strict { most, window }))
    }

    /// Sets how much may be saved up, and then pass at once. One (`NonZeroU32::MIN`) spreads
    /// evenly. A burst that would take more than [a year](Self::LONGEST_REFILL) to save up counts
    /// as one that takes a year.
    ///
    /// A strict window has no burst of its own: there this changes nothing.
    #[must_use]
    pub fn burst(self, burst: NonZeroU32) -> Self {
        match self.0 {
            Kind::Rate { every, .. } => {
                let most = Self::LONGEST_REFILL.as_nanos() / every.as_nanos().max(1);
                let most = u32::try_from(most).ok().and_then(NonZeroU32::new);
                let burst = most.map_or(burst, |most| burst.min(most));
                Self(Kind::Rate { every, burst })
            }
            Kind::Strict { .. } => self,
        }
    }

    /// The same as one rate, for whoever counts it elsewhere: how far apart, and how many at once. A
    /// strict window becomes an even rate that never has more in any window, and no burst.
    pub fn spread(self) -> (Duration, NonZeroU32) {
        match self.0 {
            Kind::Rate { every, burst } => (every, burst),
            Kind::Strict { most, window } => {
                let window = (window + Self::grace(window)).as_nanos();
                // A day of nanoseconds fits.
                let every = window.div_ceil(u128::from(most.get())) as u64;
                (Duration::from_nanos(every), NonZeroU32::MIN)
            }
        }
    }

    /// How late a task may be for its turn in a strict window of this length.
    pub(crate) fn grace(window: Duration) -> Duration {
        (window / 10).clamp(LEAST_GRACE, GRACE)
    }

    fn rate(most: NonZeroU32, per: Duration) -> Self {
        // A day of nanoseconds fits: `per` has been checked.
        let every = per.as_nanos().div_ceil(u128::from(most.get())) as u64;
        Self(Kind::Rate {
            every: Duration::from_nanos(every.max(1)),
            burst: most,
        })
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

fn checked(per: Duration) -> Result<(), QuotaError> {
    match per {
        Duration::ZERO => Err(QuotaError::Zero),
        per if per > Quota::LONGEST => Err(QuotaError::TooLong(per)),
        _ => Ok(()),
    }
}

/// Why there is no such [`Quota`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The time is zero.
    #[error("a quota needs a time that it is for; leave the limit out if there is to be none")]
    Zero,
    /// The time is too long.
    #[error("a quota for {0:?} is for more than a day; use a smaller number for a shorter time")]
    TooLong(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn no_time_and_too_much_time_are_refused() {
        let too_long = Quota::LONGEST + Duration::from_nanos(1);
        for quota in [Quota::try_new, Quota::strict] {
            assert_eq!(quota(n(1), Duration::ZERO), Err(QuotaError::Zero));
            assert_eq!(quota(n(1), too_long), Err(QuotaError::TooLong(too_long)));
            assert!(quota(n(u32::MAX), Quota::LONGEST).is_ok());
            assert!(quota(n(u32::MAX), Duration::from_nanos(1)).is_ok());
        }
    }

    #[test]
    fn a_rate_is_never_rounded_to_a_faster_one() {
        let Kind::Rate { every, burst } = Quota::per_second(n(3)).kind() else {
            panic!("a rate")
        };
        assert_eq!((every, burst), (Duration::from_nanos(333_333_334), n(3)));
    }

    #[test]
    fn spread_a_window_never_has_more_however_late_one_is() {
        for (most, window) in [(1, 1_000), (5, 1_000), (100, 60_000), (1_000, 50)] {
            let window = Duration::from_millis(window);
            let (every, burst) = Quota::strict(n(most), window).unwrap().spread();
            assert_eq!(burst, NonZeroU32::MIN);
            // The first as late as may be, one more than all of them in time.
            assert!(every * most - Quota::grace(window) >= window);
        }
        let rate = Quota::per_second(n(10)).burst(n(3));
        assert_eq!(rate.spread(), (Duration::from_millis(100), n(3)));
    }

    #[test]
    fn a_burst_ends_at_a_year() {
        let daily = Quota::try_new(n(1), Quota::LONGEST).unwrap().burst(n(u32::MAX));
        assert_eq!(
            daily.kind(),
            Kind::Rate {
                every: Quota::LONGEST,
                burst: n(365)
            }
        );
    }
}
