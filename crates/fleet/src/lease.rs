//! A lane that this process owns: kept up by a task, and over by a clock.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    runtime,
    time::{Instant, sleep},
};
use tower_ws_core::{Clock, Disposition, Failure, FailureKind, Shared};
use tower_ws_spool::Tenure;

use crate::{
    error::FleetError,
    handle::{Counted, Hub},
    link::Link,
    validity::{Now, Validity},
};

const RENEW: &str = "UPDATE tower_ws_lane SET until = clock_timestamp() + lease \
    WHERE fleet = $1 AND name = $2 AND token = $3 RETURNING token";
const RELEASE: &str = "UPDATE tower_ws_lane SET until = '-infinity' WHERE fleet = $1 AND name = $2 AND token = $3";

/// How long to leave it before a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a lane is waited for that is given up without anybody who waits.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Which lane, of which fleet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    pub(crate) fleet: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// Kept up for as long as somebody holds it, then given back.
pub(crate) struct Lease {
    pub(crate) key: Key,
    pub(crate) token: i64,
    pub(crate) length: Duration,
    /// For this lane alone: what others wait for does not hold it up.
    pub(crate) link: Arc<Link>,
    pub(crate) hub: Shared<Hub>,
    pub(crate) runtime: runtime::Handle,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    _counted: Counted,
}

struct State {
    validity: Validity,
    lost: Option<Failure>,
    wakers: Vec<Waker>,
}

impl Lease {
    /// Of a lane that was acquired with a request of this moment. It has to be called on a runtime.
    pub(crate) fn begin(
        key: Key,
        token: i64,
        length: Duration,
        asked: Now,
        link: Arc<Link>,
        hub: Shared<Hub>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        tracing::info!(lane = %key.name, token, "this process owns the lane");
        let lease = Arc::new(Self {
            key,
            token,
            length,
            link,
            runtime: runtime::Handle::current(),
            clock,
            state: Mutex::new(State {
                validity: Validity::of(asked, length),
                lost: None,
                wakers: Vec::new(),
            }),
            _counted: Counted::new(&hub, |hub| &hub.lanes),
            hub,
        });
        tokio::spawn(keep(Arc::downgrade(&lease)));
        lease
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            at: Instant::now(),
            wall: self.clock.now(),
        }
    }

    /// How long it is still this process's without asking. None at all once it is lost, for good.
    pub(crate) fn left(&self) -> Duration {
        let (now, state) = (self.now(), self.lock());
        match state.lost {
            Some(_) => Duration::ZERO,
            None => state.validity.left(now),
        }
    }

    /// The database has said that it goes on, to a request of this moment.
    pub(crate) fn goes_on(&self, asked: Now) {
        // One that has run out is over, whatever is heard later.
        if self.left() > Duration::ZERO {
            self.lock().validity.extend(Validity::of(asked, self.length));
        }
    }

    /// It is over, for good, for the reason that is given first.
    pub(crate) fn lose(&self, why: &'static str) {
        let mut state = self.lock();
        if state.lost.is_some() {
            return;
        }
        let text = format!("the lane `{}` is not this process's any more: {why}", self.key.name);
        // Below a layer that redials, the next dial waits until it is this process's again.
        state.lost = Some(Failure::new(FailureKind::Local, text).with_disposition(Disposition::Backoff));
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.hub.lost.fetch_add(1, Relaxed);
        tracing::warn!(lane = %self.key.name, token = self.token, why, "this process has lost the lane");
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Why it is over, if it is: by what was heard, or by the clock.
    pub(crate) fn lost(&self) -> Option<Failure> {
        if self.left().is_zero() {
            self.lose(RAN_OUT);
        }
        self.lock().lost.clone()
    }

    /// Another one may have it from now on.
    pub(crate) async fn give_back(&self) -> Result<(), FleetError> {
        {
            let mut state = self.lock();
            if state.lost.is_some() {
                return Err(FleetError::Lost(self.key.name.to_string()));
            }
            let text = format!("the lane `{}` was handed over", self.key.name);
            state.lost = Some(Failure::new(FailureKind::Local, text).with_disposition(Disposition::Backoff));
            std::mem::take(&mut state.wakers)
        }
        .into_iter()
        .for_each(Waker::wake);
        release(&self.link, &self.key, self.token).await
    }

    async fn renew(&self, within: Duration) -> Result<bool, FleetError> {
        let asked = self.now();
        let (fleet, name) = (&*self.key.fleet, &*self.key.name);
        let rows = self.link.query(RENEW, &[&fleet, &name, &self.token], within).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        self.goes_on(asked);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn release(link: &Link, key: &Key, token: i64) -> Result<(), FleetError> {
    let (fleet, name) = (&*key.fleet, &*key.name);
    link.query(RELEASE, &[&fleet, &name, &token], GIVE_UP).await?;
    tracing::info!(lane = %key.name, token, "this process has handed the lane over");
    Ok(())
}

/// Renews a lease at each third of it, and looks at the clock for whoever waits for its end.
async fn keep(lease: Weak<Lease>) {
    let mut pause = Duration::ZERO;
    loop {
        let Some(length) = lease.upgrade().map(|lease| lease.length) else {
            return;
        };
        sleep(if pause.is_zero() { length / 3 } else { pause }).await;
        let Some(lease) = lease.upgrade() else {
            return;
        };
        let left = lease.left();
        if left.is_zero() {
            lease.lose(RAN_OUT);
            return;
        }
        // A server that has frozen is not waited for: another one may have its place.
        pause = match lease.renew(left.min(lease.length / 3)).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => {
                lease.lose(TAKEN);
                return;
            }
            Err(_) => AGAIN,
        };
    }
}

const RAN_OUT: &str = "it could not be renewed in time";
pub(crate) const TAKEN: &str = "another process has it";

impl Tenure for Lease {
    fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        // Before it is looked: what happens in between wakes it.
        {
            let mut state = self.lock();
            if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.wakers.push(cx.waker().clone());
            }
        }
        self.lost().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.left().is_zero() {
            return;
        }
        let (link, key, token) = (self.link.clone(), self.key.clone(), self.token);
        // If there is no runtime any more, it runs out.
        self.runtime.spawn(async move {
            if let Err(error) = release(&link, &key, token).await {
                tracing::debug!(lane = %key.name, %error, "the lane could not be handed over; its lease runs out");
            }
        });
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("lane", &self.key.name)
            .field("token", &self.token)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
