//! What is counted of a connection and its dial.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{future::pending, io, pin::pin};

use futures_util::{SinkExt, StreamExt};
use metrics_util::debugging::DebuggingRecorder;
use support::{Seen, down, drain, ending, message, poll_once, saying, under, up};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};
use tower_ws_core::{BoxError, Event, Failure, FailureKind, Measure, Progress, Up};
use tower_ws_metrics::MetricsLayer;
use tower_ws_test_kit::{
    ManualConnection,
    expect::{self, SECOND},
};
use tower_ws_transport::{lines::LinesLayer, memory};

#[tokio::test(start_paused = true)]
async fn a_dial_that_succeeds() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let state = || {
        (
            seen.total("tower_ws_connection_dials_in_progress"),
            seen.total("tower_ws_connection_open"),
        )
    };

    let mut dial = pin!(MetricsLayer::connection().layer(memory).oneshot(()));
    poll_once(dial.as_mut()).await;
    assert_eq!(state(), (1.0, 0.0));
    sleep(2 * SECOND).await;
    let (connection, _peer) = tokio::join!(dial, listener.accept());
    let mut connection = connection.unwrap();
    assert_eq!(state(), (0.0, 1.0));
    assert_eq!(seen.records("tower_ws_connection_dial_seconds{outcome=ok}"), [2.0]);

    expect::event(&mut connection).await;
    connection.send(message("hello")).await.unwrap();
    sleep(5 * SECOND).await;
    drop(connection);
    assert_eq!(state(), (0.0, 0.0));
    assert_eq!(seen.records("tower_ws_connection_duration_seconds"), [5.0]);
    assert_eq!(
        seen.counted(""),
        [
            "tower_ws_connection_dials_total{outcome=ok,cause=none} 1",
            "tower_ws_connection_messages_sent_total{kind=message,lane=normal} 1",
            "tower_ws_connection_sent_bytes_total{kind=message,lane=normal} 5",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn dials_that_fail_are_counted_by_cause() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let dial = service_fn(|n: u8| async move {
        sleep(SECOND).await;
        Err::<ManualConnection<String>, BoxError>(match n {
            0 => Failure::new(FailureKind::Tls, "expired").into(),
            1 => io::Error::from(io::ErrorKind::ConnectionRefused).into(),
            2 => "who knows".into(),
            _ => pending().await,
        })
    });
    let mut service = ServiceBuilder::new()
        .layer(MetricsLayer::connection())
        .layer(TimeoutLayer::new(10 * SECOND))
        .service(dial);
    for n in 0..4 {
        let error = service.call(n).await.unwrap_err();
        // As it was: the layer wraps nothing.
        assert_eq!(n == 0, error.is::<Failure>());
        assert_eq!(n == 1, error.is::<io::Error>());
        assert_eq!(n == 3, error.is::<tower::timeout::error::Elapsed>());
    }
    assert_eq!(
        seen.counted(""),
        ["local", "network", "timeout", "tls"]
            .map(|cause| format!("tower_ws_connection_dials_total{{outcome=failed,cause={cause}}} 1"))
    );
    assert_eq!(
        seen.records("tower_ws_connection_dial_seconds{outcome=failed}"),
        [1.0, 1.0, 1.0, 10.0]
    );
    assert_eq!(seen.total("tower_ws_connection_dials_in_progress"), 0.0);
    assert_eq!(seen.total("tower_ws_connection_open"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_dropped_is_cancelled() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, _listener) = memory::channel::<String>(8);
    let mut service = MetricsLayer::connection().layer(memory);
    assert!(timeout(3 * SECOND, service.call(())).await.is_err());
    // This one was not even polled.
    drop(service.call(()));
    assert_eq!(
        seen.counted(""),
        ["tower_ws_connection_dials_total{outcome=cancelled,cause=none} 2"]
    );
    assert_eq!(
        seen.records("tower_ws_connection_dial_seconds{outcome=cancelled}"),
        [3.0, 0.0]
    );
    assert_eq!(seen.total("tower_ws_connection_dials_in_progress"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn an_end_counts_once() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let lost = || down(Failure::new(FailureKind::Timeout, "no answer"), false);
    for fake in [
        ending([up(), lost()]),
        saying([up(), lost()]),
        // Outside of the laws, and no reason to count wrong.
        ending([up()]),
        ending([]),
    ] {
        let mut connection = under(MetricsLayer::connection(), fake).await;
        let _ = timeout(SECOND, drain(&mut connection)).await;
        assert_eq!(seen.total("tower_ws_connection_open"), 0.0);
        drop(connection);
        assert_eq!(seen.total("tower_ws_connection_open"), 0.0);
    }
    assert_eq!(seen.records("tower_ws_connection_duration_seconds"), [0.0; 4]);
    assert_eq!(seen.total("tower_ws_connection_downs_total{cause=timeout}"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_socket() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (near, mut far) = tokio::io::duplex(1024);
    let mut near = Some(near);
    let pipe = service_fn(move |()| std::future::ready(near.take().ok_or(BoxError::from("one only"))));
    let mut connection = ServiceBuilder::new()
        .layer(MetricsLayer::connection())
        .layer(LinesLayer::new())
        .service(pipe)
        .oneshot(())
        .await
        .unwrap();
    expect::event(&mut connection).await;
    connection.send(message("hello")).await.unwrap();
    let mut line = [0; 6];
    far.read_exact(&mut line).await.unwrap();
    far.write_all(b"welcome\n").await.unwrap();
    expect::event(&mut connection).await;
    let moved = || {
        (
            seen.total("tower_ws_connection_socket_read_bytes_total"),
            seen.total("tower_ws_connection_socket_written_bytes_total"),
        )
    };
    assert_eq!(moved(), (8.0, 6.0));
    // What moved since the last event counts at the end.
    connection.send(message("bye")).await.unwrap();
    drop(connection);
    assert_eq!(moved(), (8.0, 10.0));
}

#[tokio::test(start_paused = true)]
async fn each_socket_is_counted_from_its_beginning() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    for read in [10, 3] {
        let progress = Progress::new();
        progress.add_read(read);
        let mut up = Up::new();
        up.extensions.insert(progress.clone());
        let mut connection = under(MetricsLayer::connection(), saying([Event::Up(up)])).await;
        expect::event(&mut connection).await;
        progress.add_read(100);
    }
    assert_eq!(seen.total("tower_ws_connection_socket_read_bytes_total"), 213.0);
}

/// A measure that breaks its promise: a word of its own for each message.
#[derive(Clone)]
struct Chatty;

impl Measure<String> for Chatty {
    fn bytes(&self, message: &String) -> usize {
        message.len()
    }

    fn kind(&self, message: &String) -> &'static str {
        message.clone().leak()
    }
}

#[tokio::test(start_paused = true)]
async fn kinds_without_number_are_one_kind() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let mut service = MetricsLayer::connection().measure(Chatty).layer(memory);
    for _ in 0..2 {
        let (connection, peer) = tokio::join!(service.call(()), listener.accept());
        let (mut connection, mut peer) = (connection.unwrap(), peer.unwrap());
        expect::event(&mut connection).await;
        for n in 0..100 {
            connection.send(message(&n.to_string())).await.unwrap();
            peer.next().await.unwrap().unwrap();
        }
    }
    let counted = seen.counted("tower_ws_connection_messages_sent_total");
    assert_eq!(counted.len(), 17);
    assert_eq!(
        seen.total("tower_ws_connection_messages_sent_total{kind=other,lane=normal}"),
        168.0
    );
    assert_eq!(
        seen.total("tower_ws_connection_messages_sent_total{kind=7,lane=normal}"),
        2.0
    );
}
