//! Random outages, and a ledger: nothing is lost, nothing comes twice, order is kept.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{SECOND, message, session};
use tokio::time::{Duration, sleep, timeout};
use tower_ws_core::{Event, Ticket};
use tower_ws_queue::{Overflow, QueueLayer};

const SEEDS: u64 = 240;
const MESSAGES: u32 = 60;

#[tokio::test(start_paused = true)]
async fn everything_that_was_accepted_arrives_or_comes_back() {
    let (mut arrived, mut came_back) = (0, 0);
    for seed in 0..SEEDS {
        let overflow = [Overflow::Wait, Overflow::Refuse, Overflow::DropOldest][seed as usize % 3];
        let (a, b) = timeout(SECOND * 3600, play(seed, overflow))
            .await
            .unwrap_or_else(|_| panic!("seed {seed} hangs"));
        arrived += a;
        came_back += b;
    }
    assert!(
        arrived > 1000 && came_back > 200,
        "{arrived} arrived, {came_back} came back"
    );
}

async fn play(seed: u64, overflow: Overflow) -> (usize, usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let layer = QueueLayer::new()
        .messages(rng.usize(1..12))
        .bytes(rng.usize(4..40))
        .age(SECOND * rng.u32(1..20))
        .overflow(overflow);
    let (queue, mut peer, mut listener) = session(layer).await;
    let (mut sink, mut stream) = queue.split();

    let received = Arc::new(Mutex::new(Vec::new()));
    let ledger = received.clone();
    let mut weather = fastrand::Rng::with_seed(!seed);
    let server = tokio::spawn(async move {
        let note = |said: String| ledger.lock().unwrap().push(said.parse::<u32>().unwrap());
        loop {
            let lasts = Duration::from_millis(weather.u64(0..4000));
            let slow = Duration::from_millis(weather.u64(0..300));
            let _ = timeout(lasts, async {
                while let Some(Ok(said)) = peer.next().await {
                    note(said);
                    sleep(slow).await;
                }
            })
            .await;
            // What is with the socket has been sent; a peer that is gone took it along, this one
            // says so.
            while let Some(Some(Ok(said))) = peer.next().now_or_never() {
                note(said);
            }
            drop(peer);
            for _ in 0..weather.u32(0..3) {
                listener.refuse().await;
            }
            match listener.accept().await {
                Some(next) => peer = next,
                None => return,
            }
        }
    });

    let writer = tokio::spawn(async move {
        let mut cancelled = BTreeSet::new();
        for n in 0..MESSAGES {
            let ticket = Ticket::new();
            let sent = message(n).ticket(ticket.clone());
            match rng.bool() {
                true => sink.send(sent).await.unwrap(),
                false => sink.feed(sent).await.unwrap(),
            }
            if rng.u8(..) < 20 && !ticket.may_have_been_seen() {
                let _ = ticket.cancel();
                cancelled.insert(n);
            }
            if rng.u8(..) < 60 {
                sleep(Duration::from_millis(rng.u64(0..3000))).await;
            }
        }
        sleep(SECOND * rng.u32(0..60)).await;
        sink.close().await.unwrap();
        cancelled
    });

    let mut back = Vec::new();
    while let Some(event) = stream.next().await {
        if let Event::Dropped(item, _) = event {
            back.push(item.message.parse::<u32>().unwrap());
        }
    }
    let cancelled = writer.await.unwrap();
    server.abort();
    let _ = server.await;
    let arrived = received.lock().unwrap().clone();
    assert!(
        arrived.is_sorted_by(|a, b| a < b),
        "seed {seed}: order or a double: {arrived:?}"
    );
    assert!(
        arrived.iter().all(|n| !cancelled.contains(n)),
        "seed {seed}: a cancelled one arrived"
    );
    let mut all: Vec<u32> = arrived.iter().chain(&back).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..MESSAGES).collect::<Vec<_>>(), "seed {seed}");
    (arrived.len(), back.len())
}
