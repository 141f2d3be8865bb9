//! What is counted of a session.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::pin::pin;

use futures_util::SinkExt;
use metrics_util::debugging::DebuggingRecorder;
use support::{Seen, down, drain, ending, message, poll_once, saying, under, up};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_ws_core::{BoxError, Close, DropReason, Event, Failure, FailureKind, Outgoing, boxed};
use tower_ws_metrics::MetricsLayer;
use tower_ws_reconnect::{Decision, History, ReconnectLayer};
use tower_ws_test_kit::expect::{self, SECOND};
use tower_ws_transport::memory;

fn network() -> Failure {
    Failure::new(FailureKind::Network, "the connection was reset")
}

/// The word before the first space is the kind.
#[derive(Clone)]
struct FirstWord;

impl tower_ws_core::Measure<String> for FirstWord {
    fn bytes(&self, message: &String) -> usize {
        message.len()
    }

    fn kind(&self, message: &String) -> &'static str {
        match message.split(' ').next() {
            Some("call") => "call",
            _ => "note",
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_and_bytes_are_counted_by_kind_and_lane() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let layer = MetricsLayer::session().measure(FirstWord);
    let (session, peer) = tokio::join!(layer.layer(memory).oneshot(()), listener.accept());
    let (mut session, mut peer) = (session.unwrap(), peer.unwrap());

    assert!(matches!(expect::event(&mut session).await, Event::Up(up) if up.layers == ["session-metrics"]));
    session.send(message("call 1")).await.unwrap();
    session.send(message("call 22")).await.unwrap();
    session.send(message("ping").control()).await.unwrap();
    for reply in ["call 333", "note", "note 2"] {
        peer.send(reply.to_owned()).await.unwrap();
        expect::event(&mut session).await;
    }

    let seen = Seen::by(&recorder);
    assert_eq!(
        seen.counted("tower_ws_session_messages"),
        [
            "tower_ws_session_messages_received_total{kind=call} 1",
            "tower_ws_session_messages_received_total{kind=note} 2",
            "tower_ws_session_messages_sent_total{kind=call,lane=normal} 2",
            "tower_ws_session_messages_sent_total{kind=note,lane=control} 1",
        ]
    );
    assert_eq!(
        [
            seen.total("tower_ws_session_sent_bytes_total{kind=call,lane=normal}"),
            seen.total("tower_ws_session_sent_bytes_total{kind=note,lane=control}"),
            seen.total("tower_ws_session_received_bytes_total{kind=call}"),
            seen.total("tower_ws_session_received_bytes_total{kind=note}"),
        ],
        [13.0, 4.0, 8.0, 10.0]
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_counted_by_reason() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let (session, _peer) = tokio::join!(MetricsLayer::session().layer(memory).oneshot(()), listener.accept());
    let mut session = session.unwrap();
    expect::event(&mut session).await;
    session.send(message("late").deadline(Instant::now())).await.unwrap();
    assert!(matches!(
        expect::event(&mut session).await,
        Event::Dropped(_, DropReason::Expired)
    ));

    let dropped = |item: Outgoing<String>, reason| Event::Dropped(item, reason);
    let fake = saying([
        dropped(message("a"), DropReason::TooLarge { size: 2, limit: 1 }),
        dropped(message("b").control(), DropReason::Disconnected),
        dropped(message("c"), DropReason::Refused("a word of some layer")),
        Event::Delivered(message("d")),
    ]);
    let mut session = under(MetricsLayer::session(), fake).await;
    for _ in 0..4 {
        expect::event(&mut session).await;
    }
    assert_eq!(
        Seen::by(&recorder).counted("tower_ws_session_messages_d"),
        [
            "tower_ws_session_messages_delivered_total 1",
            "tower_ws_session_messages_dropped_total{lane=control,reason=disconnected} 1",
            "tower_ws_session_messages_dropped_total{lane=normal,reason=expired} 1",
            "tower_ws_session_messages_dropped_total{lane=normal,reason=refused} 1",
            "tower_ws_session_messages_dropped_total{lane=normal,reason=too_large} 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_sink_refuses_is_not_counted_as_sent() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let (session, peer) = tokio::join!(MetricsLayer::session().layer(memory).oneshot(()), listener.accept());
    let mut session = session.unwrap();
    drop(peer);
    drain(&mut session).await;
    assert!(session.start_send_unpin(message("too late")).is_err());
    assert!(Seen::by(&recorder).counted("tower_ws_session_messages").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_measured_from_down_to_up() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::session())
        .layer(ReconnectLayer::new().seed(1))
        .service(memory);
    let state = || (seen.total("tower_ws_session_open"), seen.total("tower_ws_session_up"));

    let mut connecting = pin!(service.oneshot(()));
    poll_once(connecting.as_mut()).await;
    assert_eq!(state(), (1.0, 0.0));
    let (session, peer) = tokio::join!(connecting, listener.accept());
    let mut session = boxed(session.unwrap());
    assert_eq!(state(), (1.0, 0.0));
    expect::event(&mut session).await;
    assert_eq!(state(), (1.0, 1.0));

    sleep(10 * SECOND).await;
    drop(peer);
    expect::event(&mut session).await;
    assert_eq!(state(), (1.0, 0.0));
    assert_eq!(seen.records("tower_ws_session_uptime_seconds"), [10.0]);

    let lost = Instant::now();
    let answer = async {
        assert!(listener.refuse().await);
        listener.accept().await
    };
    let (event, _peer) = tokio::join!(expect::event(&mut session), answer);
    assert!(matches!(event, Event::Up(up) if up.epoch == 2));
    let outage = lost.elapsed().as_secs_f64();
    assert_eq!(state(), (1.0, 1.0));
    assert_eq!(
        seen.records("tower_ws_session_outage_seconds{outcome=recovered}"),
        [outage]
    );
    assert!(
        seen.records("tower_ws_session_outage_seconds{outcome=abandoned}")
            .is_empty()
    );
    assert_eq!(
        [
            seen.total("tower_ws_session_ups_total"),
            seen.total("tower_ws_session_reconnects_total"),
            seen.total("tower_ws_session_downs_total{next=retry,cause=network}"),
        ],
        [2.0, 1.0, 1.0]
    );

    drop(session);
    assert_eq!(state(), (0.0, 0.0));
    assert_eq!(
        seen.counted("tower_ws_session_ends"),
        ["tower_ws_session_ends_total{cause=dropped} 1"]
    );
    assert_eq!(seen.records("tower_ws_session_uptime_seconds"), [10.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_gives_up_between_connections_tells_why() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    // One try, and no more.
    let policy = |_: &Failure, history: &History| match history.uptime {
        Some(_) => Decision::RetryAfter(3 * SECOND),
        None => Decision::GiveUp,
    };
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::session())
        .layer(ReconnectLayer::new().policy(policy))
        .service(memory);
    let (session, peer) = tokio::join!(service.oneshot(()), listener.accept());
    let mut session = boxed(session.unwrap());
    expect::event(&mut session).await;
    drop((peer, listener));
    drain(&mut session).await;

    assert_eq!(
        seen.counted("tower_ws_session_ends"),
        ["tower_ws_session_ends_total{cause=network} 1"]
    );
    assert_eq!(
        seen.records("tower_ws_session_outage_seconds{outcome=abandoned}"),
        [3.0]
    );
    assert_eq!(seen.total("tower_ws_session_open"), 0.0);
    drop(session);
    assert_eq!(seen.total("tower_ws_session_open"), 0.0);
    assert_eq!(seen.counted("tower_ws_session_ends").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_closed_in_an_outage_ended_on_request() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::session())
        .layer(ReconnectLayer::new())
        .service(memory);
    let (session, peer) = tokio::join!(service.oneshot(()), listener.accept());
    let mut session = boxed(session.unwrap());
    expect::event(&mut session).await;
    drop(peer);
    expect::event(&mut session).await;
    session.close().await.unwrap();
    drain(&mut session).await;
    assert_eq!(
        Seen::by(&recorder).counted("tower_ws_session_ends"),
        ["tower_ws_session_ends_total{cause=local} 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_came_up_has_ended_too() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, listener) = memory::channel::<String>(8);
    drop(listener);
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::session())
        .layer(ReconnectLayer::new().fail_fast())
        .service(memory);
    let error: BoxError = service.oneshot(()).await.unwrap_err();
    assert!(error.is::<tower_ws_reconnect::ReconnectError>(), "{error:?}");
    assert_eq!(
        seen.counted("tower_ws_session_"),
        ["tower_ws_session_ends_total{cause=network} 1"]
    );
    assert_eq!(seen.total("tower_ws_session_open"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn downs_and_close_codes() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let close = |code| {
        Failure::closed(Close {
            code,
            reason: String::new(),
        })
    };
    let fake = ending([
        up(),
        down(close(1012), true),
        up(),
        down(close(4999), true),
        up(),
        down(close(999), true),
        up(),
        down(Failure::new(FailureKind::Auth, "refused"), true),
        up(),
        down(network(), false),
    ]);
    let mut session = under(MetricsLayer::session(), fake).await;
    drain(&mut session).await;
    drain(&mut session).await;
    drop(session);
    let seen = Seen::by(&recorder);
    assert_eq!(
        seen.counted("tower_ws_session_"),
        [
            "tower_ws_session_closes_total{code=1012} 1",
            "tower_ws_session_closes_total{code=4xxx} 1",
            "tower_ws_session_closes_total{code=other} 1",
            "tower_ws_session_downs_total{next=final,cause=network} 1",
            "tower_ws_session_downs_total{next=retry,cause=auth} 1",
            "tower_ws_session_downs_total{next=retry,cause=closed} 3",
            "tower_ws_session_ends_total{cause=network} 1",
            "tower_ws_session_reconnects_total 4",
            "tower_ws_session_ups_total 5",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_stack_are_added_up() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let seen = Seen::by(&recorder);
    let (memory, mut listener) = memory::channel::<String>(8);
    let mut service = MetricsLayer::session().label("server", "orders").layer(memory);
    let mut other = service.clone();
    let up_now = || seen.total("tower_ws_session_up{server=orders}");

    let (first, _one) = tokio::join!(service.call(()), listener.accept());
    let (second, two) = tokio::join!(other.call(()), listener.accept());
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    expect::event(&mut first).await;
    expect::event(&mut second).await;
    assert_eq!(up_now(), 2.0);
    drop(two);
    drain(&mut second).await;
    assert_eq!(up_now(), 1.0);
    drop((first, second));
    assert_eq!(up_now(), 0.0);
}
