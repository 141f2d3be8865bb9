//! A queue over a session that redials in memory, and its peers.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; it fails by panicking"
)]

use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use tower::{Layer, ServiceExt};
use tower_ws_core::{BoxConnection, DropReason, Event, Outgoing, Up, boxed};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::memory::{self, Listener, Socket};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How many messages a socket takes that its peer has not read.
pub(crate) const ROOM: usize = 2;

/// A queue over one connection.
pub(crate) async fn single(layer: QueueLayer) -> (BoxConnection<String>, Socket<String>) {
    let (memory, mut listener) = memory::channel(ROOM);
    let service = layer.layer(memory);
    let (connection, peer) = tokio::join!(service.oneshot(()), listener.accept());
    (boxed(connection.unwrap()), peer.unwrap())
}

/// A queue over a session that redials.
pub(crate) async fn session(layer: QueueLayer) -> (BoxConnection<String>, Socket<String>, Listener<String>) {
    let (memory, mut listener) = memory::channel(ROOM);
    let service = layer.layer(ReconnectLayer::new().seed(1).layer(memory));
    let (connection, peer) = tokio::join!(service.oneshot(()), listener.accept());
    (boxed(connection.unwrap()), peer.unwrap(), listener)
}

/// The same, while its link is down.
pub(crate) async fn outage(layer: QueueLayer) -> (BoxConnection<String>, Listener<String>) {
    let (mut connection, peer, listener) = session(layer).await;
    up(&mut connection).await;
    drop(peer);
    assert!(matches!(connection.next().await, Some(Event::Down(down)) if down.will_retry));
    (connection, listener)
}

pub(crate) async fn up<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Up {
    match session.next().await {
        Some(Event::Up(up)) => up,
        other => panic!("expected Up, got {other:?}"),
    }
}

/// What comes back without waiting.
pub(crate) fn dropped<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Vec<(String, DropReason)> {
    let mut dropped = Vec::new();
    while let Some(Some(Event::Dropped(item, reason))) = session.next().now_or_never() {
        dropped.push((item.message, reason));
    }
    dropped
}

/// Reads a session while its peer reads this many messages.
pub(crate) async fn arrivals<S>(session: &mut S, peer: &mut Socket<String>, count: usize) -> Vec<String>
where
    S: Stream<Item = Event<String>> + Unpin,
{
    let reads = async {
        while let Some(event) = session.next().await {
            assert!(matches!(event, Event::Up(_)), "{event:?}");
        }
    };
    let mut arrived = Vec::new();
    let arrives = async {
        while arrived.len() < count {
            arrived.push(peer.next().await.unwrap().unwrap());
        }
    };
    tokio::select! {
        () = reads => panic!("the session ended"),
        () = arrives => {}
    }
    arrived
}

pub(crate) fn message(n: impl ToString) -> Outgoing<String> {
    Outgoing::new(n.to_string())
}
