//! Sessions without an outbox: a standby waits with its dials.
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use support::{fleet, migrated, sql, within};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_ws_core::{BoxConnection, BoxError, DropReason, Event, Readings, Value, boxed};
use tower_ws_fleet::{Fleet, Handle};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::{ManualConnection, Postgres, conformance};
use tower_ws_transport::memory::{self, Memory};

const SECOND: Duration = Duration::from_secs(1);

async fn session(fleet: &Fleet, network: Memory<String>) -> BoxConnection<String> {
    let stack = ServiceBuilder::new()
        .layer(ReconnectLayer::new())
        .layer(fleet.lane("feed").layer())
        .service(network);
    boxed(stack.oneshot(()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standby_dials_when_the_owner_is_gone_and_he_stands_by_when_he_is_back() {
    let Some(server) = Postgres::start() else { return };
    let (first, second) = (migrated(&server).await, fleet(&server));
    let (network, mut listener) = memory::channel::<String>(8);
    let (owner, peer) = within(async { tokio::join!(session(&first, network.clone()), listener.accept()) }).await;
    let (mut owner, mut peer) = (owner, peer.unwrap());
    let Some(Event::Up(up)) = within(owner.next()).await else {
        panic!()
    };
    assert!(up.layers.contains(&"lease"), "{:?}", up.layers);
    assert_eq!(up.extensions.get::<Handle>().unwrap().snapshot().lanes, 1);
    let standby = tokio::spawn(async move { session(&second, network).await });
    assert!(timeout(SECOND * 2, listener.accept()).await.is_err(), "one at a time");

    // Somebody takes it: the connection is cut off, nothing else is written, and he dials no more
    // while another has it.
    sql(
        &server,
        "UPDATE tower_ws_lane SET token = token + 1, until = clock_timestamp() + interval '3 s'",
    )
    .await;
    let Some(Event::Down(down)) = within(owner.next()).await else {
        panic!()
    };
    assert!(
        down.will_retry && down.cause.to_string().contains("another process has it"),
        "{down:?}"
    );
    let _ = owner.send("late".to_owned().into()).now_or_never();
    assert!(peer.next().await.is_none_or(|said| said.is_err()));
    // One of the two gets it when it is free again.
    // Whoever has it keeps it: dropping the session gives it back.
    let reads = tokio::spawn(async move { while owner.next().await.is_some() {} });
    let peer = within(listener.accept()).await.unwrap();
    assert!(timeout(SECOND * 2, listener.accept()).await.is_err(), "one at a time");
    // The process of that one ends.
    match standby.is_finished() {
        true => drop(standby.await.unwrap()),
        false => {
            reads.abort();
            let _ = reads.await;
            let (standby, _peer) = within(async { tokio::join!(standby, listener.accept()) }).await;
            drop(standby.unwrap());
        }
    }
    drop(peer);
}

/// Whoever holds it up below: nothing is lost, no event is made up.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_owns_the_lane_it_is_not_there() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let (network, mut listener) = memory::channel::<String>(8);
    let (mut session, mut peer) = {
        let (session, peer) = within(async { tokio::join!(session(&fleet, network), listener.accept()) }).await;
        (session, peer.unwrap())
    };
    assert!(matches!(within(session.next()).await, Some(Event::Up(_))));
    for n in 0..100 {
        session.send(n.to_string().into()).await.unwrap();
        assert_eq!(within(peer.next()).await.unwrap().unwrap(), n.to_string());
        peer.send(n.to_string()).await.unwrap();
        assert!(matches!(within(session.next()).await, Some(Event::Message(text)) if text == n.to_string()));
    }
    sleep(SECOND * 2).await;
    assert!(session.next().now_or_never().is_none(), "it is renewed");
    // A connection that ends by itself leaves the lane where it is.
    drop(peer);
    assert!(matches!(within(session.next()).await, Some(Event::Down(_))));
    let (up, _peer) = within(async { tokio::join!(session.next(), listener.accept()) }).await;
    assert!(matches!(up, Some(Event::Up(_))));
    assert_eq!(fleet.handle().snapshot().lanes, 1);
}

/// It wakes after its lease has run out, and goes on where it stood: with a message in its hands.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_writes_nothing_more() {
    let Some(server) = Postgres::start() else { return };
    let asleep = Arc::new(AtomicU64::new(0));
    let clock = asleep.clone();
    let fleet = migrated(&server)
        .await
        .clock(move || SystemTime::now() + SECOND * clock.load(Ordering::SeqCst) as u32);
    let below = ManualConnection::<String>::new();
    below.up();
    let dialled = below.clone();
    let lane = fleet.lane("feed");
    assert_eq!(
        format!("{lane:?} {:?}", lane.layer()),
        "Lane(\"feed\") LeaseLayer(Lane(\"feed\"))"
    );
    let mut dial = lane.layer().layer(service_fn(move |()| {
        std::future::ready(Ok::<_, BoxError>(dialled.clone()))
    }));
    let early = dial.call(()).await.map(drop).unwrap_err();
    assert_eq!(early.to_string(), "called before it was ready");
    let mut connection = within(dial.oneshot(())).await.unwrap();
    let Some(Event::Up(up)) = within(connection.next()).await else {
        panic!()
    };
    let mut shown = Vec::new();
    up.sources()[0].read(&mut |reading| shown.push((reading.name, reading.value)));
    assert!(shown.contains(&("fleet_lanes", Value::Gauge(1.0))), "{shown:?}");
    let text = format!("{connection:?} {fleet:?}");
    assert!(text.contains("lane: \"feed\"") && text.contains("lanes: 1"), "{text}");

    within(connection.feed("before".to_owned().into())).await.unwrap();
    asleep.store(3_600, Ordering::SeqCst);
    connection.start_send_unpin("late".to_owned().into()).unwrap();
    assert_eq!(below.sent(), ["before"]);
    assert!(matches!(
        within(connection.next()).await,
        Some(Event::Dropped(item, DropReason::Disconnected)) if item.message == "late"
    ));
    let Some(Event::Down(down)) = within(connection.next()).await else {
        panic!()
    };
    assert!(
        down.cause.to_string().contains("could not be renewed in time"),
        "{}",
        down.cause
    );
    assert!(connection.start_send_unpin("later".to_owned().into()).is_err());
    assert!(within(connection.next()).await.is_none());
    assert_eq!(fleet.handle().snapshot().lost, 1);
}

/// By the real clock: the database knows no other.
#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_laws() {
    let Some(server) = Postgres::start() else { return };
    let fleet = migrated(&server).await;
    let layer = fleet.lane("laws").layer();
    let report = conformance::Suite::layer(layer).run().await;
    assert_eq!(
        report.of("wrapping_is_transparent"),
        Some(conformance::Outcome::Held),
        "{report}"
    );
}
