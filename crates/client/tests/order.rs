//! A stack in an order that cannot work ends before anything is sent, and is named.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::convert::Infallible;

use support::{Puppet, Text, settle};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_client::{CallError, ClientLayer, Incoming, Request};
use tower_ws_core::{BoxError, Disposition, Event, Failure, FailureKind, Position, Up, WrongOrder, find};

/// A connection through layers of these names, innermost first.
fn through(layers: &[&'static str]) -> Puppet {
    let puppet = Puppet::default();
    puppet.pull(|strings| (strings.ready, strings.flushable) = (true, true));
    puppet.event(Event::Up(layers.iter().fold(Up::new(), |up, layer| up.through(layer))));
    puppet
}

fn assert_names_health(error: &(dyn std::error::Error + 'static)) {
    let wrong = find::<WrongOrder>(error).unwrap();
    assert_eq!(
        (wrong.layer, wrong.must_be, wrong.other),
        ("health", Position::Below, "reconnect")
    );
}

#[tokio::test(start_paused = true)]
async fn connecting_fails_for_good() {
    let puppet = through(&["transport", "reconnect", "health"]);
    let connect = service_fn(move |()| std::future::ready(Ok::<_, Infallible>(puppet.clone())));
    let error: BoxError = ClientLayer::new(Text).layer(connect).oneshot(()).await.unwrap_err();
    let failure = find::<Failure>(&*error).unwrap();
    assert_eq!(
        (failure.kind(), failure.disposition()),
        (FailureKind::Usage, Disposition::Final)
    );
    assert_names_health(&*error);
}

#[tokio::test(start_paused = true)]
async fn a_driver_without_a_service_ends_the_session() {
    let puppet = through(&["transport", "reconnect", "health"]);
    let (client, mut inbound, driver) = ClientLayer::new(Text).pair(puppet.clone());
    let call = tokio::spawn(async move { client.send(Request::new("m")).await });
    tokio::spawn(driver);
    let Err(CallError::Closed(Some(cause))) = call.await.unwrap() else {
        panic!("the call was not refused");
    };
    assert_names_health(&cause);
    assert!(puppet.sent().await.is_empty());
    assert!(matches!(inbound.next().await, Some(Incoming::Up(_))));
    let Some(Incoming::Down(down)) = inbound.next().await else {
        panic!("the end was not told");
    };
    assert_names_health(&down.cause);
    assert!(!down.will_retry && inbound.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn layers_nobody_knows_stand_anywhere() {
    let puppet = through(&["own", "reconnect", "own", "own"]);
    let connect = service_fn(move |()| std::future::ready(Ok::<_, Infallible>(puppet.clone())));
    let (client, _inbound) = ClientLayer::new(Text).layer(connect).oneshot(()).await.unwrap();
    settle().await;
    assert!(client.notify(Request::new("m")).await.is_ok());
}
