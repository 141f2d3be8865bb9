//! What fits where: auto traits, and stock layers of tower and tower-http in every place that is
//! meant for them.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::future::Ready;

use futures_util::future;
use http::{HeaderValue, header::USER_AGENT};
use serde_json::{Value, json};
use support::{SECOND, bounded, eager, impatient, millis};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, load_shed::error::Overloaded, retry::Policy, timeout::error::Elapsed,
};
use tower_http::{auth::AddAuthorizationLayer, set_header::SetRequestHeaderLayer};
use tower_ws::{
    CallError, Client, ConnectError, Inbound, Incoming, Reply, Request,
    client::{CallFuture, ClientLayer, Driver, Leftovers, MakeClient, MakeFuture, Notification, ServerRequest},
    connector::{Connector, connector},
    core::{BoxConnection, Connection, DropReason, Failure, OpeningLayer, Ticket, Up, find, jsonrpc::Ids},
    reconnect::{Handle, Reconnect, ReconnectConnection, ReconnectFuture, ReconnectLayer, State},
    transport::{JsonText, LiftLayer, Message, Transport, TransportLayer, UpgradeLayer, lines, memory},
};
use tower_ws_test_kit::{Cut, Script, Server};

type Target = http::Request<()>;
type Dial = Transport<Connector>;

fn send<T: Send>() {}
fn sync<T: Send + Sync>() {}
fn send_value<T: Send>(value: T) -> T {
    value
}

/// A service that can be shared, whose futures and connections can move to another task.
fn service_of_connections<S, T>()
where
    S: Service<T, Response: Connection + Send + 'static, Future: Send + 'static> + Clone + Send + Sync + 'static,
{
}

#[test]
fn auto_traits() {
    service_of_connections::<Dial, Target>();
    service_of_connections::<Reconnect<Dial>, Target>();
    service_of_connections::<Reconnect<memory::Memory<String>>, ()>();
    service_of_connections::<memory::Memory<Message>, ()>();
    send::<ReconnectConnection<Dial, Target>>();
    send::<ReconnectFuture<Dial, Target>>();
    send::<BoxConnection<Message>>();
    send::<lines::LinesConnection<tokio::io::DuplexStream>>();
    send::<Driver<BoxConnection<Message>, JsonText>>();

    sync::<MakeClient<Reconnect<Dial>, JsonText>>();
    send::<MakeFuture>();
    sync::<Client>();
    sync::<CallFuture>();
    sync::<Inbound>();
    sync::<Incoming>();
    sync::<(Request, Reply, Notification, ServerRequest, Leftovers)>();
    sync::<(CallError, ConnectError, Failure, DropReason)>();
    sync::<(Handle, State, Ticket, Ids, Up)>();
    sync::<(
        ClientLayer<JsonText>,
        ReconnectLayer,
        TransportLayer,
        LiftLayer,
        UpgradeLayer,
    )>();
    sync::<OpeningLayer<fn()>>();
    send::<tower_ws::Builder>();
    drop(send_value(tower_ws::connect("ws://127.0.0.1:1")));
    drop(send_value(
        tower_ws::builder("ws://127.0.0.1:1").layer(SpelledOut).connect(),
    ));
}

#[tokio::test]
async fn futures_of_a_client_can_move() {
    let (memory, _listener) = memory::channel::<String>(1);
    let (connecting, client) = (ClientLayer::new(JsonText).layer(memory).oneshot(()), None::<Client>);
    drop(send_value(connecting));
    if let Some(client) = client {
        drop(send_value(client.request::<_, Value>("m", &())));
        drop(send_value(client.send(Request::new("m"))));
        drop(send_value(client.notify(Request::new("m"))));
        drop(send_value(client.close(SECOND)));
    }
}

/// A layer that does nothing, for a place in the builder.
#[derive(Clone, Copy)]
struct SpelledOut;

impl<S> Layer<S> for SpelledOut {
    type Service = S;
    fn layer(&self, inner: S) -> S {
        inner
    }
}

#[tokio::test]
async fn spelled_out_with_stock_layers_on_both_planes() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(eager())
        // On the plane of connections: of each dial, and of the dials in progress.
        .timeout(2 * SECOND)
        .concurrency_limit(1)
        .layer(LiftLayer::new())
        // tower-http's own, on the request of the handshake.
        .layer(AddAuthorizationLayer::bearer("sesame"))
        .layer(SetRequestHeaderLayer::overriding(
            USER_AGENT,
            HeaderValue::from_static("shapes"),
        ))
        .layer(UpgradeLayer::new().timeout(SECOND))
        .service(connector());
    let target = http::Request::get(server.url()).body(()).unwrap();
    let (client, mut inbound) = bounded(stack.oneshot(target)).await.unwrap();
    for epoch in 1..4 {
        loop {
            if let Some(Incoming::Up(up)) = bounded(inbound.next()).await {
                assert_eq!((up.epoch, &*up.layers), (epoch, &["transport", "reconnect"][..]));
                break;
            }
        }
        let n: u64 = bounded(client.request("call", &epoch)).await.unwrap();
        assert_eq!(n, epoch);
        let asked = &server.requests()[epoch as usize - 1];
        assert_eq!(
            (&asked.headers["authorization"], &asked.headers["user-agent"]),
            (&"Bearer sesame".parse().unwrap(), &"shapes".parse().unwrap())
        );
        server.cut(Cut::Rst);
    }
}

#[tokio::test]
async fn a_dial_that_a_stock_timeout_ends_is_tried_again() {
    let server = Server::start(Script::NeverReply).await.unwrap();
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(eager())
        .timeout(millis(200))
        .concurrency_limit(1)
        .layer(impatient())
        .service(connector());
    let target = http::Request::get(server.url()).body(()).unwrap();
    let (connected, ()) = tokio::join!(bounded(stack.oneshot(target)), async {
        bounded(server.wait_requests(2)).await;
        server.play(Script::json_rpc());
    });
    let (client, _inbound) = connected.unwrap();
    assert_eq!(bounded(client.request::<_, u8>("call", &7)).await.unwrap(), 7);
}

#[tokio::test]
async fn the_builder_with_a_layer_below_reconnect() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let builder = support::builder(server.url());
    let limit = tower::limit::ConcurrencyLimitLayer::new(1);
    let timeout = tower::timeout::TimeoutLayer::new(SECOND);
    let (client, _inbound) = bounded(builder.layer(timeout).layer(limit).connect()).await.unwrap();
    for dial in 1..4 {
        assert_eq!(bounded(client.request::<_, usize>("call", &dial)).await.unwrap(), dial);
        server.cut(Cut::Fin);
        bounded(server.wait_dials(dial + 1)).await;
    }
}

#[tokio::test]
async fn stock_limits_and_timeouts_on_calls() {
    let server = Server::start(Script::JsonRpc { delay: millis(300) }).await.unwrap();
    let (client, _inbound) = bounded(support::builder(server.url()).connect()).await.unwrap();
    let calls = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(2)
        .timeout(10 * SECOND)
        .map_request(|n: u64| Request::new("call").params(&n).unwrap())
        .service(client.clone());
    let four = future::join_all((0..4).map(|n| calls.clone().oneshot(n)));
    let ended = bounded(four).await;
    let shed = ended
        .iter()
        .filter(|ended| matches!(ended, Err(error) if error.is::<Overloaded>()))
        .count();
    assert_eq!(
        (shed, ended.iter().filter(|ended| ended.is_ok()).count()),
        (2, 2),
        "{ended:?}"
    );

    // Dropped by the timeout, a call's future takes back its room.
    let mut hasty = ServiceBuilder::new().timeout(millis(20)).service(client.clone());
    for _ in 0..3 {
        let error = bounded(hasty.ready().await.unwrap().call(Request::new("call")))
            .await
            .unwrap_err();
        assert!(find::<Elapsed>(&*error).is_some(), "{error:?}");
    }
    assert_eq!(bounded(client.request::<_, u8>("call", &7)).await.unwrap(), 7);
}

#[tokio::test]
async fn the_client_is_not_ready_while_it_is_full() {
    let server = Server::start(Script::JsonRpc { delay: 60 * SECOND }).await.unwrap();
    let full = ClientLayer::new(JsonText).max_calls(1);
    let (client, _inbound) = bounded(support::builder(server.url()).client(full).connect())
        .await
        .unwrap();
    let mut one = client.clone();
    let call = one.ready().await.unwrap().call(Request::new("call"));
    let shed = ServiceBuilder::new().load_shed().service(client.clone());
    assert!(
        bounded(shed.clone().oneshot(Request::new("call")))
            .await
            .unwrap_err()
            .is::<Overloaded>()
    );
    drop(call);
    let mut again = client;
    bounded(again.ready()).await.unwrap();
}

/// Tries again what the server cannot have seen.
#[derive(Clone)]
struct WhenUnseen(usize);

impl Policy<Request, Reply, CallError> for WhenUnseen {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request, result: &mut Result<Reply, CallError>) -> Option<Ready<()>> {
        let again = matches!(result, Err(error) if !error.may_have_been_seen()) && self.0 > 0;
        again.then(|| {
            self.0 -= 1;
            std::future::ready(())
        })
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn stock_retries_on_calls() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = bounded(support::builder(server.url()).connect()).await.unwrap();
    let retry = ServiceBuilder::new().retry(WhenUnseen(50)).service(client);
    server.refuse();
    server.cut(Cut::Rst);
    while !matches!(bounded(inbound.next()).await, Some(Incoming::Down(_))) {}
    // Each attempt ends unsent, until the server is back.
    let request = Request::new("call").params(&json!(7)).unwrap().timeout(millis(400));
    let (answer, ()) = tokio::join!(bounded(retry.oneshot(request)), async {
        // In the middle of an attempt: one whose time is up just when it was sent would not be
        // retried.
        tokio::time::sleep(SECOND).await;
        server.listen().unwrap();
    });
    assert_eq!(answer.unwrap().result::<u8>().unwrap(), 7);
    assert_eq!(server.received().len(), 1);
}
