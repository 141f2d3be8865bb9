//! What a client keeps: never more than it was told, and nothing once all is said and done.

use std::time::Duration;

use tokio::{task::JoinHandle, time::sleep};
use tower_ws::{
    core::{Length, Up},
    monitor::Monitor,
    queue::QueueLayer,
};

use crate::faults::Plan;

/// How many messages may be sent and not acknowledged, in worlds that say so.
pub(crate) const WINDOW: usize = 4;

/// Of one that is accepted before its size is known.
const BEYOND: f64 = 1.0;

pub(crate) struct Bounds {
    monitor: Monitor,
    watching: JoinHandle<()>,
}

impl Bounds {
    /// Looks ten times a second, from now on.
    pub(crate) fn watch(up: &Up, plan: &Plan) -> Self {
        let monitor = Monitor::of(up);
        let room = plan.queue.map_or(QueueLayer::<Length>::MESSAGES, |(room, _)| room) as f64;
        let window = plan.window().map(|window| window as f64);
        let watched = Monitor::of(up);
        let watching = tokio::spawn(async move {
            loop {
                let numbers = watched.snapshot().numbers;
                let depth = numbers["queue_depth"];
                assert!(depth <= room + BEYOND, "{depth} wait, and there is room for {room}");
                if let Some(window) = window {
                    let kept = numbers["ack_in_flight"];
                    assert!(kept <= window + BEYOND, "{kept} are kept, and the window is {window}");
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self { monitor, watching }
    }

    /// All that was sent has come to its end: soon nothing is kept.
    pub(crate) async fn drained(self) {
        assert!(!self.watching.is_finished(), "{:?}", self.watching.await);
        self.watching.abort();
        for _ in 0..600 {
            let numbers = self.monitor.snapshot().numbers;
            let kept = ["queue_depth", "queue_bytes", "ack_in_flight", "ack_bytes"];
            // Layers that are not there have no numbers.
            let left: Vec<_> = kept
                .iter()
                .filter(|&&name| numbers.get(name).is_some_and(|&n| n > 0.0))
                .collect();
            if left.is_empty() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("it keeps what nobody waits for: {:?}", self.monitor.snapshot().numbers);
    }
}
