use std::{
    fmt,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::future::BoxFuture;
use tokio::{runtime, time::Instant};

use crate::{
    limiter::Limiter,
    meter::GRACE,
    schedule::Turn,
    turns::{Cost, NoTurn, Turns},
};

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
    cost: Cost,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In a schedule of this process.
    At(Instant),
    /// Asked for elsewhere, and when.
    Asked(Asking, Instant),
    /// It was given there, at this moment.
    Came(Instant),
    /// There is none.
    Never(NoTurn),
    Used,
}

/// Polled by its owner alone; the lock makes it `Sync`.
struct Asking(Mutex<BoxFuture<'static, Result<(), NoTurn>>>);

/// How a turn stands.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// Wait until then.
    At(Instant),
    Now,
    /// It is over, or there is a pause: book another.
    Missed,
    /// It is not known yet; the task is woken when it is.
    Asked,
    Never(NoTurn),
}

/// An answer that takes longer than this has made somebody wait.
const ANSWER: Duration = Duration::from_millis(50);

impl Booking {
    pub(crate) fn at(limiter: Limiter, at: Instant, bytes: u64) -> Self {
        Self {
            limiter,
            cost: Cost::new(bytes),
            place: Place::At(at),
        }
    }

    pub(crate) fn ask(limiter: Limiter, turns: &dyn Turns, cost: Cost) -> Self {
        Self {
            limiter,
            cost,
            place: Place::ask(turns, cost),
        }
    }

    /// The size of what is to pass.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.cost.bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn due(&mut self, now: Instant, cx: &mut Context<'_>) -> Due {
        if let Place::Asked(asking, since) = &mut self.place {
            self.place = match asking.poll(cx) {
                Poll::Pending => return Due::Asked,
                Poll::Ready(Ok(())) => {
                    if now.saturating_duration_since(*since) > ANSWER {
                        self.limiter.waited();
                    }
                    Place::Came(now)
                }
                Poll::Ready(Err(none)) => {
                    self.limiter.refused();
                    Place::Never(none)
                }
            };
        }
        self.known(now)
    }

    /// The same, without asking.
    fn known(&self, now: Instant) -> Due {
        match &self.place {
            Place::At(at) => match self.limiter.schedule().map(|schedule| schedule.turn(now, *at)) {
                Some(Turn::At(at)) => Due::At(at),
                Some(Turn::Missed) => Due::Missed,
                Some(Turn::Now) | None => Due::Now,
            },
            Place::Came(at) => {
                let paused = self.limiter.turns().and_then(Turns::paused_until);
                match now > *at + GRACE || paused.is_some_and(|until| until > now) {
                    true => Due::Missed,
                    false => Due::Now,
                }
            }
            Place::Asked(..) => Due::Asked,
            Place::Never(none) => Due::Never(*none),
            Place::Used => Due::Missed,
        }
    }

    /// Another turn in place of this one, which was missed.
    pub(crate) fn book_again(&mut self) {
        if let Some(turns) = self.limiter.turns() {
            self.place = Place::ask(turns, self.cost);
            return;
        }
        if let Place::At(missed) = self.place {
            let schedule = self.limiter.schedule();
            let again = schedule.map(|mut all| all.book_again(Instant::now(), missed, self.cost.bytes));
            // What was not too large then is not too large now.
            if let Some(Ok(at)) = again {
                self.place = Place::At(at);
            }
        }
    }

    /// Passes, if its turn is now.
    pub(crate) fn spend_due(mut self, now: Instant) -> bool {
        let due = self.known(now) == Due::Now;
        if due {
            self.place = Place::Used;
        }
        due
    }

    /// Passes, whatever its turn: it counts ahead, and others wait for it.
    pub(crate) fn spend(mut self) {
        if let Place::Asked(asking, _) = std::mem::replace(&mut self.place, Place::Used)
            && let Ok(runtime) = runtime::Handle::try_current()
        {
            let asking = asking.0.into_inner().unwrap_or_else(PoisonError::into_inner);
            runtime.spawn(asking);
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if let Place::At(at) = self.place
            && let Some(mut schedule) = self.limiter.schedule()
        {
            schedule.give_back(Instant::now(), at);
        }
    }
}

impl Place {
    fn ask(turns: &dyn Turns, cost: Cost) -> Self {
        Self::Asked(Asking(Mutex::new(turns.turn(cost))), Instant::now())
    }
}

impl Asking {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoTurn>> {
        let turn = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        turn.as_mut().poll(cx)
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}
