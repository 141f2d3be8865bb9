use std::time::Duration;

use futures_util::{SinkExt, future::join};
use tokio::time::{sleep, timeout};
use tower_ws_core::{Lane, Outgoing};

use crate::conformance::{
    harness::{Harness, Peer},
    link::SETTLE,
    suite::{Outcome, Suite, broken},
};

/// Numbers from here on are control messages.
const CONTROL: u64 = 1 << 32;

/// How messages move.
impl<H: Harness> Suite<H, H::Message> {
    /// What is sent arrives in the order in which it was sent, in both directions, on each lane.
    pub async fn order_is_kept(&self) -> Outcome {
        self.hold("order_is_kept", async {
            for seed in self.seeds.clone() {
                let mut rng = self.rng(seed);
                let mut link = self.link().await;
                link.up().await;
                link.read_on_another_task();
                self.at("sending while the peer reads");
                let items: Vec<u64> = (0..100)
                    .map(|n| if rng.u8(..) < 32 { CONTROL + n } else { n })
                    .collect();
                let mut sink = link.sink.clone();
                let write = async {
                    for &n in &items {
                        let item = Outgoing::new(self.message(n));
                        let item = if n < CONTROL { item } else { item.control() };
                        let sent = match rng.bool() {
                            true => sink.send(item).await,
                            false => sink.feed(item).await,
                        };
                        sent.unwrap_or_else(|error| broken("an open connection", error));
                    }
                    let _ = sink.flush().await;
                };
                let read = async { while link.arrived.len() < items.len() && link.arrival().await.is_some() {} };
                join(write, read).await;
                for lane in [false, true] {
                    let only =
                        |all: &[u64]| -> Vec<u64> { all.iter().copied().filter(|n| (*n >= CONTROL) == lane).collect() };
                    same("sent", &only(&items), &only(&link.arrived));
                }

                self.at("reading what the peer sends");
                for n in 0..100 {
                    link.peer.send(self.message(n)).await;
                }
                while link.read.len() < 100 && link.event().await.is_some() {}
                same("received", &Vec::from_iter(0..100), &link.read);
            }
            Outcome::Held
        })
        .await
    }

    /// A writer that waits on a task of its own goes on when the peer reads again, and when the
    /// connection ends.
    pub async fn a_writer_on_another_task_is_woken(&self) -> Outcome {
        self.hold("a_writer_on_another_task_is_woken", async {
            let mut outcome = Outcome::Held;
            for ends in [false, true] {
                let mut link = self.link().await;
                link.up().await;
                link.read_on_another_task();
                let jam = match link.jam().await {
                    Ok(jam) => jam,
                    Err((why, _)) => return Outcome::NotRun(why),
                };
                let next = jam.len() as u64;
                let mut sink = link.sink.clone();
                let item = Outgoing::new(self.message(next));
                let writer = tokio::spawn(async move { sink.send(item).await });
                sleep(SETTLE).await;
                if ends {
                    if !link.cut().await {
                        outcome = Outcome::Adapted("the peer cannot end a connection: it only read again");
                        continue;
                    }
                    self.at("waiting for the writer after the connection has ended");
                    if self.traits.redials {
                        while link.arrival().await.is_some_and(|n| n != next) {}
                    }
                } else {
                    self.at("waiting for the writer after the peer reads again");
                    // Only the writer flushes here.
                    while link.arrival().await.is_some_and(|n| n != next) {}
                }
                let sent = writer.await.unwrap_or_else(|error| broken("a writer that ends", error));
                match sent {
                    Err(error) if !ends || self.traits.redials => broken("a message that is sent", error),
                    Ok(()) if ends && !self.traits.redials && !self.traits.holds => {
                        broken("an error: the connection has ended", "a message that was sent");
                    }
                    _ => {}
                }
            }
            outcome
        })
        .await
    }

    /// Sixteen control messages may be handed over without readiness, and all of them arrive.
    pub async fn control_needs_no_readiness(&self) -> Outcome {
        self.hold("control_needs_no_readiness", async {
            let mut link = self.link().await;
            link.up().await;
            link.read_on_another_task();
            if let Err((why, _)) = link.jam().await {
                return Outcome::NotRun(why);
            }
            let controls: Vec<u64> = (0..Lane::CONTROL_ROOM as u64).map(|n| CONTROL + n).collect();
            for &n in &controls {
                let (item, _) = link.item(n);
                if let Err(error) = link.start_send(item.control()) {
                    broken("a sink that takes a control message without readiness", error);
                }
            }
            self.at("waiting for the control messages to arrive");
            link.drain_until(&controls).await;
            link.catch_up();
            if let Some((n, reason)) = link.dropped.first() {
                broken("nothing dropped", format!("message {n}: {reason}"));
            }
            Outcome::Held
        })
        .await
    }

    /// A `send` that is given up at any moment loses no other message, repeats none, breaks no
    /// order, and the connection goes on.
    pub async fn cancelling_a_send_is_safe(&self) -> Outcome {
        self.hold("cancelling_a_send_is_safe", async {
            for seed in self.seeds.clone() {
                let mut rng = self.rng(seed);
                let mut link = self.link().await;
                link.up().await;
                link.read_on_another_task();
                self.at("sending with sends that are given up");
                let mut sent = Vec::new();
                for n in 0..40 {
                    let patience = Duration::from_micros(rng.u64(0..2000));
                    let item = Outgoing::new(self.message(n));
                    if let Ok(done) = timeout(patience, link.sink.send(item)).await {
                        done.unwrap_or_else(|error| broken("an open connection", error));
                        sent.push(n);
                    }
                    if rng.bool() {
                        let _ = timeout(Duration::from_millis(1), link.arrival()).await;
                    }
                }
                let last = 1000;
                self.at("sending once more");
                let mut sink = link.sink.clone();
                let item = Outgoing::new(self.message(last));
                let write = async {
                    sink.send(item)
                        .await
                        .unwrap_or_else(|error| broken("an open connection", error));
                };
                let read = async { while link.arrival().await.is_some_and(|n| n != last) {} };
                join(write, read).await;
                if !link.arrived.is_sorted_by(|a, b| a < b) {
                    broken("each message at most once, in order", format!("{:?}", link.arrived));
                }
                if let Some(lost) = sent.iter().find(|n| !link.arrived.contains(n)) {
                    broken(
                        format!("message {lost}, whose `send` was done"),
                        format!("{:?}", link.arrived),
                    );
                }
            }
            Outcome::Held
        })
        .await
    }
}

fn same(what: &str, expected: &[u64], saw: &[u64]) {
    if let Some(at) = (0..expected.len().max(saw.len())).find(|&at| expected.get(at) != saw.get(at)) {
        broken(
            format!("message {:?} as number {at} of those {what}", expected.get(at)),
            format!("{:?}", saw.get(at)),
        );
    }
}
