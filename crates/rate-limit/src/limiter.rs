use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use tower_ws_core::RetryAfter;

use crate::{
    quota::Quota,
    schedule::{Schedule, TooLarge, Turn},
};

/// A limit that may be shared: all clones count together.
///
/// [`RateLimitLayer::dials`](crate::RateLimitLayer::dials) takes one, or a [`Quota`], of which it
/// makes one of its own. Give clones of one to the layers of a thousand clients, and together they
/// dial no more than it allows.
///
/// ```
/// use std::num::NonZeroU32;
/// use tower_ws_rate_limit::{Limiter, Quota, RateLimitLayer};
///
/// let ten = NonZeroU32::new(10).expect("is not zero");
/// let dials = Limiter::new(Quota::per_second(ten).burst(NonZeroU32::MIN));
/// // Each client has a layer of its own; the limit is the same.
/// let orders = RateLimitLayer::new().dials(dials.clone());
/// let prices = RateLimitLayer::new().dials(dials.clone());
/// assert_eq!(dials.stats().waited, 0);
/// # let _ = (orders, prices);
/// ```
///
/// # What it promises
///
/// - Who comes first, passes first: a turn is booked when somebody comes, behind all who came
///   before. Each waits for its own moment, so that a thousand who wait do not wake all at once,
///   and one that is never polled again holds up nobody.
/// - Who is a little late still has its turn; who is later gets another, behind all others. With a
///   [strict window](Quota::strict) its length allows for that, a tenth of it. With a
///   [rate](Quota::per_second) it is 250 ms, or the share of one if that is more, and what is late
///   may come on top of what comes in time.
/// - Who gives up gives its turn back. The next who comes may have it; those who wait keep theirs.
/// - A [pause](Self::pause) holds for all. Whose turn would have come in it, books another when it
///   comes, in the order of coming; whoever has a turn after it keeps that.
#[derive(Clone)]
pub struct Limiter(Arc<Line>);

pub(crate) struct Line {
    /// What is limited, for logs.
    what: &'static str,
    schedule: Mutex<Schedule>,
    waited: AtomicU64,
    refused: AtomicU64,
    pauses: AtomicU64,
}

/// What a limit has done, and how it stands. For dashboards.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LimitStats {
    /// How many had to wait.
    pub waited: u64,
    /// How many came back, or failed, because there was no room for them.
    pub refused: u64,
    /// How often a pause began.
    pub pauses: u64,
    /// Until when there is a pause; `None` if there is none.
    pub paused_until: Option<Instant>,
    /// How long the next who comes would have to wait: what is booked ahead, and what is owed.
    pub debt: Duration,
}

/// What one who comes gets.
#[derive(Debug)]
pub(crate) enum Pass {
    Now,
    Later(Booking),
}

/// A turn. Dropped before it is used, it is given back.
#[derive(Debug)]
pub(crate) struct Booking {
    limiter: Limiter,
    at: Instant,
    bytes: u64,
    used: bool,
}

impl Limiter {
    /// How long dials pause when the server says *too much* and not for how long: 30 s, the least
    /// of what [the table](tower_ws_core::Disposition) waits after such an answer.
    pub const PAUSE: Duration = Duration::from_secs(30);

    /// A limit for dials that any number of layers may share.
    pub fn new(quota: Quota) -> Self {
        Self::of("dials", Some(quota), None)
    }

    pub(crate) fn of(what: &'static str, count: Option<Quota>, bytes: Option<Quota>) -> Self {
        Self(Arc::new(Line {
            what,
            schedule: Mutex::new(Schedule::new(count, bytes, Instant::now())),
            waited: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
        }))
    }

    /// Lets nobody pass for so long: the server has said, by a way that this crate does not know,
    /// that it is too much. At most [5 minutes](tower_ws_core::RetryAfter::CAP). Pauses do not add
    /// up: the one that ends last counts.
    pub fn pause(&self, length: Duration) {
        let length = length.min(RetryAfter::CAP);
        let begins = self.lock().pause(Instant::now(), length);
        let (limit, pause_ms) = (self.0.what, length.as_millis() as u64);
        if begins {
            self.0.pauses.fetch_add(1, Relaxed);
            tracing::warn!(limit, pause_ms, "the server asked for less; pausing");
        } else {
            // A thousand clients may be told the same.
            tracing::debug!(limit, pause_ms, "the server asked for less again");
        }
    }

    /// What it has done, and how it stands.
    pub fn stats(&self) -> LimitStats {
        let now = Instant::now();
        let schedule = self.lock();
        LimitStats {
            waited: self.0.waited.load(Relaxed),
            refused: self.0.refused.load(Relaxed),
            pauses: self.0.pauses.load(Relaxed),
            paused_until: schedule.paused_until(now),
            debt: schedule.earliest(now, 1).map_or(Duration::ZERO, |at| at - now),
        }
    }

    /// Books a turn.
    pub(crate) fn book(&self, now: Instant, bytes: u64) -> Result<Booking, TooLarge> {
        let at = self.book_at(now, bytes)?;
        Ok(self.booking(at, bytes))
    }

    /// Passes now, or books a turn.
    pub(crate) fn pass(&self, now: Instant, bytes: u64) -> Result<Pass, TooLarge> {
        let at = self.book_at(now, bytes)?;
        Ok(match at > now {
            true => Pass::Later(self.booking(at, bytes)),
            false => Pass::Now,
        })
    }

    fn book_at(&self, now: Instant, bytes: u64) -> Result<Instant, TooLarge> {
        let at = self.lock().book(now, bytes).inspect_err(|_| self.refused())?;
        if at > now {
            self.0.waited.fetch_add(1, Relaxed);
        }
        Ok(at)
    }

    fn booking(&self, at: Instant, bytes: u64) -> Booking {
        Booking {
            limiter: self.clone(),
            at,
            bytes,
            used: false,
        }
    }

    /// Passes now, or not at all: false.
    pub(crate) fn try_pass(&self, now: Instant, bytes: u64) -> Result<bool, TooLarge> {
        let mut schedule = self.lock();
        let passes = schedule.earliest(now, bytes).inspect_err(|_| self.refused())? <= now;
        if passes {
            schedule.book(now, bytes)?;
        } else {
            self.refused();
        }
        Ok(passes)
    }

    fn refused(&self) {
        self.0.refused.fetch_add(1, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.0.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Quota> for Limiter {
    fn from(quota: Quota) -> Self {
        Self::new(quota)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("what", &self.0.what)
            .field("stats", &self.stats())
            .finish()
    }
}

// === impl Booking ===

impl Booking {
    pub(crate) fn turn(&self, now: Instant) -> Turn {
        self.limiter.lock().turn(now, self.at)
    }

    /// Another turn in place of this one, which was missed.
    pub(crate) fn book_again(&mut self) {
        let again = self.limiter.lock().book_again(Instant::now(), self.at, self.bytes);
        // What was not too large then is not too large now.
        if let Ok(at) = again {
            self.at = at;
        }
    }

    /// Passes.
    pub(crate) fn spend(mut self) {
        self.used = true;
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if !self.used {
            self.limiter.lock().give_back(Instant::now(), self.at);
        }
    }
}
