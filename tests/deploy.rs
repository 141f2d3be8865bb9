//! A server that was up is replaced: whatever answers meanwhile, the session waits for the next,
//! and those who waited in vain are told what was answered.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::error::Error;

use support::{SECOND, bounded, builder, millis};
use tower_ws::{
    CallError, Incoming, Request,
    core::{Failure, find},
};
use tower_ws_test_kit::{Script, Server};

#[tokio::test]
async fn what_answers_during_a_deploy_does_not_end_the_session() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = bounded(builder(server.url()).connect()).await.unwrap();
    assert_eq!(client.request::<_, u8>("echo", &7).await.unwrap(), 7);

    // The proxy's own pages, an application that is not there yet, one that is another.
    let location = [("location", "https://login.example/")];
    let answers = [502, 404, 403, 302, 426, 503].map(|status| match status {
        302 => Script::status(302, &location),
        status => Script::status(status, &[]),
    });
    server.play_each(answers.into_iter().chain([Script::json_rpc()]));
    let late = tokio::spawn({
        let client = client.clone();
        async move { client.request::<_, u8>("echo", &8).await }
    });
    server.cut(tower_ws_test_kit::Cut::Rst);
    while !matches!(bounded(inbound.next()).await.unwrap(), Incoming::Up(up) if up.epoch == 2) {}
    assert_eq!(bounded(client.request::<_, u8>("echo", &9)).await.unwrap(), 9);
    // It had been sent, perhaps.
    let late = bounded(late).await.unwrap();
    assert!(matches!(late, Ok(8) | Err(CallError::Interrupted(_))), "{late:?}");
}

#[tokio::test]
async fn a_call_that_waited_in_vain_says_what_the_server_answered() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (client, mut inbound) = bounded(builder(server.url()).connect()).await.unwrap();
    server.play(Script::status(404, &[]));
    server.cut(tower_ws_test_kit::Cut::Fin);
    while !matches!(bounded(inbound.next()).await.unwrap(), Incoming::Down(_)) {}
    tokio::time::sleep(millis(200)).await;

    let call = client.send(Request::new("echo").timeout(millis(500)));
    let error = bounded(call).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { sent: false, .. }), "{error:?}");
    let cause = find::<Failure>(error.source().unwrap()).unwrap();
    assert_eq!(cause.status(), Some(404));
    client.close(SECOND).await;
}
