//! What the layer measures, and probes on demand.

mod support;

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt, future::join_all};
use support::*;
use tokio::time::{Instant, sleep};
use tower_ws_core::Event;
use tower_ws_health::{Handle, Health, HealthConnection, HealthLayer, ProbeError, Quality, Rtt, Snapshot};
use tower_ws_transport::Message;

const RTT: Duration = Duration::from_millis(70);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Timers round up to the next millisecond, in each direction.
fn about(rtt: Duration) -> bool {
    (RTT..RTT + Duration::from_millis(5)).contains(&rtt)
}

#[tokio::test(start_paused = true)]
async fn round_trips_are_measured() {
    let (health, handle) = HealthLayer::pair();
    assert_eq!(handle.snapshot().quality, Quality::Unknown);
    let mut watch = handle.watch();
    let (connection, far) = connect(&health).await;
    let _far = answer(far, RTT);
    let _reader = read(connection);
    watch.wait_for(|stats| stats.probes_answered == 5).await.unwrap();
    let stats = handle.snapshot();
    let rtt = stats.rtt.unwrap();
    for one in [rtt.last, rtt.smoothed, rtt.min, rtt.max, rtt.p50, rtt.p90, rtt.p99] {
        assert!(about(one), "{rtt:?}");
    }
    assert!(rtt.jitter < Duration::from_millis(2), "{rtt:?}");
    assert_eq!((stats.quality, stats.connections), (Quality::Good, 1));
    assert!(stats.uptime().unwrap() >= secs(90));
}

#[tokio::test(start_paused = true)]
async fn messages_bytes_and_connections_are_counted() {
    let (health, handle) = HealthLayer::pair();
    for round in 1..=3 {
        let gate = Gate::counting();
        let (mut connection, mut far) = connect_through(&health, gate.clone()).await;
        gate.bytes(100);
        far.send(Message::text("hello")).await.unwrap();
        assert!(matches!(connection.next().await, Some(Event::Message(_))));
        for _ in 0..2 {
            connection.send(Message::text("hello").into()).await.unwrap();
        }
        let stats = handle.snapshot();
        assert_eq!((stats.messages_in, stats.messages_out), (round, 2 * round));
        assert_eq!((stats.connections, stats.bytes_in), (round, 100 * round));
        assert!(stats.up_since.is_some());
        drop(far);
        down(&mut connection).await;
        assert!(handle.snapshot().up_since.is_none());
        assert_eq!(handle.snapshot().bytes_in, 100 * round);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_live_at_once_have_their_own_handles() {
    let (health, handle) = HealthLayer::pair();
    let (_first, _far) = connect(&health).await;
    let (_second, _other) = connect(&health).await;
    assert_eq!(handle.snapshot().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn probes_on_demand_are_one_probe() {
    let (health, handle) = HealthLayer::pair();
    assert_eq!(handle.probe_now().await, Err(ProbeError::NoConnection));
    let (connection, far) = connect(&health).await;
    let _far = answer(far, RTT);
    let _reader = read(connection);
    let later = async {
        sleep(RTT / 2).await;
        handle.probe_now().await
    };
    let (rtts, later) = futures_util::future::join(join_all((0..5).map(|_| handle.probe_now())), later).await;
    for rtt in rtts.into_iter().chain([later]) {
        assert!(about(rtt.clone().unwrap()), "{rtt:?}");
    }
    assert_eq!(handle.snapshot().probes_sent, 1);
    assert!(about(handle.probe_now().await.unwrap()));
    assert_eq!(handle.snapshot().probes_sent, 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_on_demand_finds_a_dead_peer_within_the_timeout() {
    let (health, handle) = HealthLayer::pair();
    let (connection, _far) = connect(&health).await;
    let reader = read(connection);
    sleep(secs(3)).await;
    let start = Instant::now();
    let outcome = handle.probe_now().await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(matches!(reader.await.unwrap()[..], [Event::Down(_)]));
    assert!((secs(20)..secs(21)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_on_demand_tells_why_not() {
    let (health, handle) = HealthLayer::pair();
    let (connection, mut far) = connect(&health).await;
    let reader = read(connection);
    let busy = async {
        ping(&mut far).await;
        for _ in 0..25 {
            sleep(secs(1)).await;
            far.send(Message::text("busy")).await.unwrap();
        }
    };
    let start = Instant::now();
    let asked = async { (handle.probe_now().await, start.elapsed()) };
    let ((outcome, after), ()) = futures_util::future::join(asked, busy).await;
    assert_eq!(outcome, Err(ProbeError::Unanswered(secs(20))));
    assert!((secs(20)..secs(21)).contains(&after), "{after:?}");

    let gone = async {
        ping(&mut far).await;
        drop(far);
    };
    let (outcome, ()) = futures_util::future::join(handle.probe_now(), gone).await;
    assert_eq!(outcome, Err(ProbeError::Disconnected));
    reader.await.unwrap();
    assert_eq!(handle.probe_now().await, Err(ProbeError::NoConnection));
    assert_eq!(handle.snapshot().probes_lost, 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_brings_its_handle() {
    let (mut connection, far) = {
        let (memory, mut listener) = tower_ws_transport::memory::channel::<Message>(4);
        let service = tower::Layer::layer(&HealthLayer::new(), memory);
        let (connection, far) = tokio::join!(tower::ServiceExt::oneshot(service, ()), listener.accept());
        (connection.unwrap(), far.unwrap())
    };
    let Some(Event::Up(up)) = connection.next().await else {
        panic!("expected Up")
    };
    assert_eq!(up.layers, ["health"]);
    let handle = up.extensions.get::<Handle>().unwrap().clone();
    let _far = answer(far, RTT);
    let _reader = tokio::spawn(async move { while connection.next().await.is_some() {} });
    assert!(about(handle.probe_now().await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_connection_tells_who_waits() {
    let (health, handle) = HealthLayer::pair();
    let (connection, _far) = connect(&health).await;
    let asking = tokio::spawn(async move { handle.probe_now().await });
    tokio::task::yield_now().await;
    drop(connection);
    assert_eq!(asking.await.unwrap(), Err(ProbeError::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn settings_out_of_bounds_are_brought_within() {
    let health = HealthLayer::new()
        .interval(Duration::MAX)
        .timeout(Duration::MAX)
        .jitter(f64::NAN);
    let (mut connection, _far) = connect(&health).await;
    assert!(connection.next().now_or_never().is_none());
    let (health, handle) = HealthLayer::pair();
    let (connection, far) = connect(&health.interval(Duration::ZERO).jitter(9.0)).await;
    let (_far, _reader) = (answer(far, Duration::from_millis(1)), read(connection));
    sleep(secs(1)).await;
    assert!(handle.snapshot().probes_answered > 0);
}

#[test]
fn auto_traits() {
    fn service<T: Send + Sync + Clone + 'static>() {}
    fn connection<T: Send + Unpin + 'static>() {}
    fn value<T: Send + Sync + Unpin + Clone + std::fmt::Debug + 'static>() {}
    service::<HealthLayer>();
    service::<Health<()>>();
    connection::<HealthConnection<tower_ws_core::Lift<tower_ws_transport::memory::Socket<u8>, u8>>>();
    value::<Handle>();
    value::<Snapshot>();
    value::<Rtt>();
    value::<Quality>();
    value::<ProbeError>();
}

#[tokio::test(start_paused = true)]
async fn a_probe_on_demand_moves_the_timer_forward() {
    let (health, handle) = HealthLayer::pair();
    let (connection, _far) = connect(&health.timeout(secs(2))).await;
    let reader = read(connection);
    sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    assert!(handle.probe_now().await.is_err());
    assert!(matches!(reader.await.unwrap()[..], [Event::Down(_)]));
    assert!((secs(2)..secs(3)).contains(&start.elapsed()), "{:?}", start.elapsed());
}
