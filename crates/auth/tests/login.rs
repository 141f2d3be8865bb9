//! Credentials in band, over memory: nothing goes before they are taken.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{counted, within};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_ack::{AckLayer, JsonRpc};
use tower_ws_auth::{Credentials, IssuedCredential, LoginLayer};
use tower_ws_client::ClientLayer;
use tower_ws_core::{Failure, FailureKind, OpeningContext, Replay, find};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::{
    JsonText,
    memory::{self, Listener, Socket},
};

async fn login(mut talk: OpeningContext<String>, shown: IssuedCredential) -> Result<OpeningContext<String>, Failure> {
    talk.send(format!("login {}", shown.secret())).await?;
    match talk.recv().await?.as_str() {
        "welcome" => Ok(talk),
        _ => Err(Failure::new(
            FailureKind::Auth,
            "the server did not take the credential",
        )),
    }
}

async fn heard(socket: &mut Socket<String>) -> String {
    within(socket.next()).await.expect("the client is there").unwrap()
}

async fn accept(listener: &mut Listener<String>) -> Socket<String> {
    within(listener.accept()).await.expect("the client dials")
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_what_goes_again_waits_for_the_login() {
    let (transport, mut listener) = memory::channel::<String>(16);
    let (credentials, fetches) = counted();
    let stack = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .layer(QueueLayer::new())
        .layer(AckLayer::new(JsonRpc::new(JsonText)))
        .layer(ReconnectLayer::new())
        .layer(LoginLayer::new(credentials, login))
        .service(transport);
    let connecting = tokio::spawn(stack.oneshot(()));
    let mut socket = accept(&mut listener).await;
    assert_eq!(heard(&mut socket).await, "login token-1");
    socket.send("welcome".to_owned()).await.unwrap();
    let (client, _inbound) = within(connecting).await.unwrap().unwrap();

    let request = tower_ws_client::Request::new("read").replay(Replay::Safe);
    let again = tokio::spawn({
        let client = client.clone();
        async move { client.send(request).await }
    });
    assert!(heard(&mut socket).await.contains("read"));
    drop(socket);
    let waits = tokio::spawn(async move { client.request::<_, Value>("write", &json!({})).await });

    // Refused first: nothing but the login is said, and the next shows another credential.
    let mut socket = accept(&mut listener).await;
    assert_eq!(heard(&mut socket).await, "login token-1");
    socket.send("go away".to_owned()).await.unwrap();
    assert!(within(socket.next()).await.is_none());
    let mut socket = accept(&mut listener).await;
    assert_eq!(heard(&mut socket).await, "login token-2");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    socket.send("welcome".to_owned()).await.unwrap();
    for method in ["read", "write"] {
        let said: Value = serde_json::from_str(&heard(&mut socket).await).unwrap();
        assert_eq!(said["method"], method);
        let answer = json!({ "jsonrpc": "2.0", "id": said["id"], "result": null });
        socket.send(answer.to_string()).await.unwrap();
    }
    within(again).await.unwrap().unwrap();
    within(waits).await.unwrap().unwrap();
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn refused_twice_is_final() {
    let (transport, mut listener) = memory::channel::<String>(16);
    let stack = ServiceBuilder::new()
        .layer(ReconnectLayer::new())
        .layer(LoginLayer::new(Credentials::fixed("s"), login))
        .service(transport);
    let connecting = tokio::spawn(async move { stack.oneshot(()).await.map(drop) });
    for _ in 0..2 {
        let mut socket = accept(&mut listener).await;
        heard(&mut socket).await;
        socket.send("no".to_owned()).await.unwrap();
    }
    let error = within(connecting).await.unwrap().unwrap_err();
    assert_eq!(find::<Failure>(&error).unwrap().kind(), FailureKind::Auth);
}
