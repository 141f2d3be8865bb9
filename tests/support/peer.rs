//! The far side of a transport in memory: a server whose moods a seed decides, and its ledger.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::codec::{Framed, LinesCodec};
use tower_ws::{
    core::{Failure, FailureKind, OpeningContext, jsonrpc::Ids},
    transport::memory,
};

use super::{SECOND, millis};

/// What reached the server, by the number in the parameters.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How often each number was seen.
    pub(crate) seen: BTreeMap<u64, usize>,
    pub(crate) connections: usize,
    pub(crate) refused: usize,
    pub(crate) pushed: u64,
    pub(crate) asked: u64,
    /// Answers to requests of the server's.
    pub(crate) told: u64,
    next: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    /// A number that nobody else has.
    pub(crate) fn number(&self) -> u64 {
        let mut ledger = self.open();
        ledger.next += 1;
        ledger.next
    }
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub(crate) struct Moods {
    /// From then on it accepts everybody, reads at once and answers everything.
    pub(crate) good_from: Instant,
    /// How long a connection lives, at most.
    pub(crate) life: Duration,
    /// Of a hundred dials, so many are refused.
    pub(crate) refuses: u8,
    /// One connection in sixteen is followed by an outage, of so long at most.
    pub(crate) away: Duration,
    /// Of a hundred calls, so many are answered late, and half as many never.
    pub(crate) late: u8,
    /// It may stop reading for so long after a message.
    pub(crate) slow: Duration,
    /// Between two things that it says of its own accord.
    pub(crate) push_every: Duration,
    /// Sends what makes no sense.
    pub(crate) odd: bool,
}

impl Moods {
    pub(crate) fn calm() -> Self {
        Self {
            good_from: Instant::now(),
            life: 3600 * SECOND,
            refuses: 0,
            away: Duration::ZERO,
            late: 0,
            slow: Duration::ZERO,
            push_every: 3600 * SECOND,
            odd: false,
        }
    }

    pub(crate) fn wild(rng: &mut Rng, good_from: Instant) -> Self {
        Self {
            good_from,
            life: millis(rng.choice([5, 50, 500, 5_000]).unwrap_or(50)),
            refuses: rng.choice([0, 10, 50]).unwrap_or(0),
            away: millis(rng.choice([0, 1_000, 60_000]).unwrap_or(0)),
            late: rng.choice([0, 20, 60]).unwrap_or(0),
            slow: millis(rng.choice([0, 0, 5, 100]).unwrap_or(0)),
            push_every: millis(rng.choice([3, 50, 1_000]).unwrap_or(50)),
            odd: rng.bool(),
        }
    }
}

/// One connection, seen from the server.
pub(crate) struct Peer {
    read: Pin<Box<dyn Stream<Item = String> + Send>>,
    write: Pin<Box<dyn Sink<String, Error = ()> + Send>>,
}

impl Peer {
    fn new<S, E>(socket: S) -> Self
    where
        S: Stream<Item = Result<String, E>> + Sink<String> + Send + 'static,
        E: Send + 'static,
    {
        let (write, read) = socket.split();
        Self {
            read: Box::pin(read.filter_map(async |text| text.ok())),
            write: Box::pin(write.sink_map_err(drop)),
        }
    }
}

/// Where connections come from.
pub(crate) enum Door {
    Memory(memory::Listener<String>),
    Lines(mpsc::UnboundedReceiver<oneshot::Sender<DuplexStream>>),
}

impl Door {
    pub(crate) async fn accept(&mut self) -> Option<Peer> {
        match self {
            Self::Memory(listener) => Some(Peer::new(listener.accept().await?)),
            Self::Lines(dials) => loop {
                let (near, far) = tokio::io::duplex(200);
                if dials.recv().await?.send(near).is_ok() {
                    return Some(Peer::new(Framed::new(far, LinesCodec::new())));
                }
            },
        }
    }

    /// False once nobody can dial any more.
    pub(crate) async fn refuse(&mut self) -> bool {
        match self {
            Self::Memory(listener) => listener.refuse().await,
            Self::Lines(dials) => dials.recv().await.is_some(),
        }
    }
}

/// Asks for a pipe, and waits until the door gives one.
pub(crate) async fn pipe(dials: mpsc::UnboundedSender<oneshot::Sender<DuplexStream>>) -> io::Result<DuplexStream> {
    let (ask, answer) = oneshot::channel();
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    dials.send(ask).map_err(|_| refused())?;
    answer.await.map_err(|_| refused())
}

/// Serves one connection after the other, until nobody can dial any more.
pub(crate) async fn serve(mut door: Door, moods: Moods, mut rng: Rng, book: Book) {
    let mut back_at = Instant::now();
    loop {
        let good = Instant::now() >= moods.good_from;
        if !good && (rng.u8(..100) < moods.refuses || Instant::now() < back_at) {
            if !door.refuse().await {
                return;
            }
            book.open().refused += 1;
            continue;
        }
        let Some(peer) = door.accept().await else {
            return;
        };
        book.open().connections += 1;
        connection(peer, &moods, &mut rng, &book).await;
        if rng.u8(..16) == 0 {
            back_at = Instant::now() + moods.away.mul_f64(rng.f64());
        }
    }
}

async fn connection(mut peer: Peer, moods: &Moods, rng: &mut Rng, book: &Book) {
    let end = match Instant::now() >= moods.good_from {
        true => Instant::now() + 100 * 24 * 3600 * SECOND,
        false => Instant::now() + moods.life.mul_f64(rng.f64()),
    };
    let mut due: VecDeque<(Instant, String)> = VecDeque::new();
    let mut last_id = 0;
    let mut push_at = Instant::now() + moods.push_every.mul_f64(rng.f64());
    loop {
        let good = Instant::now() >= moods.good_from;
        let next_due = due.iter().map(|(at, _)| *at).min();
        tokio::select! {
            biased;
            () = sleep_until(end) => return,
            () = sleep_until(next_due.unwrap_or(end)), if next_due.is_some() => {
                let now = Instant::now();
                while let Some(at) = due.iter().position(|(at, _)| *at <= now) {
                    if let Some((_, text)) = due.remove(at)
                        && peer.write.send(text).await.is_err()
                    {
                        return;
                    }
                }
            }
            () = sleep_until(push_at) => {
                push_at = Instant::now() + moods.push_every.mul_f64(0.5 + rng.f64());
                if peer.write.send(push(rng, book, moods.odd && !good)).await.is_err() {
                    return;
                }
            }
            text = peer.read.next() => {
                let Some(text) = text else { return };
                if let Some(answer) = heard(&text, rng, book, &mut last_id) {
                    let late = !good && rng.u8(..100) < moods.late;
                    let delay = if late { SECOND.mul_f64(3.0 * rng.f64()) } else { Duration::ZERO };
                    if !(late && rng.u8(..3) == 0) {
                        if moods.odd && rng.u8(..10) == 0 {
                            due.push_back((Instant::now() + millis(rng.u64(0..50)), answer.clone()));
                        }
                        due.push_back((Instant::now() + delay, answer));
                    }
                }
                if !good && !moods.slow.is_zero() {
                    sleep(moods.slow.mul_f64(rng.f64())).await;
                }
            }
        }
    }
}

/// Enters what came in, and returns the answer that it wants.
fn heard(text: &str, rng: &mut Rng, book: &Book, last_id: &mut u64) -> Option<String> {
    let said: Value = serde_json::from_str(text).expect("the client writes JSON");
    assert_eq!(said["jsonrpc"], "2.0", "{text}");
    let mut ledger = book.open();
    let Some(method) = said["method"].as_str() else {
        ledger.told += 1;
        return None;
    };
    if let Some(n) = said["params"]["n"].as_u64() {
        *ledger.seen.entry(n).or_default() += 1;
    }
    let id = said["id"].as_u64()?;
    // What opens a connection has its id from the same counter, and overtakes what has waited.
    if method != "hello" {
        assert!(id > *last_id, "ids rise on each connection: {id} after {last_id}");
        *last_id = id;
    }
    let answer = match method {
        "call" if rng.u8(..8) == 0 => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -1, "message": "no", "data": said["params"]["n"] } })
        }
        _ => json!({ "jsonrpc": "2.0", "id": id, "result": said["params"] }),
    };
    Some(answer.to_string())
}

/// Something that the server says of its own accord.
fn push(rng: &mut Rng, book: &Book, odd: bool) -> String {
    let mut ledger = book.open();
    match rng.u8(..6) {
        0 => {
            ledger.asked += 1;
            json!({ "jsonrpc": "2.0", "id": format!("s{}", ledger.asked), "method": "ask", "params": [1] }).to_string()
        }
        1 => {
            ledger.asked += 1;
            json!({ "jsonrpc": "2.0", "id": ledger.asked, "method": "ping" }).to_string()
        }
        2 if odd => {
            let odd = [
                "",
                "null",
                "[]",
                "{",
                r#"{"jsonrpc":"2.0","id":999999,"result":0}"#,
                r#"{"id":1,"result":0}"#,
            ];
            rng.choice(odd).unwrap_or_default().to_owned()
        }
        _ => {
            ledger.pushed += 1;
            json!({ "jsonrpc": "2.0", "method": "push", "params": { "n": ledger.pushed } }).to_string()
        }
    }
}

/// What a client says first on each connection, with an id from the session's counter.
pub(crate) async fn hello(mut talk: OpeningContext<String>, ids: Ids) -> Result<OpeningContext<String>, Failure> {
    let id = ids.next_id();
    talk.send(json!({ "jsonrpc": "2.0", "id": id, "method": "hello" }).to_string())
        .await?;
    loop {
        let message = talk.recv().await?;
        let said: Value = serde_json::from_str(&message).unwrap_or_default();
        if said["jsonrpc"] == "2.0" && said["id"] == id && said.get("method").is_none() {
            break;
        }
        if said.get("result").is_some() || !said.is_object() {
            return Err(Failure::new(FailureKind::Protocol, "that is no way to begin"));
        }
        talk.keep(message)?;
    }
    talk.up().extensions.insert(ids);
    Ok(talk)
}
