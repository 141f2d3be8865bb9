//! Over real sockets: a network that swallows everything, under constant load.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_connector::tcp_connector;
use tower_ws_core::{BoxError, Event, FailureKind};
use tower_ws_health::HealthLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::{Direction, Fault, Proxy, Script, Server};
use tower_ws_transport::{Message, TransportLayer};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_black_hole_under_load_is_noticed_and_left() -> Result<(), BoxError> {
    let server = Server::start(Script::Echo).await?;
    let proxy = Proxy::start(server.addr()).await?;
    let (health, handle) = HealthLayer::pair();
    let connect = ServiceBuilder::new()
        .layer(ReconnectLayer::new())
        .layer(
            health
                .interval(Duration::from_millis(500))
                .timeout(Duration::from_millis(500)),
        )
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let target = Request::get(format!("ws://{}/", proxy.addr())).body(())?;
    let (mut writer, mut reader) = Box::pin(connect.oneshot(target).await?).split();
    assert!(matches!(reader.next().await, Some(Event::Up(up)) if up.epoch == 1));
    let load = tokio::spawn(async move {
        while writer.send(Message::text("load").into()).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    // It works, under load: echoes come back.
    for _ in 0..10 {
        assert!(matches!(
            timeout(PATIENCE, reader.next()).await?,
            Some(Event::Message(_))
        ));
    }

    proxy.set(Fault::Blackhole);
    let start = Instant::now();
    let down = timeout(PATIENCE, async {
        loop {
            if let Some(Event::Down(down)) = reader.next().await {
                return down;
            }
        }
    })
    .await?;
    let noticed = start.elapsed();
    assert_eq!(down.cause.kind(), FailureKind::Timeout, "{}", down.cause);
    assert!(down.will_retry);
    assert!(noticed >= Duration::from_millis(500), "{noticed:?}");
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");

    proxy.set(Fault::None);
    let again = timeout(PATIENCE, async {
        loop {
            if let Some(Event::Up(up)) = reader.next().await {
                return up;
            }
        }
    })
    .await?;
    assert_eq!(again.epoch, 2);
    assert!(matches!(
        timeout(PATIENCE, reader.next()).await?,
        Some(Event::Message(_))
    ));
    let stats = handle.snapshot();
    assert_eq!(stats.connections, 2);
    assert!(stats.bytes_in > 0 && stats.bytes_out > 0, "{stats:?}");
    load.abort();
    Ok(())
}

#[tokio::test]
async fn a_quiet_server_is_pinged_and_a_slow_one_is_spared() -> Result<(), BoxError> {
    let server = Server::start(Script::Echo).await?;
    let proxy = Proxy::start(server.addr()).await?;
    let (health, handle) = HealthLayer::pair();
    let connect = ServiceBuilder::new()
        .layer(health.interval(Duration::from_secs(1)).timeout(Duration::from_secs(1)))
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let target = Request::get(format!("ws://{}/", proxy.addr())).body(())?;
    let mut connection = Box::pin(connect.oneshot(target).await?);
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    let answered = {
        let mut watch = handle.watch();
        async move { watch.wait_for(|stats| stats.probes_answered > 0).await.map(drop) }
    };
    tokio::select! {
        event = connection.next() => panic!("{event:?}"),
        answered = timeout(PATIENCE, answered) => answered??,
    }

    // Four seconds for one message; the pong stands behind it.
    let rate = Fault::Throttle {
        bytes_per_second: 100_000,
    };
    proxy.set_one_way(Direction::ToClient, rate);
    let size = 400_000;
    connection.send(Message::text("x".repeat(size)).into()).await?;
    let event = timeout(PATIENCE, connection.next()).await?;
    assert!(
        matches!(&event, Some(Event::Message(message)) if message.len() == size),
        "not the message"
    );
    Ok(())
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "to block the runtime is what this is about")]
async fn a_stall_of_this_process_is_no_fault_of_the_peers() -> Result<(), BoxError> {
    // On this thread, so that it stands still with us, and has to answer after we have looked.
    let server = Server::start(Script::Echo).await?;
    let connect = ServiceBuilder::new()
        .layer(
            HealthLayer::new()
                .interval(Duration::from_millis(300))
                .timeout(Duration::from_millis(300)),
        )
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let target = Request::get(server.url()).body(())?;
    let mut session = Box::pin(connect.oneshot(target).await?);
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    let stalls = tokio::spawn(async {
        // Before a probe is due, while one is under way, and longer than both times together.
        for (runs, stands_still) in [(250, 350), (290, 400), (310, 500), (320, 900), (150, 1500), (299, 2500)] {
            sleep(Duration::from_millis(runs)).await;
            std::thread::sleep(Duration::from_millis(stands_still));
        }
        sleep(Duration::from_millis(700)).await;
    });
    tokio::select! {
        event = session.next() => panic!("{event:?}"),
        ended = stalls => Ok(ended?),
    }
}
