//! A WebSocket server that misbehaves by plan, and keeps account of what reached it. Each cell of the table has one.

mod connection;
mod handshake;
mod plan;
mod port;
mod speech;
mod throttle;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

pub(crate) use self::plan::{Conduct, Cut, Door, Plan};
use self::port::Port;

/// What reached the server. Times are counted from [`Server::run`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// When the first connection was up.
    pub(crate) up: Option<Duration>,
    /// When it was ended, by the plan.
    pub(crate) cut: Option<Duration>,
    /// When something answered again (or for the first time, if nobody was there).
    pub(crate) back: Option<Duration>,
    /// Each dial that came.
    pub(crate) dials: Vec<Dial>,
    /// Each call that was executed, in this order.
    pub(crate) applied: Vec<Applied>,
}

/// A dial.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) at: Duration,
    /// It was let in, and is not dropped at once.
    pub(crate) served: bool,
    pub(crate) token: Option<String>,
}

/// A call that was executed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Applied {
    pub(crate) at: Duration,
    pub(crate) n: u64,
    /// Of which dial, from 1.
    pub(crate) connection: usize,
}

/// A server that is about to run.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    plan: Plan,
    ledger: Arc<Mutex<Ledger>>,
    /// The first connection is up.
    up: Arc<Notify>,
    /// How the connections that are up are to end.
    cut: watch::Sender<Option<Cut>>,
    began: Instant,
}

/// What a connection needs of it.
#[derive(Clone, Debug)]
struct Shared {
    plan: Plan,
    ledger: Arc<Mutex<Ledger>>,
    up: Arc<Notify>,
    cut: watch::Receiver<Option<Cut>>,
    began: Instant,
}

impl Server {
    /// On a port of loopback that is free now. It is open from here on, unless the plan says later.
    pub(crate) fn new(plan: Plan) -> io::Result<(Self, Port)> {
        let mut port = Port::hold((Ipv4Addr::LOCALHOST, 0).into(), plan.reads_slowly())?;
        if plan.opens_after.is_zero() {
            port = port.open()?;
        }
        let server = Self {
            address: port.address()?,
            plan,
            ledger: Arc::default(),
            up: Arc::default(),
            cut: watch::Sender::new(None),
            began: Instant::now(),
        };
        Ok((server, port))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Since it was made.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(&self, port: Port) -> io::Result<()> {
        let shared = Shared {
            plan: self.plan,
            ledger: self.ledger.clone(),
            up: self.up.clone(),
            cut: self.cut.subscribe(),
            began: self.began,
        };
        sleep(self.plan.opens_after).await;
        let mut port = port.open()?;
        self.ledger().back = Some(self.now());
        let mut connections = JoinSet::new();
        let mut cut_at = None;
        let mut back_at = None;
        loop {
            tokio::select! {
                accepted = port.accept() => {
                    connections.spawn(connection::run(accepted?, shared.clone()));
                }
                // The first connection is up: now it is known when it is to be cut.
                () = self.up.notified() => cut_at = self.plan.cut.map(|(after, _)| Instant::now() + after),
                () = at(cut_at) => {
                    cut_at = None;
                    self.cut();
                    if !self.plan.away.is_zero() {
                        back_at = Some(Instant::now() + self.plan.away);
                        drop(port);
                        port = Port::hold(self.address, false)?;
                    }
                }
                () = at(back_at) => {
                    back_at = None;
                    port = port.open()?;
                    self.ledger().back = Some(self.now());
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn cut(&self) {
        let mut ledger = self.ledger();
        ledger.cut = Some(self.now());
        ledger.back = self.plan.away.is_zero().then(|| self.now());
        drop(ledger);
        self.cut.send_replace(self.plan.cut.map(|(_, cut)| cut));
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
