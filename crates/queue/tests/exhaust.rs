//! Every short history of a queue: nothing is lost, nothing comes twice, order is kept, and the bounds are.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt, future::poll_fn};
use tokio::time::Instant;
use tower_ws_core::{BoxConnection, Event, Failure, FailureKind, Outgoing, Phase, Ticket, Wrap, boxed};
use tower_ws_queue::{Overflow, QueueLayer};
use tower_ws_test_kit::{ManualConnection, sequences};

const SECOND: Duration = Duration::from_secs(1);
/// How many messages it may hold.
const ROOM: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    /// A message that is worth nothing in a second.
    SendBriefly,
    /// The caller of the oldest message that has not ended gives up.
    Cancel,
    Up,
    Down,
    /// The connection takes one more message.
    Take,
    Wait,
}

const STEPS: [Step; 7] = [
    Step::Send,
    Step::SendBriefly,
    Step::Cancel,
    Step::Up,
    Step::Down,
    Step::Take,
    Step::Wait,
];

#[test]
fn every_short_history() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    for overflow in [Overflow::Wait, Overflow::Refuse, Overflow::DropOldest] {
        let (mut sent, mut came_back) = (0, 0);
        for steps in sequences(&STEPS, 5) {
            let play = || runtime.block_on(play(&steps, overflow));
            let ends = catch_unwind(AssertUnwindSafe(play));
            let (went, back) = ends.unwrap_or_else(|_| panic!("{overflow:?}, after {steps:?}"));
            sent += went;
            came_back += back;
        }
        assert!(
            sent > 500 && came_back > 500,
            "{overflow:?}: {sent} sent, {came_back} came back"
        );
    }
}

/// How many messages were sent, and how many came back.
async fn play(steps: &[Step], overflow: Overflow) -> (usize, usize) {
    let manual = ManualConnection::new();
    let layer = QueueLayer::new().messages(ROOM).age(3 * SECOND).overflow(overflow);
    let mut world = World {
        queue: boxed(layer.wrap(manual.clone())),
        manual,
        up: false,
        tickets: BTreeMap::new(),
        dropped: Vec::new(),
        cancelled: Vec::new(),
        next: 0,
    };
    for &step in steps {
        world.step(step).await;
        world.check();
    }
    world.step(Step::Up).await;
    world.manual.takes(usize::MAX);
    world.drain();
    world.check();
    assert_eq!(world.tickets.len(), 0, "all that was accepted has an end");
    (world.sent().len(), world.dropped.len())
}

struct World {
    queue: BoxConnection<String>,
    manual: ManualConnection<String>,
    up: bool,
    /// Those that were accepted and have no end yet.
    tickets: BTreeMap<u32, Ticket>,
    dropped: Vec<u32>,
    /// Cancelled before they were sent.
    cancelled: Vec<u32>,
    next: u32,
}

impl World {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Send => self.send(None),
            Step::SendBriefly => self.send(Some(Instant::now() + SECOND)),
            Step::Cancel => {
                if let Some((&n, ticket)) = self.tickets.iter().find(|(_, ticket)| !ticket.is_cancelled())
                    && ticket.cancel() == Phase::Waiting
                {
                    self.cancelled.push(n);
                }
            }
            Step::Up if !self.up => {
                self.manual.up();
                self.manual.takes(0);
                self.up = true;
            }
            Step::Down if self.up => {
                self.manual.takes(0);
                self.manual.down(Failure::new(FailureKind::Network, "reset"), true);
                self.up = false;
            }
            Step::Take if self.up => self.manual.takes(1),
            Step::Wait => tokio::time::advance(SECOND).await,
            Step::Up | Step::Down | Step::Take => {}
        }
        self.drain();
    }

    /// Hands a message over, if there is room for it.
    fn send(&mut self, deadline: Option<Instant>) {
        if poll_fn(|cx| self.queue.poll_ready_unpin(cx)).now_or_never().is_none() {
            return;
        }
        self.next += 1;
        let ticket = Ticket::new();
        self.tickets.insert(self.next, ticket.clone());
        let mut item = Outgoing::new(self.next.to_string()).ticket(ticket);
        item.deadline = deadline;
        self.queue.start_send_unpin(item).unwrap();
    }

    /// Reads and flushes as long as that leads to something.
    fn drain(&mut self) {
        while let Some(event) = self.queue.next().now_or_never() {
            if let Event::Dropped(item, _) = event.expect("the session goes on") {
                self.dropped.push(item.message.parse().unwrap());
            }
        }
        let _ = self.queue.flush().now_or_never();
        for n in self.sent().iter().chain(&self.dropped) {
            self.tickets.remove(n);
        }
    }

    fn sent(&self) -> Vec<u32> {
        self.manual.sent().iter().map(|sent| sent.parse().unwrap()).collect()
    }

    fn check(&self) {
        let sent = self.sent();
        assert!(sent.is_sorted_by(|a, b| a < b), "in order, and once: {sent:?}");
        assert!(
            sent.iter().all(|n| !self.cancelled.contains(n)),
            "{sent:?} but {:?}",
            self.cancelled
        );
        let mut ends: Vec<_> = sent.iter().chain(&self.dropped).collect();
        ends.sort_unstable();
        assert!(ends.is_sorted_by(|a, b| a < b), "one end each: {ends:?}");
        assert!(
            self.tickets.len() <= ROOM,
            "within its bounds: {:?}",
            self.tickets.keys()
        );
    }
}
