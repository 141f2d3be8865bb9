//! What can be changed in the recommended stack of the facade.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt;
use serde_json::{Value, json};
use support::{SECOND, bounded, builder, eager};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    Incoming, Message,
    auth::{AuthLayer, Credential, Credentials},
    client::ClientLayer,
    connector::{connector, tcp_connector},
    core::{Disposition, DispositionTable, FailureKind, WrongOrder, find},
    mcp::{self, Answers, Era, Implementation},
    reconnect::{EndpointIndex, ReconnectLayer},
    transport::{JsonText, TransportLayer, memory},
};
use tower_ws_test_kit::{Cut, Script, Server};

#[tokio::test]
async fn another_endpoint_takes_over() {
    let [first, second] = [Script::json_rpc(), Script::json_rpc()].map(Server::start);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let builder = builder(first.url()).fallback(second.url()).header("x-tenant", "blue");
    let (client, mut inbound) = bounded(builder.connect()).await.unwrap();
    assert_eq!(bounded(client.request::<_, u8>("echo", &1)).await.unwrap(), 1);
    first.refuse();
    first.cut(Cut::Rst);
    bounded(second.wait_live(1)).await;
    assert_eq!(bounded(client.request::<_, u8>("echo", &2)).await.unwrap(), 2);
    assert_eq!(second.requests()[0].headers["x-tenant"], "blue");
    let mut endpoints = Vec::new();
    while endpoints.len() < 2 {
        if let Some(Incoming::Up(up)) = bounded(inbound.next()).await {
            endpoints.push(*up.extensions.get::<EndpointIndex>().unwrap());
        }
    }
    assert_eq!(endpoints, [EndpointIndex(0), EndpointIndex(1)]);
}

#[tokio::test]
async fn a_fallback_that_is_no_address_is_told_at_once() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let ended = bounded(builder(server.url()).fallback("no address").connect()).await;
    assert_eq!(ended.map(drop).unwrap_err().failure().kind(), FailureKind::Usage);
    assert_eq!(server.dials(), 0);
}

#[tokio::test]
async fn why_there_is_no_session_is_in_the_first_line() {
    let server = Server::start(Script::status(404, &[])).await.unwrap();
    let error = bounded(builder(server.url()).connect()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[test]
fn without_a_runtime_it_says_so() {
    let connected = tower_ws::connect("ws://127.0.0.1:1/").now_or_never();
    let error = connected.expect("an answer at once").map(drop).unwrap_err();
    assert_eq!(error.failure().kind(), FailureKind::Usage);
    assert!(error.to_string().contains("#[tokio::main]"), "{error}");
}

/// Credentials, and how often one was fetched.
fn counted_credentials() -> (Credentials, Arc<AtomicUsize>) {
    let fetched = Arc::<AtomicUsize>::default();
    let count = fetched.clone();
    let credentials = Credentials::new(move || {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Credential::new(format!("token-{nth}"))))
    });
    (credentials, fetched)
}

#[tokio::test]
async fn one_table_reaches_all_who_judge() {
    // By the documented table a close with 4490 is final; by this one it means that the token is
    // old.
    let table = DispositionTable::default().on_close(4490..=4490, Disposition::RefreshCredentials);
    let server = Server::start(Script::close(4490, "expired")).await.unwrap();
    let (credentials, fetched) = counted_credentials();
    let builder = builder(server.url())
        .fallback(server.url())
        .auth(AuthLayer::bearer(credentials))
        .dispositions(table);
    let (_client, mut inbound) = bounded(builder.connect()).await.unwrap();
    while fetched.load(Ordering::Relaxed) < 2 {
        bounded(inbound.next()).await.expect("the session goes on");
    }
}

#[tokio::test]
async fn the_table_of_mcp_reaches_auth() {
    // By the documented table 1008 is final, and a token that is refused by it would be kept.
    let server = Server::start(Script::close(1008, "token expired")).await.unwrap();
    let (credentials, fetched) = counted_credentials();
    let builder = mcp::builder(server.url(), Implementation::new("test", "1")).bearer(credentials);
    let connecting = tokio::spawn(builder.connect());
    bounded(server.wait_dials(2)).await;
    connecting.abort();
    assert_eq!(
        fetched.load(Ordering::Relaxed),
        2,
        "the second dial shows another token"
    );
}

#[tokio::test]
async fn another_connector_dials() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let dials = Arc::<AtomicUsize>::default();
    let count = dials.clone();
    let connector = tcp_connector().map_request(move |uri| {
        count.fetch_add(1, Ordering::Relaxed);
        uri
    });
    let (client, _inbound) = bounded(builder(server.url()).connector(connector).connect())
        .await
        .unwrap();
    assert_eq!(bounded(client.request::<_, u8>("echo", &1)).await.unwrap(), 1);
    assert_eq!(dials.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_layer_that_belongs_elsewhere_is_named() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let ended = bounded(builder(server.url()).layer(eager()).connect()).await;
    let error = ended.map(drop).unwrap_err();
    assert_eq!(find::<WrongOrder>(&error).unwrap().layer, "reconnect");
    assert_eq!(error.failure().kind(), FailureKind::Usage);
    assert_eq!(server.dials(), 1);
}

#[tokio::test]
async fn the_stack_over_a_transport_of_ones_own() {
    let (memory, mut listener) = memory::channel::<Message>(8);
    let serving = tokio::spawn(async move { listener.accept().await });
    let (_client, mut inbound) = bounded(tower_ws::stack(memory).oneshot(())).await.unwrap();
    let Some(Incoming::Up(up)) = bounded(inbound.next()).await else {
        panic!("it did not come up");
    };
    assert_eq!(
        up.layers,
        [
            "health",
            "connection-metrics",
            "reconnect",
            "ack",
            "queue",
            "session-metrics"
        ]
    );
    assert!(serving.await.unwrap().is_some());
}

#[tokio::test]
async fn a_stack_of_ones_own_by_an_address() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let stack = || {
        ServiceBuilder::new()
            .layer(ClientLayer::new(JsonText))
            .layer(TransportLayer::new())
            .service(connector())
    };
    let (client, _inbound) = bounded(tower_ws::connect_by(stack(), server.url())).await.unwrap();
    let echoed: u64 = bounded(client.request("echo", &7)).await.unwrap();
    assert_eq!(echoed, 7);
    let error = bounded(tower_ws::connect_by(stack(), "https://example.com"))
        .await
        .map(drop);
    assert_eq!(error.unwrap_err().failure().kind(), FailureKind::Usage);
}

/// What the server is told of this side is what was set, whichever way it is asked.
#[tokio::test]
async fn an_mcp_server_is_told_what_this_side_can_do() {
    let server = Server::start(Script::Silent).await.unwrap();
    let client = Implementation::new("host", "1");
    let answers = Answers::new().sampling(|_| async { Ok(json!({})) });
    let connecting = mcp::builder(server.url(), client)
        .answers(answers)
        .only(Era::Legacy)
        .prefer("2025-03-26")
        .opening_timeout(SECOND)
        .stack(|stack| stack.reconnect(ReconnectLayer::new().fail_fast()))
        .connect();
    let error = bounded(connecting).await.map(drop).unwrap_err();
    assert_eq!(error.failure().kind(), FailureKind::Timeout, "{error}");
    let said: Value = serde_json::from_str(server.received()[0].message.as_text().unwrap()).unwrap();
    let params = &said["params"];
    assert_eq!(
        (&said["method"], &params["protocolVersion"]),
        (&json!("initialize"), &json!("2025-03-26"))
    );
    assert_eq!(params["clientInfo"]["name"], "host");
    assert!(params["capabilities"].get("sampling").is_some(), "{said}");
}
