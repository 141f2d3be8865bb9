//! A database, fleets on it, and sessions in memory.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; it fails by panicking"
)]

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_core::{BoxConnection, Event, Lift, boxed};
use tower_ws_fleet::{
    Fleet, Owned,
    spool::{Spool, SpoolOptions, Unacknowledged},
    tokio_postgres::{self, NoTls},
};
use tower_ws_queue::QueueLayer;
use tower_ws_rate_limit::{Limiter, RateLimitLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::Postgres;
use tower_ws_transport::memory::{self, Listener, Socket};

/// Nothing here takes long, but the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type File = Spool<String, Unacknowledged>;

pub(crate) fn n(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// A process of a fleet, as it were.
pub(crate) fn fleet(server: &Postgres) -> Fleet {
    Fleet::new(server.url().parse().unwrap(), "tests").lease(Duration::from_secs(1))
}

pub(crate) async fn migrated(server: &Postgres) -> Fleet {
    let fleet = fleet(server);
    fleet.migrate().await.unwrap();
    fleet
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it does not hang")
}

/// Statements of the test's own.
pub(crate) async fn sql(server: &Postgres, text: &str) {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(text).await.unwrap();
}

pub(crate) async fn spool(owned: &Owned) -> File {
    owned.spool(SpoolOptions::new(), Unacknowledged).await.unwrap()
}

/// A session whose queue keeps its messages there, over one that redials; up.
pub(crate) async fn session(spool: &File) -> (BoxConnection<String>, Socket<String>, Listener<String>) {
    let (transport, mut listener) = memory::channel(64);
    let below = ReconnectLayer::new().seed(1).layer(transport);
    let service = QueueLayer::new().store(spool.clone()).layer(below);
    let (session, peer) = within(async { tokio::join!(service.oneshot(()), listener.accept()) }).await;
    let mut session = boxed(session.unwrap());
    assert!(matches!(within(session.next()).await, Some(Event::Up(_))));
    (session, peer.unwrap(), listener)
}

/// Reads to the end.
pub(crate) async fn rest<S: Stream<Item = Event<String>> + Unpin>(session: &mut S) -> Vec<Event<String>> {
    let mut events = Vec::new();
    while let Some(event) = within(session.next()).await {
        events.push(event);
    }
    events
}

/// Dials without a pause, and notes when.
pub(crate) fn dialling(limit: &Limiter, times: Arc<Mutex<Vec<Instant>>>) -> tokio::task::JoinHandle<()> {
    let layer = RateLimitLayer::new().dials(limit.clone());
    tokio::spawn(async move {
        loop {
            let times = times.clone();
            let dial = service_fn(move |(): ()| {
                times.lock().unwrap().push(Instant::now());
                std::future::ready(Ok::<_, std::io::Error>(Lift::<_, String>::new(
                    memory::pair::<String>(1).0,
                )))
            });
            layer.layer(dial).oneshot(()).await.unwrap();
        }
    })
}
