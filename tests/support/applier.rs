//! A peer that applies what it receives and acknowledges it, with its ledger; it crashes before and
//! after either.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until};
use tower_ws::transport::memory;

use super::millis;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What each connection brought, in order, and when.
    pub(crate) received: Vec<Vec<(u64, Instant)>>,
    /// How often each number had its effect.
    pub(crate) applied: BTreeMap<u64, usize>,
    /// What has been acknowledged, whether or not the client heard of it.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// On which connection something came that older ones should have preceded.
    pub(crate) overtaken: Option<(usize, u64)>,
    pub(crate) events: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

/// How a peer behaves.
#[derive(Clone, Debug)]
pub(crate) struct Applier {
    /// From then on it does what it should.
    pub(crate) good_from: Instant,
    /// One acknowledgement is for all before it, too.
    pub(crate) cumulative: bool,
    /// For how long it knows what it has seen, if it looks at all.
    pub(crate) remembers: Option<Duration>,
    /// Of a hundred restarts, so many cost it its memory.
    pub(crate) forgets: u8,
    /// How long a connection lives, at most.
    pub(crate) life: Duration,
    /// Of a thousand messages, so many kill it, before or after their effect.
    pub(crate) fragile: u32,
    /// Of a hundred acknowledgements, so many are late, and as many come twice.
    pub(crate) late: u8,
    /// How long it may take over one message.
    pub(crate) slow: Duration,
}

impl Applier {
    pub(crate) fn wild(rng: &mut Rng, good_from: Instant) -> Self {
        Self {
            good_from,
            cumulative: rng.bool(),
            remembers: None,
            forgets: 0,
            life: millis(rng.choice([50, 500, 5_000]).unwrap_or(50)),
            fragile: rng.choice([0, 20, 100]).unwrap_or(0),
            late: rng.choice([0, 20, 60]).unwrap_or(0),
            slow: millis(rng.choice([0, 0, 10, 50]).unwrap_or(0)),
        }
    }

    /// Serves one connection after the other, until nobody can dial any more.
    pub(crate) async fn serve(self, mut listener: memory::Listener<String>, mut rng: Rng, book: Book) {
        let mut memory = BTreeMap::new();
        let mut owed = VecDeque::new();
        loop {
            let good = self.is_good();
            if !good && rng.u8(..3) == 0 && !listener.refuse().await {
                return;
            }
            let Some(socket) = listener.accept().await else {
                return;
            };
            book.open().received.push(Vec::new());
            self.connection(socket, &mut memory, &mut owed, &mut rng, &book).await;
            if rng.u8(..100) < self.forgets {
                memory.clear();
                book.open().note("forgot");
            }
            if rng.bool() {
                // Half the time it forgets what it owes.
                owed.clear();
            }
        }
    }

    fn is_good(&self) -> bool {
        Instant::now() >= self.good_from
    }

    async fn connection(
        &self,
        mut socket: memory::Socket<String>,
        memory: &mut BTreeMap<u64, Instant>,
        owed: &mut VecDeque<(Instant, u64)>,
        rng: &mut Rng,
        book: &Book,
    ) {
        let life = match self.is_good() {
            true => Duration::from_secs(100 * 24 * 3600),
            false => self.life.mul_f64(rng.f64()),
        };
        let end = Instant::now() + life;
        let mut deaf = false;
        loop {
            let next = owed.iter().map(|(at, _)| *at).min();
            tokio::select! {
                biased;
                () = sleep_until(end) => return,
                () = sleep_until(next.unwrap_or(end)), if next.is_some() => {
                    let now = Instant::now();
                    while let Some(at) = owed.iter().position(|(at, _)| *at <= now) {
                        let Some((_, n)) = owed.remove(at) else { return };
                        book.open().acknowledged(n, self.cumulative);
                        let text = if self.cumulative { format!("upto {n}") } else { format!("ack {n}") };
                        // One way is dead, the other is not.
                        if !deaf && socket.send(text).await.is_err() {
                            return;
                        }
                    }
                }
                text = socket.next() => {
                    let Some(Ok(text)) = text else { return };
                    let n = text.split(' ').next().unwrap().parse().unwrap();
                    let good = self.is_good();
                    book.open().receive(n);
                    let dies = !good && rng.u32(..1000) < self.fragile;
                    if dies && rng.bool() {
                        return book.open().note("died before the effect");
                    }
                    let now = Instant::now();
                    let known = self.remembers.is_some_and(|long| {
                        memory.retain(|_, since| now < *since + long);
                        memory.contains_key(&n)
                    });
                    if !known {
                        memory.insert(n, now);
                        *book.open().applied.entry(n).or_default() += 1;
                    }
                    if dies {
                        return book.open().note("died after the effect");
                    }
                    if !good && rng.u32(..1000) < self.fragile {
                        deaf = true;
                        book.open().note("acknowledgements lost");
                    }
                    let times = if !good && rng.u8(..100) < self.late { 2 } else { 1 };
                    for _ in 0..times {
                        let late = !good && rng.u8(..100) < self.late;
                        let delay = if late { millis(rng.u64(..8_000)) } else { Duration::ZERO };
                        owed.push_back((Instant::now() + delay, n));
                    }
                    if !good && !self.slow.is_zero() {
                        sleep(self.slow.mul_f64(rng.f64())).await;
                    }
                }
            }
        }
    }
}

impl Ledger {
    fn note(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    fn receive(&mut self, n: u64) {
        let connection = self.received.len();
        let here = self.received.last_mut().expect("a connection is open");
        here.push((n, Instant::now()));
        // All before it came on this connection, or have been acknowledged.
        let before = |m: u64| here.iter().any(|(here, _)| *here == m) || self.acknowledged.contains(&m);
        if !(0..n).all(before) {
            self.overtaken.get_or_insert((connection, n));
        }
    }

    fn acknowledged(&mut self, n: u64, cumulative: bool) {
        match cumulative {
            true => self.acknowledged.extend(0..=n),
            false => drop(self.acknowledged.insert(n)),
        }
    }

    /// How often a number was received.
    pub(crate) fn times(&self, n: u64) -> usize {
        self.received.iter().flatten().filter(|(seen, _)| *seen == n).count()
    }

    /// From a number's first coming to its last.
    pub(crate) fn span(&self, n: u64) -> Duration {
        let mut at = self.received.iter().flatten().filter(|(seen, _)| *seen == n);
        let first = at.next().map(|(_, at)| *at);
        let last = at.next_back().map(|(_, at)| *at).or(first);
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
    }
}
