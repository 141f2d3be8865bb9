//! One task writes and one reads, on the two halves of a session that redials below them: the
//! writer never hangs.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream, StreamExt, stream::SplitSink};
use http::Request;
use support::{SECOND, bounded, eager, impatient, millis, within};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tower::{Layer, ServiceExt};
use tower_ws::{
    Message,
    connector::connector,
    core::{BoxConnection, Closed, Event, Outgoing, boxed},
    transport::memory,
};
use tower_ws_test_kit::{Cut, Fault, Proxy, Script, Server};

/// Sends numbers until the session ends. Returns how many were accepted.
async fn writer<S, M>(mut sink: S, make: impl Fn(u64) -> M, progress: Arc<AtomicU64>) -> u64
where
    S: Sink<Outgoing<M>, Error = Closed> + Unpin,
{
    for n in 0.. {
        progress.store(n, Ordering::Relaxed);
        // Sometimes many in one flush, sometimes each with its own.
        let sent = match n % 4 {
            0 => sink.send(make(n).into()).await,
            _ => sink.feed(make(n).into()).await,
        };
        if sent == Err(Closed) {
            return n;
        }
    }
    unreachable!("it counts for longer than anybody waits")
}

/// Reads until the session ends. Returns the numbers that were dropped.
async fn reader<M>(
    mut stream: impl Stream<Item = Event<M>> + Unpin,
    number: fn(&M) -> u64,
    up: watch::Sender<u64>,
) -> Vec<u64> {
    let (mut dropped, mut epoch, mut connected) = (Vec::new(), 0, false);
    while let Some(event) = stream.next().await {
        match event {
            Event::Up(now) => {
                assert_eq!((now.epoch, connected), (epoch + 1, false));
                (epoch, connected) = (now.epoch, true);
                up.send_replace(epoch);
            }
            Event::Down(down) => {
                assert_eq!((down.epoch, connected), (epoch, true));
                connected = false;
            }
            Event::Dropped(item, _) => dropped.push(number(&item.message)),
            _ => {}
        }
    }
    dropped
}

struct Pair {
    writer: JoinHandle<u64>,
    reader: JoinHandle<Vec<u64>>,
    progress: Arc<AtomicU64>,
    up: watch::Receiver<u64>,
}

impl Pair {
    fn spawn<M: Send + 'static>(session: BoxConnection<M>, make: fn(u64) -> M, number: fn(&M) -> u64) -> Self {
        let (sink, stream): (SplitSink<_, Outgoing<M>>, _) = session.split();
        let progress = Arc::<AtomicU64>::default();
        let (tell, up) = watch::channel(0);
        Self {
            writer: tokio::spawn(writer(sink, make, progress.clone())),
            reader: tokio::spawn(reader(stream, number, tell)),
            progress,
            up,
        }
    }

    /// Waits until a connection later than `epoch` is up and the writer gets on.
    async fn moves_on(&mut self, epoch: u64) -> u64 {
        let up = *bounded(self.up.wait_for(|&up| up > epoch))
            .await
            .expect("the session lives on");
        let (before, limit) = (self.progress.load(Ordering::Relaxed), Instant::now() + 10 * SECOND);
        while self.progress.load(Ordering::Relaxed) < before + 20 {
            assert!(Instant::now() < limit, "the writer hangs at {before} in epoch {up}");
            sleep(millis(1)).await;
        }
        up
    }
}

/// Large enough that a writer often waits in the middle of one.
fn text(n: u64) -> Message {
    Message::text(format!(
        "{n} {}",
        "x".repeat(if n.is_multiple_of(64) { 300_000 } else { 40 })
    ))
}

fn text_number(message: &Message) -> u64 {
    message.as_text().unwrap().split(' ').next().unwrap().parse().unwrap()
}

async fn sockets(cut: Cut, stall: Duration) {
    let server = Server::start(Script::Echo).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let stack = eager().layer(impatient().layer(connector()));
    let session = bounded(stack.oneshot(Request::get(proxy.url()).body(()).unwrap()))
        .await
        .unwrap();
    let mut pair = Pair::spawn(boxed(session), text, text_number);
    let mut epoch = 0;
    for _ in 0..12 {
        epoch = pair.moves_on(epoch).await;
        proxy.set(Fault::Stall);
        sleep(stall).await;
        proxy.set(Fault::None);
        proxy.cut_now(cut);
    }
    pair.moves_on(epoch).await;
    // Nobody is left to redial to, and the session is told so.
    drop((proxy, server));
    pair.reader.abort();
    let _ = bounded(pair.reader).await;
    pair.writer.abort();
    let _ = bounded(pair.writer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_that_are_reset() {
    sockets(Cut::Rst, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_that_stall_and_end() {
    sockets(Cut::Fin, millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_many_connections_in_memory() {
    const CONNECTIONS: u64 = 150;
    let (memory, mut listener) = memory::channel::<u64>(4);
    let server = tokio::spawn(async move {
        let mut rng = fastrand::Rng::with_seed(2);
        let (mut seen, mut taken) = (Vec::new(), 0);
        while taken < CONNECTIONS {
            if rng.u8(..4) == 0 {
                listener.refuse().await;
                continue;
            }
            let mut peer = listener.accept().await.expect("the session lives");
            taken += 1;
            let until = Instant::now() + Duration::from_micros(rng.u64(0..4_000));
            while let Ok(Some(Ok(n))) = timeout_at(until, peer.next()).await {
                seen.push(n);
                if rng.u8(..4) == 0 && peer.send(n).await.is_err() {
                    break;
                }
            }
        }
        // The last dials are refused, until the session gives up.
        drop(listener);
        seen
    });
    let backoff = tower_ws::reconnect::Backoff::default()
        .base(millis(1))
        .cap(millis(1))
        .first_within(millis(1));
    let layer = eager().policy(backoff.max_attempts(250));
    let session = bounded(layer.layer(memory).oneshot(())).await.unwrap();
    let pair = Pair::spawn(boxed(session), |n| n, |&n| n);

    let seen = within(60 * SECOND, server).await.unwrap();
    let dropped = within(60 * SECOND, pair.reader).await.unwrap();
    let accepted = bounded(pair.writer).await.unwrap();
    assert!(
        seen.is_sorted() && seen.len() as u64 > CONNECTIONS / 4,
        "{} seen of {accepted}",
        seen.len()
    );
    let mut all: Vec<_> = seen.iter().chain(&dropped).copied().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), seen.len() + dropped.len(), "seen twice, or seen and dropped");
    assert!(all.iter().all(|&n| n < accepted));
}
