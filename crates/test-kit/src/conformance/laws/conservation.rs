use std::{collections::BTreeMap, future::poll_fn, task::Poll, time::Duration};

use futures_util::SinkExt;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tower_ws_core::{DropReason, Phase, Ticket};

use crate::conformance::{
    harness::{Harness, Peer},
    link::{Link, SETTLE},
    suite::{Outcome, Suite, broken},
};

/// What the suite knows of a message that a sink has accepted.
struct Accepted {
    ticket: Ticket,
    /// It was cancelled while nothing of it had been written.
    in_time: bool,
}

const STEPS: usize = 120;
const UP: &str = "a connection that stays up: neither side has ended it";

type Ledger = BTreeMap<u64, Accepted>;

/// What becomes of a message.
impl<H: Harness> Suite<H, H::Message> {
    /// Every message that the sink accepts ends exactly once: written, delivered, or dropped with a
    /// reason that is true. In random scripts with cancellations, deadlines and an end in the
    /// middle.
    pub async fn every_message_ends_once(&self) -> Outcome {
        self.hold("every_message_ends_once", async {
            for seed in self.seeds.clone() {
                let mut rng = self.rng(seed);
                let mut link = self.link().await;
                link.up().await;
                link.read_on_another_task();
                let ledger = self.muddle(&mut link, &mut rng).await;
                link.finish().await;
                self.audit(&ledger, &link);
            }
            Outcome::Held
        })
        .await
    }

    /// A message that is cancelled while its ticket says that nothing of it was written is never
    /// written, and comes back.
    pub async fn a_cancelled_ticket_is_never_written(&self) -> Outcome {
        self.hold("a_cancelled_ticket_is_never_written", async {
            let mut link = self.link().await;
            link.up().await;
            link.read_on_another_task();
            let mut ledger = Ledger::new();

            self.at("sending what was cancelled before");
            let before = u64::MAX / 2;
            let (item, ticket) = link.item(before);
            ticket.cancel();
            ledger.insert(before, Accepted { ticket, in_time: true });
            link.sink
                .send(item)
                .await
                .unwrap_or_else(|error| broken("an open connection", error));

            let mut outcome = Outcome::Held;
            match link.jam().await {
                Err((why, taken)) => {
                    outcome = Outcome::Adapted(why);
                    ledger.extend(
                        taken
                            .into_iter()
                            .map(|(n, ticket)| (n, Accepted { ticket, in_time: false })),
                    );
                }
                Ok(jam) => {
                    for (n, ticket) in jam {
                        let in_time = ticket.cancel() == Phase::Waiting;
                        ledger.insert(n, Accepted { ticket, in_time });
                    }
                }
            }
            link.finish().await;
            self.audit(&ledger, &link);
            let back = link.dropped.iter().find(|(n, _)| *n == before);
            if !matches!(back, Some((_, DropReason::Cancelled))) {
                broken(
                    "the message cancelled before it was sent comes back as cancelled",
                    format!("{back:?}"),
                );
            }
            outcome
        })
        .await
    }

    /// A message that has reached the peer has a ticket that says so, by the epoch of its
    /// connection.
    pub async fn tickets_move_forward(&self) -> Outcome {
        self.hold("tickets_move_forward", async {
            let mut link = self.link().await;
            let epoch = link.up().await;
            link.read_on_another_task();
            for n in 0..10 {
                let (item, ticket) = link.item(n);
                if ticket.phase() != Phase::Waiting {
                    broken("a fresh ticket that waits", format!("{ticket:?}"));
                }
                self.at("sending a message with a ticket");
                link.sink
                    .feed(item)
                    .await
                    .unwrap_or_else(|error| broken("an open connection", error));
                link.drain_until(&[n]).await;
                match ticket.phase() {
                    Phase::Sent(sent) if sent == epoch => {}
                    Phase::Held | Phase::Settled if self.traits.holds => {}
                    phase => broken(
                        format!("`Sent({epoch})`: message {n} has reached the peer"),
                        format!("{phase:?}"),
                    ),
                }
            }
            Outcome::Held
        })
        .await
    }

    /// Does random things for a while, and ends the connection somewhere in between if the peer
    /// can.
    async fn muddle(&self, link: &mut Link<'_, H>, rng: &mut fastrand::Rng) -> Ledger {
        let mut ledger = Ledger::new();
        let cut = rng.usize(0..STEPS * 4 / 3);
        for step in 0..STEPS {
            if step == cut {
                still_up(link);
                link.cut().await;
            }
            self.at("doing random things");
            match rng.u8(0..11) {
                0..5 => {
                    let ready = poll_fn(|cx| Poll::Ready(link.sink.poll_ready_unpin(cx))).await;
                    if rng.u8(0..4) == 0 {
                        self.control(link, &mut ledger);
                        // The task that reads may write it now: that must not use up the readiness.
                        link.peer.send(self.message(u64::MAX / 2)).await;
                        yield_now().await;
                    }
                    let n = ledger.len() as u64;
                    let (mut item, ticket) = link.item(n);
                    let mut in_time = false;
                    match rng.u8(0..8) {
                        0 => item = item.deadline(Instant::now()),
                        1 => in_time = ticket.cancel() == Phase::Waiting,
                        _ => {}
                    }
                    let sent = match ready {
                        Poll::Pending => continue,
                        Poll::Ready(Ok(())) => link.start_send(item),
                        Poll::Ready(Err(error)) => Err(error),
                    };
                    match sent {
                        Ok(()) => drop(ledger.insert(n, Accepted { ticket, in_time })),
                        Err(error) if step < cut => broken(UP, error),
                        Err(_) => {}
                    }
                }
                5 => drop(link.push().await),
                9 => self.control(link, &mut ledger),
                6 => {
                    let read = async {
                        if let Some(message) = link.peer.recv().await {
                            link.arrived.extend(self.number(&message));
                        }
                    };
                    let _ = timeout(Duration::from_millis(1), read).await;
                }
                7 => {
                    if let Some(accepted) = ledger.values_mut().filter(|_| rng.u8(..) < 20).last() {
                        accepted.in_time |= accepted.ticket.cancel() == Phase::Waiting;
                    }
                }
                8 if self.traits.redials => sleep(SETTLE).await,
                _ => yield_now().await,
            }
        }
        if cut >= STEPS {
            still_up(link);
        }
        ledger
    }

    /// Hands over a control message, ready or not.
    fn control(&self, link: &mut Link<'_, H>, ledger: &mut Ledger) {
        let n = ledger.len() as u64;
        let (item, ticket) = link.item(n);
        if link.start_send(item.control()).is_ok() {
            ledger.insert(n, Accepted { ticket, in_time: false });
        }
    }

    fn audit(&self, ledger: &Ledger, link: &Link<'_, H>) {
        let again = self.traits.redials && self.traits.holds;
        let (arrivals, deliveries) = (counts(&link.arrived), counts(&link.delivered));
        let mut drops: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (n, reason) in &link.dropped {
            drops.entry(*n).or_default().push(reason);
        }
        for (&n, accepted) in ledger {
            let arrived = arrivals.get(&n).copied().unwrap_or(0);
            let seen = accepted.ticket.may_have_been_seen();
            let dropped = drops.remove(&n).unwrap_or_default();
            let ends = dropped.len() + deliveries.get(&n).copied().unwrap_or(0);
            if ends > 1 {
                broken(
                    format!("message {n} ends once"),
                    format!("it ended {ends} times: {dropped:?}"),
                );
            }
            if arrived > 1 && !again {
                broken(
                    format!("message {n} is written once"),
                    format!("it arrived {arrived} times"),
                );
            }
            if arrived > 0 && !seen {
                broken(
                    format!("a ticket that says that message {n} was sent"),
                    "a ticket that says it was not",
                );
            }
            if arrived == 0 && !seen && ends == 0 {
                broken(
                    format!("message {n}, which was accepted, is written or comes back"),
                    "it is lost",
                );
            }
            if let [reason] = dropped[..]
                && arrived > 0
                && !matches!(reason, DropReason::Interrupted(_))
            {
                broken(
                    format!("message {n}, which arrived, is not said to be unsent"),
                    format!("\"{reason}\""),
                );
            }
            if accepted.in_time && arrived > 0 && !again {
                broken(
                    format!("message {n}, cancelled in time, is never written"),
                    "it arrived",
                );
            }
        }
        if let Some(n) = link.arrived.iter().find(|n| !ledger.contains_key(n)) {
            broken("only what the sink accepted arrives", format!("message {n} as well"));
        }
    }
}

/// How often each number is there.
fn counts(numbers: &[u64]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for n in numbers {
        *counts.entry(*n).or_default() += 1;
    }
    counts
}

/// Nobody has ended the connection, so nothing that a caller may do should have.
fn still_up<H: Harness>(link: &mut Link<'_, H>) {
    link.catch_up();
    if let Some(cause) = &link.ended_by {
        broken(UP, format!("`Down`, {cause}"));
    }
}
