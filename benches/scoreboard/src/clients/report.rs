//! Events on standard output.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::work::Event;

/// One line.
pub(super) fn say(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        println!("{line}");
    }
}

/// Counts pushes, and says so when they have come: a line for each would cost more than the push.
#[derive(Clone, Debug)]
pub(super) struct Pushes {
    counts: Arc<Mutex<Counts>>,
    changed: Arc<Notify>,
    /// What the application does with each takes so long.
    handling: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    count: u64,
    told: u64,
    disordered: u64,
    last: u64,
}

impl Pushes {
    pub(super) fn new(handling_ms: u64) -> Self {
        let pushes = Self {
            counts: Arc::default(),
            changed: Arc::default(),
            handling: Duration::from_millis(handling_ms),
        };
        tokio::spawn(pushes.clone().report());
        pushes
    }

    /// The `n`th has come to the application, which takes its time with it.
    pub(super) async fn came(&self, n: u64) {
        self.count(n);
        if !self.handling.is_zero() {
            sleep(self.handling).await;
        }
    }

    /// The same for a client that hands them to a function that cannot wait: it blocks the client's thread.
    #[expect(clippy::disallowed_methods, reason = "it is to block")]
    pub(super) fn came_at_once(&self, n: u64) {
        self.count(n);
        std::thread::sleep(self.handling);
    }

    fn count(&self, n: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.count += 1;
        if n < counts.last {
            counts.disordered += 1;
        }
        counts.last = counts.last.max(n);
        self.changed.notify_one();
    }

    /// The client says that so many are missing.
    pub(super) fn missed(&self, told: u64) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).told += told;
        self.changed.notify_one();
    }

    async fn report(self) {
        loop {
            self.changed.notified().await;
            sleep(Duration::from_millis(200)).await;
            let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, told, disordered) = (counts.count, counts.told, counts.disordered);
            drop(counts);
            say(&Event::Pushed {
                count,
                told,
                disordered,
            });
        }
    }
}
