use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_ws_ack::Strategy;
use tower_ws_core::{Failure, Pack};
use tower_ws_spool::{Spool, SpoolOptions, Tenure};

use crate::{
    error::FleetError,
    fleet::Shared,
    handle::Counted,
    journal::{self, LaneJournal},
    layer::LeaseLayer,
    lease::{Key, Lease},
    link::number,
    validity::Now,
};

const ACQUIRE: &str = "SELECT tower_ws_acquire($1, $2, $3)";

/// How often it is looked whether a lane is free, on average. A lane that is handed over is taken
/// at the next look.
const LOOK: Duration = Duration::from_millis(250);
/// How long an answer may take, if the lease is not shorter: then it would come too late.
const WITHIN: Duration = Duration::from_secs(5);

/// One thing of which a fleet is to have one at a time: a session, its outbox. See [the crate
/// docs](crate#lanes).
///
/// [`Fleet::lane`](crate::Fleet::lane) makes it. It is nothing but a name until it is acquired.
#[derive(Clone)]
pub struct Lane {
    fleet: Shared,
    key: Key,
}

impl Lane {
    pub(crate) fn new(fleet: Shared, name: &str) -> Self {
        let key = Key {
            fleet: fleet.name.clone(),
            name: name.into(),
        };
        Self { fleet, key }
    }

    /// Waits until this process owns the lane: until nobody has it, or whoever has it has not
    /// renewed it for the length of a [lease](crate::Fleet::lease). While the database is away it
    /// waits on.
    ///
    /// It looks four times a second. Dropping the future gives up the wait; one that is dropped in
    /// the middle of a request may have acquired the lane, which then runs out.
    ///
    /// # Errors
    ///
    /// [`Schema`](FleetError::Schema), [`Denied`](FleetError::Denied) and
    /// [`Database`](FleetError::Database): what does not pass by itself.
    pub async fn acquire(&self) -> Result<Owned, FleetError> {
        Ok(Owned {
            lease: self.lease().await?,
            opened: AtomicBool::new(false),
        })
    }

    pub(crate) async fn lease(&self) -> Result<Arc<Lease>, FleetError> {
        let fleet = &self.fleet;
        let (length, hub) = (fleet.lease, &fleet.hub);
        let _counted = Counted::new(hub, |hub| &hub.standing_by);
        let mut told = false;
        loop {
            let asked = Now {
                at: tokio::time::Instant::now(),
                wall: fleet.clock.now(),
            };
            let (name, lane, millis) = (&*self.key.fleet, &*self.key.name, length.as_millis() as i64);
            let within = WITHIN.min(length);
            match fleet.link.query(ACQUIRE, &[&name, &lane, &millis], within).await {
                Ok(rows) => {
                    if let Some(token) = number(rows.first())? {
                        let link = Arc::new(fleet.link.another());
                        let (key, clock) = (self.key.clone(), fleet.clock.clone());
                        return Ok(Lease::begin(key, token, length, asked, link, hub.clone(), clock));
                    }
                }
                Err(error) if !error.is_passing() => return Err(error),
                Err(_) => {}
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(lane = %self.key.name, "this process stands by for the lane");
            }
            // Not all at once.
            sleep(LOOK.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// A layer by which a standby waits with its dials until it owns the lane.
    pub fn layer(&self) -> LeaseLayer {
        LeaseLayer::new(self.clone())
    }
}

/// A lane that this process owns. See [the crate docs](crate#lanes).
///
/// It is renewed by a task of the runtime that it was acquired on. Once it and its
/// [spool](Self::spool) are dropped it is handed over, if the database can be reached, or runs out.
pub struct Owned {
    lease: Arc<Lease>,
    opened: AtomicBool,
}

impl Owned {
    /// The fencing token: each owner of a lane has a larger one than all before. Show it to the
    /// peer, if it can refuse a smaller one: that is the only way by which a process that stood
    /// still in the middle of a write can be kept from finishing it.
    pub fn token(&self) -> u64 {
        self.lease.token.unsigned_abs()
    }

    /// Whether it is still this process's, by the clock: nine tenths of its time after the last
    /// request that renewed it. Once it is not, it never is again.
    pub fn is_valid(&self) -> bool {
        !self.lease.left().is_zero()
    }

    /// Waits until it is not this process's any more, and says why.
    pub async fn lost(&self) -> Failure {
        poll_fn(|cx| self.lease.poll_lost(cx)).await
    }

    /// The outbox of the lane, with what earlier owners left in it, for a queue: see
    /// [`Spool`]. Once for each time that the lane is acquired.
    ///
    /// When the lane is lost, the session over it ends for good, with the cause.
    ///
    /// # Errors
    ///
    /// [`Opened`](FleetError::Opened), the second time; [`Lost`](FleetError::Lost);
    /// [`Spool`](FleetError::Spool), if a record is no message; or that of the database: then it may
    /// be tried again.
    pub async fn spool<M, P, S>(&self, options: SpoolOptions<P>, strategy: S) -> Result<Spool<M, S, P>, FleetError>
    where
        P: Pack<M>,
        S: Strategy<M>,
    {
        let lane = || self.lease.key.name.to_string();
        if !self.is_valid() {
            return Err(FleetError::Lost(lane()));
        }
        // On a connection of its own: the lease is renewed meanwhile.
        let contents = journal::load(&self.lease.link.another(), &self.lease).await?;
        if self.opened.swap(true, SeqCst) {
            return Err(FleetError::Opened(lane()));
        }
        let journal = LaneJournal::new(self.lease.clone());
        let spool = options.over(journal, contents, strategy);
        spool.map_err(|cause| FleetError::Spool { lane: lane(), cause })
    }

    /// Lets another process have the lane at once. [Close](Spool::close) the session and the spool
    /// first: from here on nothing leaves.
    ///
    /// # Errors
    ///
    /// If the database did not say that it is done, the lane runs out; or it is
    /// [lost](FleetError::Lost) already.
    pub async fn hand_over(self) -> Result<(), FleetError> {
        self.lease.give_back().await
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lane").field(&self.key.name).finish()
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owned").field(&self.lease).finish()
    }
}
