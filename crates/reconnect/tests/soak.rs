//! A day in seconds, and every place to stop.

mod support;

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use support::{Act, Net, closed, refused, status};
use tokio::time::{Instant, sleep};
use tower_ws_core::{Event, Outgoing};
use tower_ws_reconnect::{ReconnectLayer, State};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Accepts most, refuses some, and ends every connection sooner or later.
fn weather(seed: u64) -> impl FnMut(usize) -> Act + Send {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |_| match rng.u8(0..10) {
        0 => Act::Refuse(refused()),
        1 => Act::Refuse(status(503)),
        2 => Act::Stall(SECOND * rng.u32(1..10), refused()),
        3..6 => Act::Drop(Duration::from_millis(rng.u64(0..10_000)), None),
        _ => Act::Drop(
            SECOND * rng.u32(1..600),
            rng.choice([1000, 1001, 1011, 1012]).map(closed),
        ),
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_adds_up() {
    let start = Instant::now();
    let net = Net::new(weather(24));
    let (layer, handle) = ReconnectLayer::pair();
    let session = net.session(layer.seed(24)).await.unwrap();
    let (mut sink, mut stream) = session.split();

    let accepted = Arc::new(Mutex::new(BTreeSet::new()));
    let ledger = accepted.clone();
    let writer = tokio::spawn(async move {
        let mut rng = fastrand::Rng::with_seed(1);
        for n in 0u32.. {
            let item = Outgoing::new(n.to_string());
            let item = if rng.u8(..) < 25 { item.control() } else { item };
            ledger.lock().unwrap().insert(n.to_string());
            if sink.send(item).await.is_err() {
                ledger.lock().unwrap().remove(&n.to_string());
                return;
            }
            sleep(Duration::from_millis(rng.u64(0..2_000))).await;
        }
    });

    let mut dropped = BTreeSet::new();
    let (mut epochs, mut open) = (0, false);
    while start.elapsed() < DAY {
        match stream.next().await.expect("it lives on") {
            Event::Up(up) => {
                epochs += 1;
                assert_eq!((up.epoch, open), (epochs, false));
                open = true;
            }
            Event::Down(down) => {
                assert_eq!((down.epoch, down.will_retry, open), (epochs, true, true));
                open = false;
            }
            Event::Dropped(item, _) => assert!(dropped.insert(item.message), "dropped twice"),
            other => panic!("{other:?}"),
        }
        assert!(net.alive() <= 1, "at most one connection lives");
    }
    writer.abort();
    let _ = writer.await;
    drop(stream);
    assert!(matches!(&*handle.state().borrow(), State::Closed));
    assert_eq!(net.alive(), 0);

    let received = net.received();
    let unique: BTreeSet<_> = received.iter().cloned().collect();
    assert_eq!(unique.len(), received.len(), "sent twice");
    assert!(unique.is_disjoint(&dropped), "sent and dropped");
    let mut accepted = accepted.lock().unwrap().clone();
    for settled in unique.iter().chain(&dropped) {
        assert!(accepted.remove(settled), "never accepted");
    }
    // The writer was stopped with at most one in its hands.
    assert!(accepted.len() <= 1, "lost: {accepted:?}");
    assert!(
        epochs > 300 && received.len() > 30_000,
        "{epochs} epochs, {} messages",
        received.len()
    );
    let order: Vec<u32> = received.iter().map(|n| n.parse().unwrap()).collect();
    assert!(order.is_sorted(), "order is kept");
}

#[tokio::test(start_paused = true)]
async fn dropped_at_every_await() {
    let mut awaits = 0;
    for stop in 1.. {
        let net = Net::new(|n| match n {
            1 | 4 => Act::Stall(SECOND, refused()),
            2 | 5 => Act::Drop(SECOND * 7, None),
            3 => Act::Refuse(refused()),
            _ => Act::Accept,
        });
        let (layer, handle) = ReconnectLayer::pair();
        let scenario = async {
            let mut session = net.session(layer).await.unwrap();
            for epoch in 0..3 {
                while !matches!(session.next().await, Some(Event::Up(_))) {}
                session.send(Outgoing::new(epoch.to_string())).await.unwrap();
            }
            net.peer().deafen();
            session.close().await.unwrap();
            while session.next().await.is_some() {}
        };
        let done = polled(scenario, stop).await;
        assert!(matches!(&*handle.state().borrow(), State::Closed), "after {stop} polls");
        assert_eq!(net.alive(), 0, "after {stop} polls");
        let dials = net.dials().len();
        sleep(SECOND * 100).await;
        assert_eq!(net.dials().len(), dials, "after {stop} polls");
        if done {
            break;
        }
        awaits = stop;
    }
    assert!(awaits > 8, "{awaits}");
}

/// Polls a future so many times, then drops it. True if it was done.
async fn polled(future: impl Future, mut times: usize) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(move |cx| {
        times -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if times == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
