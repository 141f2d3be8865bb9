//! Every short history of a session: what it says of its connections is in order, a message goes once or comes back, dials keep
//! their distance, and in the end it is up again.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt, future::poll_fn};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};
use tower_ws_core::{Event, Failure, FailureKind, Outgoing};
use tower_ws_reconnect::{Handle, ReconnectConnection, ReconnectLayer};
use tower_ws_test_kit::{ManualConnection, ManualDialer, sequences};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next dial gives a connection, or fails.
    Accept,
    Refuse,
    /// The connection is lost.
    Lose,
    Send,
    Wait,
    /// What a handle asks for.
    ReconnectNow,
    GoOffline,
}

const STEPS: [Step; 7] = [
    Step::Accept,
    Step::Refuse,
    Step::Lose,
    Step::Send,
    Step::Wait,
    Step::ReconnectNow,
    Step::GoOffline,
];

#[test]
fn every_short_history() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let (mut epochs, mut sent, mut came_back) = (0, 0, 0);
    for steps in sequences(&STEPS, 5) {
        let play = || runtime.block_on(play(&steps));
        let world = catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|_| panic!("after {steps:?}"));
        epochs += world.epoch;
        sent += world.sent().len();
        came_back += world.dropped.len();
    }
    println!("{epochs} connections, {sent} messages sent, {came_back} came back");
    assert!(epochs > 10_000 && sent > 10_000);
}

async fn play(steps: &[Step]) -> World {
    let dialer = ManualDialer::new();
    let first = dialer.accepts();
    let layer = ReconnectLayer::new().seed(1);
    let session = layer.layer(dialer.clone()).oneshot(()).await.unwrap();
    let mut world = World {
        session,
        dialer,
        connections: vec![first],
        handle: None,
        dials: vec![Instant::now()],
        epoch: 0,
        up: false,
        next: 0,
        dropped: Vec::new(),
    };
    world.drain();
    for &step in steps {
        world.step(step).await;
    }
    world.ends_well().await;
    world
}

struct World {
    session: ReconnectConnection<ManualDialer<u32>, ()>,
    dialer: ManualDialer<u32>,
    /// Those that dials gave or will give, in order.
    connections: Vec<ManualConnection<u32>>,
    handle: Option<Handle>,
    /// When they were begun.
    dials: Vec<Instant>,
    epoch: u64,
    up: bool,
    next: u32,
    dropped: Vec<u32>,
}

impl World {
    async fn step(&mut self, step: Step) {
        let handle = self.handle.clone().unwrap();
        match step {
            Step::Accept => self.connections.push(self.dialer.accepts()),
            Step::Refuse => self.dialer.refuses(Failure::new(FailureKind::Network, "refused")),
            Step::Lose => self.lose(),
            Step::Send => self.send(),
            Step::Wait => advance(2 * SECOND).await,
            Step::ReconnectNow | Step::GoOffline => {
                match step {
                    Step::ReconnectNow => handle.reconnect_now(),
                    _ => handle.go_offline(),
                }
                // It closes, and the peer answers.
                self.drain();
                self.lose();
            }
        }
        self.drain();
    }

    fn lose(&self) {
        if self.up {
            let connection = &self.connections[self.epoch as usize - 1];
            connection.down(Failure::new(FailureKind::Network, "reset"), false);
            connection.end();
        }
    }

    /// Hands a message over, if the session is ready for one.
    fn send(&mut self) {
        let ready = poll_fn(|cx| self.session.poll_ready_unpin(cx)).now_or_never();
        assert!(ready.is_none() || self.up, "ready without a connection");
        if let Some(ready) = ready {
            ready.unwrap();
            self.next += 1;
            self.session.start_send_unpin(Outgoing::new(self.next)).unwrap();
        }
    }

    /// Reads as long as there is something to read.
    fn drain(&mut self) {
        while let Some(event) = self.session.next().now_or_never() {
            match event.expect("nothing was final") {
                Event::Up(up) => {
                    assert!(!self.up, "two connections at once");
                    assert_eq!(up.epoch, self.epoch + 1);
                    self.handle = up.extensions.get().cloned();
                    (self.epoch, self.up) = (up.epoch, true);
                }
                Event::Down(down) => {
                    assert!(self.up && down.will_retry);
                    assert_eq!(down.epoch, self.epoch);
                    self.up = false;
                }
                Event::Dropped(item, _) => self.dropped.push(item.message),
                other => panic!("nobody said it: {other:?}"),
            }
        }
        self.dials.resize(self.dialer.dials(), Instant::now());
        let apart = self.dials.windows(2).all(|pair| pair[1] - pair[0] >= SECOND);
        let few = self.dials.windows(6).all(|six| six[5] - six[0] >= 10 * SECOND);
        assert!(apart && few, "dials that keep no distance: {:?}", self.dials);
    }

    fn sent(&self) -> Vec<u32> {
        self.connections.iter().flat_map(ManualConnection::sent).collect()
    }

    /// Once the network is there again, it is up within the longest delay, and takes a message.
    async fn ends_well(&mut self) {
        self.handle.clone().unwrap().go_online();
        for _ in 0..8 {
            self.step(Step::Accept).await;
            advance(10 * SECOND).await;
            self.drain();
        }
        assert!(self.up, "it is up again");
        self.step(Step::Send).await;
        let sent = self.sent();
        assert_eq!(sent.last(), Some(&self.next), "it takes a message");
        assert!(sent.is_sorted_by(|a, b| a < b), "in order, and once: {sent:?}");
        let mut ends: Vec<_> = sent.iter().chain(&self.dropped).copied().collect();
        ends.sort_unstable();
        assert!(
            ends.into_iter().eq(1..=self.next),
            "each has one end: {sent:?}, {:?}",
            self.dropped
        );
    }
}
