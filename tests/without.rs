//! The recommended stack without each of its layers: still a client, and without just that.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use futures_util::{SinkExt, StreamExt, future::poll_immediate};
use serde_json::json;
use support::{SECOND, bounded, eager, impatient, millis};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Message, Request,
    ack::{AckLayer, JsonRpc},
    client::ClientLayer,
    connector::connector,
    core::{BoxError, DropReason, Event, FailureKind, Replay, WrongOrder, boxed, find},
    health::HealthLayer,
    queue::{Overflow, QueueLayer},
    reconnect::ReconnectLayer,
    transport::JsonText,
};
use tower_ws_test_kit::{Cut, Script, Server};

fn client() -> ClientLayer<JsonText> {
    ClientLayer::new(JsonText).timeout(20 * SECOND).close_grace(SECOND)
}

/// Holds one message, and refuses another.
fn queue() -> QueueLayer {
    QueueLayer::new().messages(1).overflow(Overflow::Refuse)
}

fn ack() -> AckLayer<JsonRpc<JsonText>> {
    AckLayer::new(JsonRpc::new(JsonText))
}

fn health() -> HealthLayer {
    HealthLayer::new().interval(millis(200)).timeout(millis(500))
}

/// The whole stack; the tests take one layer out.
macro_rules! stack {
    ($($layer:expr),+) => {
        ServiceBuilder::new()$(.layer($layer))+.layer(impatient()).service(connector())
    };
}

async fn connect<S>(server: &Server, stack: S) -> (Client, Inbound)
where
    S: Service<http::Request<()>, Response = (Client, Inbound), Error = BoxError>,
{
    let target = http::Request::get(server.url()).body(()).unwrap();
    bounded(stack.oneshot(target)).await.unwrap()
}

/// What every client can do: calls in both directions, pushes.
async fn is_usable(server: &Server, client: &Client, inbound: &mut Inbound) {
    assert_eq!(bounded(client.request::<_, u8>("echo", &7)).await.unwrap(), 7);
    server.push(Message::text(r#"{"jsonrpc":"2.0","method":"push","params":[1]}"#));
    loop {
        match bounded(inbound.next()).await {
            Some(Incoming::Notification(push)) => break assert_eq!(push.params::<[u8; 1]>().unwrap(), [1]),
            Some(Incoming::Up(_) | Incoming::Down(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn down(inbound: &mut Inbound) -> tower_ws::core::Down {
    loop {
        match bounded(inbound.next()).await {
            Some(Incoming::Down(down)) => return down,
            Some(_) => {}
            None => panic!("it ended"),
        }
    }
}

async fn up(inbound: &mut Inbound) {
    while !matches!(bounded(inbound.next()).await.expect("it ended"), Incoming::Up(_)) {}
}

/// Lives through a drop.
async fn comes_back(server: &Server, client: &Client, inbound: &mut Inbound) {
    is_usable(server, client, inbound).await;
    let dials = server.dials();
    server.cut(Cut::Rst);
    assert!(down(inbound).await.will_retry);
    bounded(server.wait_dials(dials + 1)).await;
    up(inbound).await;
    is_usable(server, client, inbound).await;
}

/// Makes two calls while nobody listens. Returns the second.
async fn call_in_an_outage(server: &Server, client: &Client, inbound: &mut Inbound) -> Result<u8, CallError> {
    server.refuse();
    server.cut(Cut::Rst);
    assert!(down(inbound).await.will_retry);
    let call = |client: Client| async move { client.send(Request::new("echo").params(&7).unwrap()).await };
    let first = tokio::spawn(call(client.clone()));
    let mut call = tokio::spawn(call(client.clone()));
    // Long enough for a queue to say that it is full.
    let early = tokio::time::timeout(millis(300), &mut call).await;
    server.listen().unwrap();
    let ended = match early {
        Ok(ended) => ended,
        Err(_) => bounded(call).await,
    };
    assert!(bounded(first).await.unwrap().is_ok(), "there was room for the first");
    ended.unwrap().map(|reply| reply.result().unwrap())
}

#[tokio::test]
async fn with_all_of_them() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = connect(&server, stack!(client(), queue(), ack(), eager(), health())).await;
    comes_back(&server, &client, &mut inbound).await;
    let ended = call_in_an_outage(&server, &client, &mut inbound).await;
    assert!(
        matches!(ended, Err(CallError::NotSent(DropReason::Overflow))),
        "the bounds of the queue hold: {ended:?}"
    );
}

#[tokio::test]
async fn without_a_queue_calls_wait_in_the_client() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = connect(&server, stack!(client(), ack(), eager(), health())).await;
    comes_back(&server, &client, &mut inbound).await;
    let ended = call_in_an_outage(&server, &client, &mut inbound).await;
    assert_eq!(ended.unwrap(), 7, "nothing but its own time bounds it");
}

/// A call that may be sent again, and whose connection is cut before it is answered.
async fn interrupted(server: &Server, client: &Client, inbound: &mut Inbound) -> Result<u8, CallError> {
    server.play(Script::Flaky {
        answers: 1,
        cut: Cut::Rst,
    });
    // So that the script takes hold.
    server.cut(Cut::Rst);
    down(inbound).await;
    up(inbound).await;
    let safe = |n: u8| client.send(Request::new("echo").params(&n).unwrap().replay(Replay::Safe));
    bounded(safe(1)).await.unwrap();
    bounded(safe(2)).await.map(|reply| reply.result().unwrap())
}

#[tokio::test]
async fn with_ack_a_safe_call_goes_again() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let patient = QueueLayer::new();
    let (client, mut inbound) = connect(&server, stack!(client(), patient, ack(), eager(), health())).await;
    assert_eq!(interrupted(&server, &client, &mut inbound).await.unwrap(), 2);
}

#[tokio::test]
async fn without_ack_a_call_that_was_sent_fails_with_its_connection() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let patient = QueueLayer::new();
    let (client, mut inbound) = connect(&server, stack!(client(), patient, eager(), health())).await;
    comes_back(&server, &client, &mut inbound).await;
    let ended = interrupted(&server, &client, &mut inbound).await;
    assert!(matches!(ended, Err(CallError::Interrupted(Some(_)))), "{ended:?}");
}

#[tokio::test]
async fn without_reconnect_the_first_down_is_the_last() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = connect(&server, stack!(client(), queue(), ack(), health())).await;
    is_usable(&server, &client, &mut inbound).await;
    server.cut(Cut::Rst);
    assert!(!down(&mut inbound).await.will_retry);
    assert!(bounded(inbound.next()).await.is_none());
    let ended = bounded(client.request::<_, u8>("echo", &7)).await;
    assert!(matches!(ended, Err(CallError::Closed(Some(_)))), "{ended:?}");
    assert_eq!(server.dials(), 1);
}

#[tokio::test]
async fn without_health_a_peer_that_freezes_is_not_noticed() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (blind, mut unseen) = connect(&server, stack!(client(), queue(), ack(), eager())).await;
    comes_back(&server, &blind, &mut unseen).await;
    let (_watching, mut inbound) = connect(&server, stack!(client(), queue(), ack(), eager(), health())).await;
    server.freeze();
    assert_eq!(down(&mut inbound).await.cause.kind(), FailureKind::Timeout);
    let seen = poll_immediate(unseen.next()).await;
    assert!(seen.is_none(), "{seen:?}");
    // It was asleep, not dead: the blind one goes on.
    server.thaw();
    assert_eq!(bounded(blind.request::<_, u8>("echo", &7)).await.unwrap(), 7);
}

#[tokio::test]
async fn without_a_client_there_is_a_sink_and_a_stream() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let target = http::Request::get(server.url()).body(()).unwrap();
    let patient = QueueLayer::new();
    let stack = stack!(patient, ack(), eager(), health());
    let mut session = boxed(bounded(stack.oneshot(target)).await.unwrap());
    for epoch in 1..=3 {
        let Some(Event::Up(up)) = bounded(session.next()).await else {
            panic!("it did not come up");
        };
        assert_eq!(up.epoch, epoch);
        up.check_order().unwrap();
        assert_eq!(up.layers, ["transport", "health", "reconnect", "ack", "queue"]);
        let call = json!({ "jsonrpc": "2.0", "id": epoch, "method": "echo", "params": [1] }).to_string();
        bounded(session.send(Message::text(call).into())).await.unwrap();
        let Some(Event::Message(answer)) = bounded(session.next()).await else {
            panic!("it was not answered");
        };
        let text = answer.as_text().unwrap();
        assert!(text.contains(r#""result":[1]"#), "{text}");
        server.cut(Cut::Rst);
        assert!(matches!(bounded(session.next()).await, Some(Event::Down(down)) if down.will_retry));
    }
}

#[tokio::test]
async fn without_a_client_whoever_reads_asks_for_the_order() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let target = http::Request::get(server.url()).body(()).unwrap();
    let stack = stack!(health(), eager());
    let mut session = boxed(bounded(stack.oneshot(target)).await.unwrap());
    let Some(Event::Up(up)) = bounded(session.next()).await else {
        panic!("it did not come up");
    };
    let wrong = up.check_order().unwrap_err();
    assert_eq!((wrong.layer, wrong.other), ("health", "reconnect"));
}

#[tokio::test]
async fn a_stack_in_the_wrong_order_is_not_dialled_again() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let target = http::Request::get(server.url()).body(()).unwrap();
    // The upper one would retry for ever.
    let stack = stack!(client(), ReconnectLayer::new(), eager());
    let error = bounded(stack.oneshot(target)).await.map(drop).unwrap_err();
    assert_eq!(find::<WrongOrder>(&*error).unwrap().layer, "reconnect");
    assert_eq!(server.dials(), 1);
}
