//! One measurement: how many replies, in what time, for how much processor time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::BoxError;
use crate::cpu::Clocks;
use crate::load::Load;

/// A client without a reply for so long is not slow but stuck.
const STALLED: Duration = Duration::from_secs(5);

/// How long a client is driven before, and while, it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) run: Duration,
}

/// What one run came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Replies a second.
    pub(crate) rate: f64,
    /// Processor time of the client per reply, in microseconds.
    pub(crate) cpu_us: f64,
    /// The time that half of the replies took at most, in microseconds; known of those that come one
    /// by one.
    pub(crate) p50_us: Option<f64>,
    /// How often the client woke up, each second and for each connection.
    pub(crate) wake_ups: f64,
    /// The share of the machine that other processes used meanwhile, from 0 to 1.
    pub(crate) others: f64,
}

/// Counts the replies that have been checked.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    replies: Arc<AtomicU64>,
    /// Where replies come one by one.
    laps: Option<Arc<Mutex<Laps>>>,
}

/// How long each reply took.
#[derive(Debug)]
struct Laps {
    last: Instant,
    took: Vec<Duration>,
}

/// Measures the clients of these meters, which run beside this future.
pub(crate) async fn sample(meters: &[Meter], load: Load, timing: Timing, peer: u32) -> Result<Sample, BoxError> {
    let busy = load.window > 0;
    sleep(timing.warm_up).await;
    if busy {
        next_reply(meters).await?;
    }
    // There are some only where there is one client.
    let laps = || meters.first()?.laps();
    if let Some(mut laps) = laps() {
        laps.took.clear();
    }
    let (clocks, replies, at) = (Clocks::read(peer)?, total(meters), Instant::now());
    sleep(timing.run).await;
    if busy {
        next_reply(meters).await?;
    }
    let (took, replies) = (at.elapsed(), total(meters) - replies);
    let now = Clocks::read(peer)?;
    Ok(Sample {
        rate: replies as f64 / took.as_secs_f64(),
        cpu_us: now.client_since(&clocks).as_secs_f64() * 1e6 / replies as f64,
        p50_us: laps().and_then(|mut laps| laps.p50_us()),
        wake_ups: now.wake_ups_since(&clocks) as f64 / took.as_secs_f64() / load.connections as f64,
        others: now.others_since(&clocks)?,
    })
}

/// Waits for a reply: a client that stopped on the way would pass for a slow one.
async fn next_reply(meters: &[Meter]) -> Result<(), BoxError> {
    let (before, at) = (total(meters), Instant::now());
    while total(meters) == before {
        if at.elapsed() > STALLED {
            return Err("no replies any more".into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Waits until each client has had a reply: those that are still dialling do not count for much.
pub(crate) async fn all_up(meters: &[Meter]) -> Result<(), BoxError> {
    let at = Instant::now();
    while meters.iter().any(|meter| meter.total() == 0) {
        if at.elapsed() > STALLED {
            return Err("no reply to some of the clients".into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn total(meters: &[Meter]) -> u64 {
    meters.iter().map(Meter::total).sum()
}

// === impl Meter ===

impl Meter {
    pub(crate) fn new(load: Load) -> Self {
        let laps = || Laps {
            last: Instant::now(),
            took: Vec::new(),
        };
        Self {
            replies: Arc::default(),
            laps: load.is_sequential().then(|| Arc::new(Mutex::new(laps()))),
        }
    }

    pub(crate) fn add(&self, replies: u64) {
        self.replies.fetch_add(replies, Ordering::Relaxed);
        if replies > 0
            && let Some(mut laps) = self.laps()
        {
            let now = Instant::now();
            let took = now - laps.last;
            laps.took.push(took);
            laps.last = now;
        }
    }

    /// Waits until there have been so many replies.
    pub(crate) async fn reached(&self, replies: u64) {
        while self.total() < replies {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn laps(&self) -> Option<MutexGuard<'_, Laps>> {
        Some(self.laps.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn total(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }
}

// === impl Laps ===

impl Laps {
    fn p50_us(&mut self) -> Option<f64> {
        self.took.sort_unstable();
        Some(self.took.get(self.took.len() / 2)?.as_secs_f64() * 1e6)
    }
}
