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
    booking::{Booking, Pass},
    quota::Quota,
    schedule::{Schedule, TooLarge},
    turns::{Cost, Turns},
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

struct Line {
    /// What is limited, for logs.
    what: &'static str,
    kept: Kept,
    waited: AtomicU64,
    refused: AtomicU64,
    pauses: AtomicU64,
}

/// Where the limit is kept.
enum Kept {
    Here(Mutex<Schedule>),
    Elsewhere(Arc<dyn Turns>),
}

/// What a limit has done, and how it stands. For dashboards.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LimitStats {
    /// How many had to wait; where the limit is kept elsewhere, longer than an answer takes.
    pub waited: u64,
    /// How many came back, or failed, because there was no room for them.
    pub refused: u64,
    /// How often a pause began.
    pub pauses: u64,
    /// Until when there is a pause; `None` if there is none.
    pub paused_until: Option<Instant>,
    /// How long the next who comes would have to wait: what is booked ahead, and what is owed. Zero
    /// where the limit is kept elsewhere: nobody knows here.
    pub debt: Duration,
}

impl Limiter {
    /// How long dials pause when the server says *too much* and not for how long: 30 s, the least
    /// of what [the table](tower_ws_core::Disposition) waits after such an answer.
    pub const PAUSE: Duration = Duration::from_secs(30);

    /// A limit for dials that any number of layers may share.
    pub fn new(quota: Quota) -> Self {
        Self::of("dials", Some(quota), None)
    }

    /// A limit that others keep, for more than this process: each turn is asked for, and comes when
    /// the answer does.
    ///
    /// Of [what is promised](Self#what-it-promises) the order is that of the answers. A turn that is
    /// given up, or missed by 250 ms, may be lost to all.
    pub fn shared(turns: impl Turns) -> Self {
        Self::kept("shared", Kept::Elsewhere(Arc::new(turns)))
    }

    pub(crate) fn of(what: &'static str, count: Option<Quota>, bytes: Option<Quota>) -> Self {
        let schedule = Schedule::new(count, bytes, Instant::now());
        Self::kept(what, Kept::Here(Mutex::new(schedule)))
    }

    fn kept(what: &'static str, kept: Kept) -> Self {
        Self(Arc::new(Line {
            what,
            kept,
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
        let begins = match &self.0.kept {
            Kept::Here(schedule) => lock(schedule).pause(Instant::now(), length),
            Kept::Elsewhere(turns) => {
                let begins = turns.paused_until().is_none() && length > Duration::ZERO;
                turns.pause(length);
                begins
            }
        };
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
        let (paused_until, debt) = match &self.0.kept {
            Kept::Here(schedule) => {
                let schedule = lock(schedule);
                let debt = schedule.earliest(now, 1).map_or(Duration::ZERO, |at| at - now);
                (schedule.paused_until(now), debt)
            }
            Kept::Elsewhere(turns) => (turns.paused_until(), Duration::ZERO),
        };
        LimitStats {
            waited: self.0.waited.load(Relaxed),
            refused: self.0.refused.load(Relaxed),
            pauses: self.0.pauses.load(Relaxed),
            paused_until,
            debt,
        }
    }

    /// Books a turn.
    pub(crate) fn book(&self, now: Instant, bytes: u64) -> Result<Booking, TooLarge> {
        match &self.0.kept {
            Kept::Here(schedule) => Ok(Booking::at(self.clone(), self.book_at(schedule, now, bytes)?, bytes)),
            Kept::Elsewhere(turns) => Ok(Booking::ask(self.clone(), &**turns, Cost::new(bytes))),
        }
    }

    /// Passes now, or books a turn.
    pub(crate) fn pass(&self, now: Instant, bytes: u64) -> Result<Pass, TooLarge> {
        let Kept::Here(schedule) = &self.0.kept else {
            return self.book(now, bytes).map(Pass::Later);
        };
        let at = self.book_at(schedule, now, bytes)?;
        Ok(match at > now {
            true => Pass::Later(Booking::at(self.clone(), at, bytes)),
            false => Pass::Now,
        })
    }

    /// Passes now, or not at all (`None`); or later finds out which, where the limit is kept
    /// elsewhere.
    pub(crate) fn try_pass(&self, now: Instant, bytes: u64) -> Result<Option<Pass>, TooLarge> {
        let schedule = match &self.0.kept {
            Kept::Here(schedule) => schedule,
            Kept::Elsewhere(turns) => {
                let cost = Cost::new(bytes).at_once(true);
                return Ok(Some(Pass::Later(Booking::ask(self.clone(), &**turns, cost))));
            }
        };
        let mut schedule = lock(schedule);
        let passes = schedule.earliest(now, bytes).inspect_err(|_| self.refused())? <= now;
        if !passes {
            self.refused();
            return Ok(None);
        }
        schedule.book(now, bytes)?;
        Ok(Some(Pass::Now))
    }

    fn book_at(&self, schedule: &Mutex<Schedule>, now: Instant, bytes: u64) -> Result<Instant, TooLarge> {
        let at = lock(schedule).book(now, bytes).inspect_err(|_| self.refused())?;
        if at > now {
            self.waited();
        }
        Ok(at)
    }

    pub(crate) fn waited(&self) {
        self.0.waited.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.0.refused.fetch_add(1, Relaxed);
    }

    /// The schedule of one that is kept here.
    pub(crate) fn schedule(&self) -> Option<MutexGuard<'_, Schedule>> {
        match &self.0.kept {
            Kept::Here(schedule) => Some(lock(schedule)),
            Kept::Elsewhere(_) => None,
        }
    }

    /// Who keeps it, if somebody else does.
    pub(crate) fn turns(&self) -> Option<&dyn Turns> {
        match &self.0.kept {
            Kept::Here(_) => None,
            Kept::Elsewhere(turns) => Some(&**turns),
        }
    }
}

fn lock(schedule: &Mutex<Schedule>) -> MutexGuard<'_, Schedule> {
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
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
