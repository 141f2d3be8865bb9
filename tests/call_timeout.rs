//! A call has one time limit, and each layer of the recommended stack keeps to it: none gives up
//! earlier.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::{SECOND, bounded};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_ws::{CallError, Client, Inbound, Incoming, Message, Request, core::Replay, transport::memory};

const LIMIT: Duration = Duration::from_secs(150);

async fn connect() -> (Client, Inbound, memory::Socket<Message>, memory::Listener<Message>) {
    let (memory, mut listener) = memory::channel::<Message>(8);
    let serving = tokio::spawn(async move { (listener.accept().await.unwrap(), listener) });
    let (client, inbound) = bounded(tower_ws::stack(memory).oneshot(())).await.unwrap();
    let (peer, listener) = serving.await.unwrap();
    (client, inbound, peer, listener)
}

async fn until_down(inbound: &mut Inbound) {
    while !matches!(inbound.next().await, Some(Incoming::Down(_))) {}
}

/// Answers the next call with its own id.
async fn answer(peer: &mut memory::Socket<Message>) {
    let text = loop {
        let message = peer.next().await.unwrap().unwrap();
        if let Some(text) = message.as_text() {
            break text.to_owned();
        }
    };
    let id = text.split("\"id\":").nth(1).unwrap();
    let id: String = id.chars().take_while(char::is_ascii_digit).collect();
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{id}}}"#);
    peer.send(Message::text(answer)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_made_in_an_outage_waits_for_as_long_as_it_may() {
    let (client, mut inbound, peer, mut listener) = connect().await;
    drop(peer);
    until_down(&mut inbound).await;
    let call = tokio::spawn(async move { client.send(Request::new("tools/call").timeout(LIMIT)).await });
    sleep(SECOND * 130).await;
    let mut peer = listener.accept().await.unwrap();
    answer(&mut peer).await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_is_kept_through_an_outage_for_as_long_as_it_may() {
    let (client, mut inbound, mut peer, mut listener) = connect().await;
    let request = Request::new("tools/list").replay(Replay::Safe).timeout(LIMIT);
    let call = tokio::spawn(async move { client.send(request).await });
    while !matches!(peer.next().await, Some(Ok(message)) if message.as_text().is_some()) {}
    drop(peer);
    until_down(&mut inbound).await;
    sleep(SECOND * 130).await;
    let mut peer = listener.accept().await.unwrap();
    answer(&mut peer).await;
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn it_ends_as_timed_out_whoever_holds_it() {
    let (client, mut inbound, mut peer, _listener) = connect().await;
    let caller = client.clone();
    let request = Request::new("tools/list").replay(Replay::Safe).timeout(LIMIT);
    let sent = tokio::spawn(async move { caller.send(request).await });
    while !matches!(peer.next().await, Some(Ok(message)) if message.as_text().is_some()) {}
    drop(peer);
    until_down(&mut inbound).await;
    let start = Instant::now();
    let unsent = client.send(Request::new("tools/list").timeout(LIMIT)).await;
    assert!(
        matches!(
            unsent,
            Err(CallError::TimedOut {
                limit: LIMIT,
                sent: false,
                cause: Some(_),
            })
        ),
        "{unsent:?}"
    );
    assert_eq!(start.elapsed(), LIMIT);
    let sent = sent.await.unwrap();
    assert!(
        matches!(
            sent,
            Err(CallError::TimedOut {
                limit: LIMIT,
                sent: true,
                cause: Some(_),
            })
        ),
        "{sent:?}"
    );
}
