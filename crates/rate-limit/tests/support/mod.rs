//! A connection in memory under the layer, and its far end.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a test that fails may panic; not every test uses all"
)]

use std::{num::NonZeroU32, pin::Pin, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_ws_core::{Down, DropReason, Event, Lift};
use tower_ws_rate_limit::{NoSignal, RateLimitConnection, RateLimitLayer, ThrottleSignal};
use tower_ws_transport::memory::{self, Listener, Memory, Socket};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Wire = Lift<Socket<String>, String>;
pub(crate) type Limited<G = NoSignal> = Pin<Box<RateLimitConnection<Wire, tower_ws_core::Length, G>>>;
pub(crate) type Far = Socket<String>;

pub(crate) fn n(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// A network with room for many messages on the way.
pub(crate) fn network() -> (Memory<String>, Listener<String>) {
    memory::channel(1 << 16)
}

/// A connection whose `Up` has been read.
pub(crate) async fn connect<G>(layer: &RateLimitLayer<tower_ws_core::Length, G>) -> (Limited<G>, Far)
where
    G: Clone + ThrottleSignal<String>,
{
    let (memory, mut listener) = network();
    let (connection, far) = tokio::join!(layer.layer(memory).oneshot(()), listener.accept());
    let mut connection = Box::pin(connection.unwrap());
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    (connection, far.unwrap())
}

/// Reads on a task of its own, to the end.
pub(crate) fn read_all<C>(mut stream: C) -> tokio::task::JoinHandle<Vec<C::Item>>
where
    C: Stream<Item: Send> + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            events.push(event);
        }
        events
    })
}

pub(crate) async fn down<C: Stream<Item = Event<String>> + Unpin>(connection: &mut C) -> Down {
    loop {
        match connection.next().await {
            Some(Event::Down(down)) => return down,
            Some(_) => {}
            None => panic!("the end without Down"),
        }
    }
}

pub(crate) fn dropped(event: Option<Event<String>>) -> (String, DropReason) {
    match event {
        Some(Event::Dropped(item, reason)) => (item.message, reason),
        event => panic!("expected Dropped, got {event:?}"),
    }
}

/// What has arrived and not been read, without waiting.
pub(crate) fn arrived(far: &mut Far) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(Some(Ok(message))) = far.next().now_or_never() {
        all.push(message);
    }
    all
}

/// When each of so many messages arrives.
pub(crate) async fn arrivals(far: &mut Far, count: usize) -> Vec<Instant> {
    let mut times = Vec::new();
    while times.len() < count {
        far.next().await.unwrap().unwrap();
        times.push(Instant::now());
    }
    times
}

/// The most within any window of this length.
pub(crate) fn densest(times: &[Instant], window: Duration) -> usize {
    let from = |start: &Instant| {
        let within = times.iter().filter(|at| *start <= **at && **at < *start + window);
        within.count()
    };
    times.iter().map(from).max().unwrap_or_default()
}
