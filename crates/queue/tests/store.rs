//! What the queue does for a store that writes ahead: nothing leaves, and no flush is done, before
//! it is kept.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{SECOND, arrivals, dropped, message, up};
use tower::{Layer, ServiceExt};
use tower_ws_core::{DropReason, Event, Failure, FailureKind, boxed};
use tower_ws_queue::{Held, MakeStore, QueueLayer, Store};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::memory;

/// A store that keeps what it has when the test says so, and gives up what the test names.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: usize,
    refused: Option<String>,
    flushed: usize,
    lost: bool,
    waker: Option<Waker>,
    readers: Vec<Waker>,
}

struct Slow {
    disk: Disk,
    held: VecDeque<Held<String>>,
    entered: usize,
    left: usize,
}

impl Disk {
    fn keep(&self, upto: usize) {
        let mut state = self.0.lock().unwrap();
        state.kept = upto;
        state.waker.take().expect("somebody waits").wake();
    }

    fn refuse(&self, text: &str) {
        self.0.lock().unwrap().refused = Some(text.to_owned());
    }

    fn lose(&self) {
        let mut state = self.0.lock().unwrap();
        state.lost = true;
        state.readers.drain(..).for_each(Waker::wake);
    }

    fn poll(&self, upto: usize, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.kept >= upto {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl MakeStore<String> for Disk {
    type Store = Slow;

    fn make_store(&self) -> Slow {
        let (disk, held) = (self.clone(), VecDeque::new());
        Slow {
            disk,
            held,
            entered: 0,
            left: 0,
        }
    }
}

impl Store<String> for Slow {
    fn push_back(&mut self, held: Held<String>) -> Result<(), (Held<String>, DropReason)> {
        self.entered += 1;
        self.held.push_back(held);
        Ok(())
    }

    fn front(&self) -> Option<&Held<String>> {
        self.held.front()
    }

    fn pop_front(&mut self) -> Option<Held<String>> {
        self.left += 1;
        self.held.pop_front()
    }

    fn len(&self) -> usize {
        self.held.len()
    }

    fn take_if(&mut self, wanted: &mut dyn FnMut(&Held<String>) -> bool) -> Vec<Held<String>> {
        Store::take_if(&mut self.held, wanted)
    }

    fn writes_ahead(&self) -> bool {
        true
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held<String>>> {
        self.disk.poll(self.left + 1, cx).map(|()| self.pop_front())
    }

    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.disk.poll(self.entered, cx)
    }

    fn given_up(&mut self) -> Option<(Held<String>, DropReason)> {
        let refused = self.disk.0.lock().unwrap().refused.take()?;
        let at = self.held.iter().position(|held| held.item.message == refused)?;
        self.left += 1;
        Some((self.held.remove(at)?, DropReason::Refused("the disk is full")))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let mut state = self.disk.0.lock().unwrap();
        if state.lost {
            return Poll::Ready(Failure::new(FailureKind::Policy, "another has it"));
        }
        state.readers.push(cx.waker().clone());
        Poll::Pending
    }

    fn awaits_flush(&self) -> bool {
        self.disk.0.lock().unwrap().flushed < self.left
    }

    fn flushed(&mut self) {
        self.disk.0.lock().unwrap().flushed = self.left;
    }
}

/// A session in memory whose queue keeps its messages there.
macro_rules! session {
    ($disk:expr, $layer:expr) => {{
        let (transport, mut listener) = memory::channel::<String>(8);
        let service = $layer
            .store($disk.clone())
            .layer(ReconnectLayer::new().seed(1).layer(transport));
        let (connection, peer) = tokio::join!(service.oneshot(()), listener.accept());
        let mut session = boxed(connection.unwrap());
        up(&mut session).await;
        (session, peer.unwrap(), listener)
    }};
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_and_no_flush_is_done_before_it_is_kept() {
    let disk = Disk::default();
    let (session, mut peer, _listener) = session!(disk, QueueLayer::new());
    let (mut sink, mut stream) = session.split();
    // Spawned, both: what is kept has to wake them.
    let reader = tokio::spawn(async move { stream.next().await });
    let writer = tokio::spawn(async move {
        sink.feed(message("a")).await.unwrap();
        sink.send(message("b")).await.unwrap();
        sink
    });
    tokio::time::sleep(SECOND).await;
    assert!(peer.next().now_or_never().is_none());
    disk.keep(1);
    assert_eq!(peer.next().await.unwrap().unwrap(), "a");
    tokio::time::sleep(SECOND).await;
    assert!(!writer.is_finished() && peer.next().now_or_never().is_none());
    disk.keep(2);
    assert_eq!(peer.next().await.unwrap().unwrap(), "b");
    let _sink = writer.await.unwrap();
    assert_eq!(disk.0.lock().unwrap().flushed, 2);
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_it_in_an_outage_too_and_for_what_waits_at_the_door() {
    let disk = Disk::default();
    let (mut session, peer, mut listener) = session!(disk, QueueLayer::new().messages(2).bytes(4));
    drop(peer);
    assert!(matches!(session.next().await, Some(Event::Down(_))));
    session.feed(message("one")).await.unwrap();
    assert!(session.flush().now_or_never().is_none());
    disk.keep(1);
    session.flush().now_or_never().unwrap().unwrap();
    // It is accepted, and fits no more: until it is in, nobody may take it for kept.
    session.feed(message("two")).await.unwrap();
    let (mut sink, mut stream) = session.split();
    let writer = tokio::spawn(async move { sink.flush().await });
    let (_, peer) = tokio::join!(up(&mut stream), listener.accept());
    let mut peer = peer.unwrap();
    assert_eq!(arrivals(&mut stream, &mut peer, 1).await, ["one"]);
    assert!(stream.next().now_or_never().is_none() && !writer.is_finished());
    disk.keep(2);
    assert_eq!(arrivals(&mut stream, &mut peer, 1).await, ["two"]);
    writer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_store_could_not_keep_comes_back() {
    let disk = Disk::default();
    let (mut session, mut peer, _listener) = session!(disk, QueueLayer::new());
    for text in ["a", "b", "c"] {
        session.feed(message(text)).await.unwrap();
    }
    assert!(session.next().now_or_never().is_none());
    disk.refuse("b");
    disk.keep(3);
    let refused = DropReason::Refused("the disk is full");
    assert_eq!(dropped(&mut session), [("b".to_owned(), refused)]);
    assert_eq!(arrivals(&mut session, &mut peer, 2).await, ["a", "c"]);
}

/// What it gives up takes no room any more: neither more of it than there was, nor less.
#[tokio::test(start_paused = true)]
async fn what_the_store_could_not_keep_leaves_its_room() {
    let disk = Disk::default();
    let (mut session, _peer, _listener) = session!(disk, QueueLayer::new().bytes(100));
    for text in ["a", "b"] {
        session.feed(message(text)).await.unwrap();
    }
    assert!(session.next().now_or_never().is_none());
    disk.refuse("b");
    disk.keep(1);
    let refused = DropReason::Refused("the disk is full");
    assert_eq!(dropped(&mut session), [("b".to_owned(), refused)]);
    // "a" still has a byte of them.
    let large = "x".repeat(99);
    session.feed(message(&large)).await.unwrap();
    assert!(session.feed(message("y")).now_or_never().is_none(), "it is full now");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_lost_ends_the_session_and_nothing_else_is_written() {
    let disk = Disk::default();
    let (session, mut peer, mut listener) = session!(disk, QueueLayer::new());
    let (mut sink, mut stream) = session.split();
    let reader = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        events
    });
    let writer = tokio::spawn(async move {
        sink.feed(message("a")).await.unwrap();
        let flushed = sink.flush().await;
        (flushed, sink.send(message("b")).await)
    });
    tokio::time::sleep(SECOND).await;
    disk.lose();
    let events = reader.await.unwrap();
    let [Event::Dropped(held, DropReason::Closed), Event::Down(down)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((held.message.as_str(), down.will_retry, down.epoch), ("a", false, 1));
    assert_eq!(down.cause.to_string(), "another has it");
    // Whoever waits to write hears of it too.
    let (flushed, sent) = writer.await.unwrap();
    assert!(flushed.is_err() && sent.is_err());
    // The connection is gone, nothing came, and nobody dials again.
    assert!(peer.next().await.is_none_or(|said| said.is_err()));
    assert!(listener.accept().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_store_may_be_lost_in_an_outage() {
    let disk = Disk::default();
    let (mut session, peer, _listener) = session!(disk, QueueLayer::new());
    drop(peer);
    assert!(matches!(session.next().await, Some(Event::Down(down)) if down.will_retry));
    assert!(session.next().now_or_never().is_none());
    disk.lose();
    assert!(matches!(session.next().await, Some(Event::Down(down)) if !down.will_retry));
    assert!(session.next().await.is_none());
}
