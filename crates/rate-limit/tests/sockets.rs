//! Over real sockets: a flood, and a server that has had enough.

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use support::n;
use tokio::time::{Instant, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_connector::tcp_connector;
use tower_ws_core::{BoxError, Event, Failure, FailureKind, find};
use tower_ws_rate_limit::{Inbound, Limiter, Quota, RateLimitLayer};
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_test_kit::{Script, Server};
use tower_ws_transport::{Message, TransportLayer};

const PATIENCE: Duration = Duration::from_secs(60);

/// So many that the buffers on the way do not hold them all: each answer is written by this side.
const FLOOD: usize = 200_000;

#[tokio::test]
async fn a_flood_of_pings_is_held_back_then_ended() -> Result<(), BoxError> {
    let server = Server::start(Script::PingFlood(FLOOD)).await?;
    let (layer, handle) = RateLimitLayer::pair();
    let inbound = Inbound::new()
        .messages(Quota::per_second(n(200)))
        .patience(Duration::from_millis(500));
    let connect = ServiceBuilder::new()
        .layer(layer.inbound(inbound))
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let mut connection = Box::pin(connect.oneshot(Request::get(server.url()).body(())?).await?);
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    let start = Instant::now();
    let mut read = 0;
    let down = timeout(PATIENCE, async {
        loop {
            match connection.next().await {
                Some(Event::Message(_)) => read += 1,
                Some(Event::Down(down)) => return down,
                event => panic!("{event:?}"),
            }
        }
    })
    .await?;
    assert_eq!(down.cause.kind(), FailureKind::Policy, "{}", down.cause);
    // However slow the machine is: not above the rate.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    let most = 200.0 + 200.0 * took.as_secs_f64() + 2.0;
    assert!(f64::from(read) <= most && read >= 200, "{read} in {took:?}");
    assert!(connection.next().await.is_none());
    assert_eq!(handle.snapshot().flooded, 1);
    // The connection is gone, for the server too.
    timeout(PATIENCE, server.wait_live(0)).await?;
    Ok(())
}

#[tokio::test]
async fn too_many_requests_and_when_to_come_back() -> Result<(), BoxError> {
    let server = Server::start(Script::status(429, &[("Retry-After", "2")])).await?;
    let dials = Limiter::new(Quota::per_second(n(1_000)));
    let stack = || {
        ServiceBuilder::new()
            .layer(RateLimitLayer::new().dials(dials.clone()))
            .layer(TransportLayer::new())
            .service(tcp_connector())
    };
    let target = || Request::get(server.url()).body(());
    let start = Instant::now();
    let error = stack().oneshot(target()?).await.expect_err("the server refuses");
    let failure = find::<Failure>(&*error).expect("it is classified");
    assert_eq!(failure.status(), Some(429));
    assert_eq!(dials.stats().pauses, 1);
    server.play(Script::Echo);

    // Another client of the process, that has heard nothing itself.
    let connect = ServiceBuilder::new().layer(ReconnectLayer::new()).service(stack());
    let mut session = Box::pin(timeout(PATIENCE, connect.oneshot(target()?)).await??);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(server.dials(), 2);
    assert!(matches!(session.next().await, Some(Event::Up(up)) if up.layers.contains(&"rate-limit")));
    session.send(Message::text("hello").into()).await?;
    assert!(matches!(session.next().await, Some(Event::Message(said)) if said == Message::text("hello")));
    Ok(())
}
