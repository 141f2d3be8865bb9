//! The metrics as those who wrote dashboards and alerts know them.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use metrics_util::{MetricKind, debugging::DebuggingRecorder};
use support::{Seen, down, drain, ending, message, saying, under, up};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_ws_ack::{AckLayer, Bare};
use tower_ws_core::{BoxError, Close, DropReason, Event, Failure, FailureKind};
use tower_ws_health::{HealthLayer, probe_fn};
use tower_ws_metrics::MetricsLayer;
use tower_ws_queue::QueueLayer;
use tower_ws_rate_limit::RateLimitLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_subscribe::{Channels, SubscribeLayer};
use tower_ws_test_kit::expect;
use tower_ws_transport::{JsonText, memory};

const EXPECTED: &str = include_str!("metrics.txt");

/// Both heights, with a label, over every layer that shows numbers of its own; a message, so that
/// there is a kind; an acknowledgement, the answer of a probe, and a message that is held in an
/// outage.
async fn all_there_is(seen: &Seen) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let (memory, mut listener) = memory::channel::<String>(8);
    let acks = Bare::new(
        |sent: &String| sent.strip_prefix("number ")?.parse::<u64>().ok(),
        |came: &String| came.strip_prefix("ack ")?.parse().ok(),
    );
    let pings = probe_fn(
        |nonce| format!("ping {nonce}"),
        |came: &String| came.strip_prefix("pong ")?.parse().ok(),
    );
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::session().label("server", "orders"))
        .layer(QueueLayer::new())
        .layer(AckLayer::new(acks))
        .layer(SubscribeLayer::new(Channels::new(JsonText)))
        .layer(ReconnectLayer::new().seed(1))
        .layer(MetricsLayer::connection().label("server", "orders"))
        .layer(RateLimitLayer::new())
        .layer(HealthLayer::new().probe(pings))
        .service(memory);
    let (connection, peer) = tokio::join!(service.oneshot(()), listener.accept());
    let (mut connection, mut peer) = (tower_ws_core::boxed(connection.unwrap()), peer.unwrap());
    let Event::Up(up) = expect::event(&mut connection).await else {
        panic!("no connection")
    };
    let health = up.extensions.get::<tower_ws_health::Handle>().unwrap().clone();
    let probing = tokio::spawn(async move { health.probe_now().await });
    connection.send(message("number 1")).await.unwrap();
    let peer = tokio::spawn(async move {
        for _ in 0..2 {
            let said = peer.next().await.unwrap().unwrap();
            let answer = said.replace("number", "ack").replace("ping", "pong");
            peer.send(answer).await.unwrap();
        }
    });
    // To the end of the peer, and on to where the queue has held something for a while.
    while !matches!(expect::event(&mut connection).await, Event::Down(_)) {}
    peer.await.unwrap();
    probing.await.unwrap().unwrap();
    connection.send(message("number 2")).await.unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(6), connection.next()).await;
    seen.all(|values| {
        let mut all = BTreeMap::<String, (String, BTreeSet<String>)>::new();
        for value in values.values() {
            let kind = match value.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let about = format!(
                "{kind}, {}: {}",
                value.unit.unwrap_or("no unit"),
                value.text.as_deref().unwrap_or("not described")
            );
            let entry = all.entry(value.name.clone()).or_default();
            entry.0 = about;
            entry.1.insert(value.labels.join(" "));
        }
        all
    })
}

#[tokio::test(start_paused = true)]
async fn names_units_descriptions_and_labels_are_those_written_down() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut actual = String::new();
    for (name, (about, labels)) in all_there_is(&Seen::by(&recorder)).await {
        actual += &format!("{name} ({about})\n");
        for labels in labels {
            actual += &format!("    {labels}\n");
        }
    }
    assert!(
        actual == EXPECTED,
        "tests/metrics.txt differs. If that is meant, dashboards break: say so in the changelog, and write\n{actual}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_tables_of_the_docs_are_right() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let all = all_there_is(&Seen::by(&recorder)).await;
    let mut documented = BTreeMap::new();
    for line in include_str!("../src/lib.rs").lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let [_, name, kind, unit, labels, _meaning, _alert, ""] = cells[..]
            && let Some(name) = name.strip_prefix('`')
        {
            let labels = labels.replace('`', "");
            documented.insert(
                name.trim_end_matches('`').to_owned(),
                (format!("{kind}, {unit}"), labels),
            );
        }
    }
    for (name, (about, labels)) in &all {
        let keys = labels.iter().next().unwrap().split(' ').skip(1);
        let keys: Vec<_> = keys.map(|label| label.split('=').next().unwrap()).collect();
        let (kind_and_unit, _) = about.split_once(':').unwrap();
        let (documented, documented_labels) = &documented[name];
        assert_eq!(
            (&**documented, documented_labels),
            (kind_and_unit, &keys.join(" ")),
            "{name}"
        );
    }
    assert_eq!(documented.len(), all.len());
}

#[tokio::test(start_paused = true)]
async fn no_secret_gets_into_a_name_or_a_label() {
    const SECRET: &str = "hunter2";
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);

    // In what is dialled, in what is said, and in why a dial fails.
    let (memory, mut listener) = memory::channel::<String>(8);
    let refuse = Arc::new(AtomicBool::new(true));
    let dial = service_fn(move |target: String| {
        let (refuse, mut memory) = (refuse.swap(false, Ordering::Relaxed), memory.clone());
        async move {
            if refuse {
                let failure = Failure::new(FailureKind::Network, format!("{target} refused {SECRET}"));
                return Err(BoxError::from(failure.with_source(io::Error::other(SECRET))));
            }
            Ok(memory.call(target).await?)
        }
    });
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::session())
        .layer(ReconnectLayer::new().seed(1))
        .layer(MetricsLayer::connection())
        .service(dial);
    let (session, peer) = tokio::join!(service.oneshot(format!("wss://{SECRET}@host/")), listener.accept());
    let (mut session, mut peer) = (tower_ws_core::boxed(session.unwrap()), peer.unwrap());
    expect::event(&mut session).await;
    session.send(message(SECRET)).await.unwrap();
    peer.next().await.unwrap().unwrap();
    peer.send(SECRET.to_owned()).await.unwrap();
    expect::event(&mut session).await;
    drop(peer);
    expect::event(&mut session).await;
    drop(session);

    // In why a connection ends, and why a message comes back.
    for layer in [MetricsLayer::session(), MetricsLayer::connection()] {
        let close = Close {
            code: 4321,
            reason: SECRET.to_owned(),
        };
        let refused = Event::Dropped(message(SECRET), DropReason::Refused(SECRET));
        let fake = ending([up(), refused, down(Failure::closed(close), false)]);
        drain(&mut under(layer, fake).await).await;
    }

    assert_eq!(
        seen.total("tower_ws_connection_dials_total{outcome=failed,cause=network}"),
        1.0
    );
    assert!(!seen.counted("tower_ws_session_downs_total").is_empty());
    assert!(!seen.counted("tower_ws_connection_closes_total").is_empty());
    seen.all(|values| {
        for (series, value) in values {
            let text = value.text.as_deref().unwrap_or_default();
            for secret in [SECRET, "4321", "host"] {
                assert!(!series.contains(secret) && !text.contains(secret), "{series}");
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_label_of_the_layers_own_is_left_alone() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let layer = MetricsLayer::session().label("server", "a").label("kind", "b");
    let mut session = under(layer, saying([up(), Event::Message("hello".to_owned())])).await;
    expect::event(&mut session).await;
    expect::event(&mut session).await;
    let seen = Seen::by(&recorder);
    assert_eq!(
        seen.total("tower_ws_session_messages_received_total{server=a,kind=message}"),
        1.0
    );
}
