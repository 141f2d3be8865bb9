use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_core::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::types::ToSql;
use tower_ws_core::RetryAfter;
use tower_ws_rate_limit::{Cost, NoTurn, Quota, Turns};

use crate::{error::FleetError, fleet::Shared, handle::Counted, link::number};

const TURN: &str = "SELECT tower_ws_turn($1, $2, $3, $4, $5)";
const PAUSE: &str = "SELECT tower_ws_pause($1, $2, $3)";

/// How long an answer may take before the database counts as away.
const WITHIN: Duration = Duration::from_secs(2);
/// How long to leave it before it is asked again, by one of those who wait.
const AGAIN: Duration = Duration::from_millis(100);
/// Whoever has to wait longer than this looks whether there is a pause by then.
const LONG: Duration = Duration::from_secs(1);

/// What a limit does while the database is away. Nothing ever passes without a limit. This list is
/// complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenDown {
    /// Everything waits until it is back.
    Wait,
    /// This process goes on with its share of the quota, evenly and without a burst, and begins
    /// with none of it: one in `of`. If there are never more than `of` processes, all together keep
    /// to the quota, but for what had been booked before.
    Share {
        /// How many processes there are at most.
        of: NonZeroU32,
    },
}

/// A limit of a fleet.
pub(crate) struct FleetTurns(Arc<Line>);

struct Line {
    fleet: Shared,
    name: String,
    every: i64,
    burst: i64,
    down: WhenDown,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paused_until: Option<Instant>,
    /// The next turn of this process's share; `None` while the database answers.
    share: Option<Instant>,
}

impl FleetTurns {
    pub(crate) fn new(fleet: Shared, name: &str, quota: Quota, down: WhenDown) -> Self {
        let (every, burst) = quota.spread();
        // A burst that takes more than a year to save up counts as a year: both fit.
        Self(Arc::new(Line {
            fleet,
            name: name.to_owned(),
            every: every.as_nanos() as i64,
            burst: burst.get().into(),
            down,
            state: Mutex::default(),
        }))
    }
}

impl Turns for FleetTurns {
    fn turn(&self, cost: Cost) -> BoxFuture<'static, Result<(), NoTurn>> {
        let line = self.0.clone();
        Box::pin(async move { line.turn(cost.at_once).await })
    }

    fn pause(&self, length: Duration) {
        let line = self.0.clone();
        line.paused(length);
        // Nobody waits for it. Without a runtime there is nobody who could be limited either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = line.pause(length).await {
                    tracing::warn!(limit = line.name, %error, "only this process knows of the pause");
                }
            });
        }
    }

    fn paused_until(&self) -> Option<Instant> {
        self.0.lock().paused_until.filter(|until| *until > Instant::now())
    }
}

impl Line {
    async fn turn(&self, at_once: bool) -> Result<(), NoTurn> {
        loop {
            let wait = match self.book(at_once).await {
                Some(wait) => wait.ok_or(NoTurn::Later)?,
                None => return self.share_of_turns(at_once).await,
            };
            let until = Instant::now() + wait;
            if wait <= LONG {
                sleep_until(until).await;
                return Ok(());
            }
            sleep_until(until - LONG).await;
            // One who has waited for long may not know what the server has said meanwhile.
            let paused = self.pause(Duration::ZERO).await.unwrap_or_default();
            sleep_until(until).await;
            if paused <= LONG {
                return Ok(());
            }
        }
    }

    /// Books a turn: how long to wait for it, or none. `None` if the database is away, and this
    /// process has a share.
    async fn book(&self, at_once: bool) -> Option<Option<Duration>> {
        let mut waiting = None;
        loop {
            let (fleet, name) = (&*self.fleet.name, &*self.name);
            let params: [&(dyn ToSql + Sync); 5] = [&fleet, &name, &self.every, &self.burst, &at_once];
            let answer = self.fleet.link.query(TURN, &params, WITHIN).await;
            let error = match answer.and_then(|rows| nanos(rows.first())) {
                Ok(wait) => {
                    self.lock().share = None;
                    return Some(wait);
                }
                Err(error) => error,
            };
            if let WhenDown::Share { .. } = self.down {
                return None;
            }
            if waiting.is_none() {
                waiting = Some(Counted::new(&self.fleet.hub, |hub| &hub.waiting));
                tracing::debug!(limit = self.name, %error, "a turn waits for the fleet's database");
            }
            sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// A turn of this process's own share.
    async fn share_of_turns(&self, at_once: bool) -> Result<(), NoTurn> {
        let WhenDown::Share { of } = self.down else {
            return Err(NoTurn::Later);
        };
        let every = Duration::from_nanos(self.every.unsigned_abs()).saturating_mul(of.get());
        let at = {
            let mut state = self.lock();
            let now = Instant::now();
            if state.share.is_none() {
                tracing::warn!(
                    limit = self.name,
                    of,
                    "the limit is this process's share while the database is away"
                );
            }
            let next = *state.share.get_or_insert(now + every);
            let at = next.max(now).max(state.paused_until.unwrap_or(now));
            if at_once && at > now {
                return Err(NoTurn::Later);
            }
            state.share = Some(at + every);
            at
        };
        sleep_until(at).await;
        Ok(())
    }

    /// Pauses all of the fleet, and hears for how long.
    async fn pause(&self, length: Duration) -> Result<Duration, FleetError> {
        let (fleet, name, length) = (
            &*self.fleet.name,
            &*self.name,
            length.min(RetryAfter::CAP).as_nanos() as i64,
        );
        let rows = self.fleet.link.query(PAUSE, &[&fleet, &name, &length], WITHIN).await?;
        let paused = nanos(rows.first())?.unwrap_or_default();
        self.paused(paused);
        Ok(paused)
    }

    fn paused(&self, length: Duration) {
        let until = Instant::now() + length;
        let mut state = self.lock();
        state.paused_until = state.paused_until.max(Some(until));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time that a statement has returned; one that lies behind is none.
fn nanos(row: Option<&tokio_postgres::Row>) -> Result<Option<Duration>, FleetError> {
    let nanos = number(row)?;
    Ok(nanos.map(|nanos| Duration::from_nanos(nanos.max(0).unsigned_abs())))
}

impl fmt::Debug for FleetTurns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetTurns")
            .field("name", &self.0.name)
            .field("down", &self.0.down)
            .finish_non_exhaustive()
    }
}
