//! Sessions in memory over a spool in a file. The clock is the real one: the writer's thread knows
//! no other.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; it fails by panicking"
)]

use std::{path::Path, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use tempfile::TempDir;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tower_ws_ack::{AckLayer, Bare, Strategy};
use tower_ws_core::{BoxConnection, DropReason, Event, Outgoing, Pack, Up, boxed};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_spool::{Spool, SpoolOptions};
use tower_ws_transport::memory::{self, Listener, Socket};

/// Nothing here takes long, but the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Session = BoxConnection<String>;

/// "7 text" awaits "ack 7".
pub(crate) type Numbers = Bare<fn(&String) -> Option<u64>, fn(&String) -> Option<u64>>;

pub(crate) fn numbers() -> Numbers {
    Bare::new(
        |sent| sent.split(' ').next()?.parse().ok(),
        |came| came.strip_prefix("ack ")?.parse().ok(),
    )
}

pub(crate) fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.db");
    (folder, path)
}

pub(crate) fn open<S: Strategy<String>>(path: &Path, strategy: S) -> Spool<String, S> {
    SpoolOptions::new().open(path, strategy).unwrap()
}

/// A session whose queue keeps its messages in the spool, over acknowledgements, over one that
/// redials; up.
pub(crate) async fn session<P, S>(spool: &Spool<String, S, P>) -> (Session, Socket<String>, Listener<String>)
where
    P: Pack<String> + Clone + Send + 'static,
    S: Strategy<String, Key: Send> + Clone + Send + 'static,
{
    let (transport, mut listener) = memory::channel(64);
    let ack = AckLayer::new(spool.strategy().clone());
    let below = ack.layer(ReconnectLayer::new().seed(1).layer(transport));
    let service = QueueLayer::new().store(spool.clone()).layer(below);
    let (session, peer) = within(async { tokio::join!(service.oneshot(()), listener.accept()) }).await;
    let mut session = boxed(session.unwrap());
    up(&mut session).await;
    (session, peer.unwrap(), listener)
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it does not hang")
}

pub(crate) async fn up<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Up {
    match within(session.next()).await {
        Some(Event::Up(up)) => up,
        other => panic!("expected Up, got {other:?}"),
    }
}

/// What comes back without waiting.
pub(crate) fn dropped<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Vec<(String, DropReason)> {
    let mut dropped = Vec::new();
    while let Some(Some(event)) = session.next().now_or_never() {
        if let Event::Dropped(item, reason) = event {
            dropped.push((item.message, reason));
        }
    }
    dropped
}

/// Reads a session while its peer reads this many messages.
pub(crate) async fn arrivals<S>(session: &mut S, peer: &mut Socket<String>, count: usize) -> Vec<String>
where
    S: Stream<Item = Event<String>> + Unpin,
{
    let mut arrived = Vec::new();
    within(async {
        while arrived.len() < count {
            tokio::select! {
                said = peer.next() => arrived.push(said.unwrap().unwrap()),
                Some(_) = session.next() => {}
            }
        }
    })
    .await;
    arrived
}

pub(crate) fn message(text: impl ToString) -> Outgoing<String> {
    Outgoing::new(text.to_string())
}
