use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tower_ws_core::{Lease, Progress, Shared};

use crate::{
    error::ProbeError,
    estimate::Estimate,
    handle::Handle,
    snapshot::{Quality, Snapshot},
};

pub(crate) type Outcome = Result<Duration, ProbeError>;

/// What the connections of a session share with the handles.
#[derive(Debug)]
pub(crate) struct Hub {
    ledger: Mutex<Ledger>,
    // Counted with each message, so not under the lock.
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    watch: watch::Sender<Snapshot>,
    asked: AtomicBool,
    /// Whoever reads the connection.
    driver: AtomicWaker,
}

#[derive(Debug)]
struct Ledger {
    estimate: Estimate,
    sent: u64,
    answered: u64,
    lost: u64,
    connections: u64,
    /// Connections that were left in silence while no probe has ever been answered.
    never_answered: u32,
    up_since: Option<Instant>,
    /// Of the present connection.
    progress: Option<Progress>,
    /// In and out, of those before it.
    bytes_before: (u64, u64),
    waiting: Vec<oneshot::Sender<Outcome>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Mutex::new(Ledger {
                estimate: Estimate::new(),
                sent: 0,
                answered: 0,
                lost: 0,
                connections: 0,
                never_answered: 0,
                up_since: None,
                progress: None,
                bytes_before: (0, 0),
                waiting: Vec::new(),
            }),
            messages_in: AtomicU64::new(0),
            messages_out: AtomicU64::new(0),
            watch: watch::Sender::new(Snapshot::default()),
            asked: AtomicBool::new(false),
            driver: AtomicWaker::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&self.lock())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.watch.subscribe()
    }

    /// Joins whoever waits for the answer of a probe, and has one sent if nobody does.
    pub(crate) fn ask(&self) -> Result<oneshot::Receiver<Outcome>, ProbeError> {
        let mut ledger = self.lock();
        if ledger.up_since.is_none() {
            return Err(ProbeError::NoConnection);
        }
        let (tell, told) = oneshot::channel();
        ledger.waiting.retain(|waiting| !waiting.is_closed());
        ledger.waiting.push(tell);
        // Under the lock: or the outcome of the probe before could answer this one, and the flag
        // ask for another.
        self.asked.store(true, Ordering::Release);
        drop(ledger);
        self.driver.wake();
        Ok(told)
    }

    fn snapshot_of(&self, ledger: &Ledger) -> Snapshot {
        let (bytes_in, bytes_out) = ledger.bytes();
        Snapshot {
            rtt: ledger.estimate.rtt(),
            quality: match ledger.up_since {
                Some(_) => ledger.estimate.quality(),
                None => Quality::Unknown,
            },
            probes_sent: ledger.sent,
            probes_answered: ledger.answered,
            probes_lost: ledger.lost,
            connections: ledger.connections,
            up_since: ledger.up_since,
            messages_in: self.messages_in.load(Ordering::Relaxed),
            messages_out: self.messages_out.load(Ordering::Relaxed),
            bytes_in,
            bytes_out,
        }
    }

    /// Changes the ledger, and tells those who watch.
    fn edit(&self, edit: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.lock();
        edit(&mut ledger);
        self.watch.send_replace(self.snapshot_of(&ledger));
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Nothing in it is left half done.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn bytes(&self) -> (u64, u64) {
        let (read, written) = self.bytes_before;
        match &self.progress {
            Some(progress) => (read + progress.read(), written + progress.written()),
            None => (read, written),
        }
    }
}

/// A connection's end of the [`Hub`].
#[derive(Debug)]
pub(crate) struct ConnectionStats {
    hub: Lease<Hub>,
    up: bool,
}

impl ConnectionStats {
    pub(crate) fn begin(shared: Option<&Shared<Hub>>) -> Self {
        Self {
            hub: Lease::of(shared, Hub::new),
            up: false,
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.hub.shared())
    }

    pub(crate) fn up(&mut self, progress: Option<Progress>) {
        self.up = true;
        self.hub.edit(|ledger| {
            ledger.connections += 1;
            ledger.up_since = Some(Instant::now());
            ledger.progress = progress;
            ledger.estimate.begin();
        });
    }

    /// The connection is left in silence. True if no probe has ever been answered.
    pub(crate) fn left(&self) -> bool {
        let mut ledger = self.hub.lock();
        let never = ledger.answered == 0;
        ledger.never_answered = if never {
            ledger.never_answered.saturating_add(1)
        } else {
            0
        };
        never
    }

    /// How many connections have been left in silence, if no probe has ever been answered.
    pub(crate) fn never_answered(&self) -> u32 {
        let ledger = self.hub.lock();
        if ledger.answered == 0 { ledger.never_answered } else { 0 }
    }

    /// The connection is gone, and what was not answered with it.
    pub(crate) fn down(&mut self) {
        if std::mem::take(&mut self.up) {
            self.hub.edit(|ledger| {
                ledger.bytes_before = ledger.bytes();
                ledger.progress = None;
                ledger.up_since = None;
                ledger.lost = ledger.sent - ledger.answered;
            });
            self.resolve(&Err(ProbeError::Disconnected));
        }
    }

    pub(crate) fn message_in(&self) {
        self.hub.messages_in.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn message_out(&self) {
        self.hub.messages_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) {
        self.hub.edit(|ledger| ledger.sent += 1);
    }

    pub(crate) fn answered(&self, rtt: Duration) {
        self.hub.edit(|ledger| {
            ledger.answered += 1;
            ledger.estimate.answered(rtt);
        });
    }

    pub(crate) fn lost(&self, probes: u64) {
        if probes > 0 {
            self.hub.edit(|ledger| {
                ledger.lost += probes;
                (0..probes).for_each(|_| ledger.estimate.lost());
            });
        }
    }

    /// Leaves word whom [`Handle::probe_now`] should wake.
    pub(crate) fn park(&self, cx: &Context<'_>) {
        self.hub.driver.register(cx.waker());
    }

    /// True if somebody asked for a probe since the last look.
    pub(crate) fn take_asked(&self) -> bool {
        // The load spares the cache line that the handles share: this is looked at with every read.
        self.hub.asked.load(Ordering::Acquire) && self.hub.asked.swap(false, Ordering::AcqRel)
    }

    /// Tells those who asked for a probe.
    pub(crate) fn resolve(&self, outcome: &Outcome) {
        let waiting = {
            let mut ledger = self.hub.lock();
            self.hub.asked.store(false, Ordering::Release);
            std::mem::take(&mut ledger.waiting)
        };
        for waiting in waiting {
            // Whoever gave up is not told.
            let _ = waiting.send(outcome.clone());
        }
    }
}

impl Drop for ConnectionStats {
    fn drop(&mut self) {
        self.down();
    }
}
