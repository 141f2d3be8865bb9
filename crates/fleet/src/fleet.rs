use std::{fmt, sync::Arc, time::Duration};

use tokio_postgres::{
    Config, NoTls, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};
use tower_ws_auth::Provider;
use tower_ws_core::{Clock, SystemClock};
use tower_ws_rate_limit::{Limiter, Quota};

use crate::{
    error::FleetError,
    handle::{Handle, Hub},
    lane::Lane,
    link::{self, Link},
    seal::Sealed,
    token::SharedProvider,
    turns::{FleetTurns, WhenDown},
};

/// The tables and functions that a fleet needs, for whoever applies them by hand, as an owner that the
/// workers are not. It may be applied again.
pub const SCHEMA: &str = include_str!("schema.sql");

/// Only one at a time makes the schema: two would fail each other.
const MIGRATE: &str = concat!(
    "BEGIN; SELECT pg_advisory_xact_lock(8391570931267154017);",
    include_str!("schema.sql"),
    "COMMIT;"
);
const MIGRATION: Duration = Duration::from_secs(60);

/// What processes share by one database. See the [crate docs](crate).
///
/// Clones are the same fleet, in this process. It connects when it is first used.
#[derive(Clone)]
pub struct Fleet(Shared);

/// What everything that is made by a fleet has of it.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) link: Arc<Link>,
    pub(crate) hub: tower_ws_core::Shared<Hub>,
    pub(crate) lease: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Fleet {
    /// The default of [`lease`](Self::lease): 5 s. A restart of the database is over in that time as
    /// a rule, so that no lane changes hands for it.
    pub const LEASE: Duration = Duration::from_secs(5);
    /// The least: 500 ms. Two renewals may fail in it, and a busy machine may be late.
    pub const MIN_LEASE: Duration = Duration::from_millis(500);

    /// A fleet of this name. Two names on one database know nothing of each other.
    ///
    /// The way to the database is **not encrypted**: for one on this machine, or in a network that
    /// is. [`with_tls`](Self::with_tls) encrypts it.
    ///
    /// If several servers are named, the one that takes writes is used: see [the crate
    /// docs](crate#operations).
    pub fn new(config: Config, name: &str) -> Self {
        Self::with_tls(config, name, NoTls)
    }

    /// The same, with what makes TLS of a connection: `tokio_postgres_rustls::MakeRustlsConnect`, or
    /// another. Set [`ssl_mode`](Config::ssl_mode) to `Require`: by default a server that speaks no
    /// TLS is taken, too.
    pub fn with_tls<T>(config: Config, name: &str, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket, Stream: Send, TlsConnect: Send + TlsConnect<Socket, Future: Send>>
            + Clone
            + Send
            + Sync
            + 'static,
        T::Stream: 'static,
    {
        let hub = tower_ws_core::Shared::new(Hub::default());
        Self(Shared {
            name: name.into(),
            link: Arc::new(Link::new(link::connector(config, tls), hub.clone())),
            hub,
            lease: Self::LEASE,
            clock: Arc::new(SystemClock),
        })
    }

    /// Sets for how long a lane is an owner's that does not renew it: so long nobody has it after a
    /// crash. Default [5 s](Self::LEASE), [500 ms](Self::MIN_LEASE) at least. All processes should
    /// have the same.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.0.lease = length.max(Self::MIN_LEASE);
        self
    }

    /// Sets the wall clock, by which a machine that slept learns of it. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.0.clock = Arc::new(clock);
        self
    }

    /// Makes the tables and functions of [`SCHEMA`], if they are not there. The user has to be
    /// allowed to; workers need not be.
    ///
    /// # Errors
    ///
    /// [`FleetError`]; nothing has been changed then.
    pub async fn migrate(&self) -> Result<(), FleetError> {
        self.0.link.another().batch(MIGRATE, MIGRATION).await
    }

    /// The limit of this name: all who have it in this fleet pass together no more than the quota
    /// allows, of which all should have the same one. See [the crate docs](crate#limits).
    pub fn limiter(&self, name: &str, quota: Quota, down: WhenDown) -> Limiter {
        Limiter::shared(FleetTurns::new(self.0.clone(), name, quota, down))
    }

    /// `inner`, asked once for all processes of the fleet: see [the crate docs](crate#tokens).
    /// `sealed` says how the credential is kept in the database.
    pub fn provider<P: Provider>(&self, name: &str, inner: P, sealed: Sealed) -> SharedProvider<P> {
        SharedProvider::new(self.0.clone(), name, inner, sealed)
    }

    /// The lane of this name.
    pub fn lane(&self, name: &str) -> Lane {
        Lane::new(self.0.clone(), name)
    }

    #[cfg(test)]
    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    /// A handle to look into it.
    pub fn handle(&self) -> Handle {
        Handle(self.0.hub.clone())
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("name", &self.0.name)
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}
