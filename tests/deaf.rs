//! Peers that talk and answer nothing: their bytes say that they live, their calls that they do
//! not hear.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt;
use tower_ws::{
    CallError, Client, Inbound, Incoming, Request,
    core::{Down, FailureKind},
    transport::{
        Kind, Message,
        memory::{self, Listener, Socket},
    },
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a peer does with what it is asked.
#[derive(Clone, Copy)]
struct Peer {
    /// Answers pings.
    pongs: bool,
    /// Answers one call at a time, which takes so long; meanwhile nothing else.
    works: Option<Duration>,
}

/// Says something every few seconds, and does with each connection what `peer` says.
fn serve(mut listener: Listener<Message>, peer: Peer) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(socket) = listener.accept().await {
            tokio::spawn(talk(socket, peer));
        }
    })
}

async fn talk(socket: Socket<Message>, peer: Peer) {
    let (mut sink, mut stream) = socket.split();
    let (say, mut said) = tokio::sync::mpsc::channel(8);
    let writer = tokio::spawn(async move {
        loop {
            let message = match timeout(secs(3), said.recv()).await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(_) => Message::text(r#"{"jsonrpc":"2.0","method":"news"}"#),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(message)) = stream.next().await {
        let answer = match message.kind() {
            Kind::Ping if peer.pongs => Message::pong(message.into_bytes()),
            Kind::Text => {
                let Some(works) = peer.works else { continue };
                sleep(works).await;
                let call: serde_json::Value = serde_json::from_slice(&message.into_bytes()).unwrap();
                Message::text(serde_json::json!({ "jsonrpc": "2.0", "id": call["id"], "result": 1 }).to_string())
            }
            _ => continue,
        };
        say.send(answer).await.unwrap();
    }
    writer.abort();
}

async fn connect(peer: Peer) -> (Client, Inbound) {
    let (memory, listener) = memory::channel::<Message>(8);
    serve(listener, peer);
    tower_ws::stack(memory).oneshot(()).await.unwrap()
}

/// Calls one after the other; how they ended.
fn calls(client: &Client, limit: Duration, count: usize) -> JoinHandle<Vec<Result<(), CallError>>> {
    let client = client.clone();
    tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            let call = client.clone().oneshot(Request::new("ask").timeout(limit)).await;
            outcomes.push(call.map(drop));
        }
        outcomes
    })
}

/// The next loss within so long, and how long it took.
async fn loss(inbound: &mut Inbound, within: Duration) -> Option<(Down, Duration)> {
    let start = Instant::now();
    let down = timeout(within, async {
        loop {
            match inbound.next().await {
                Some(Incoming::Down(down)) => return down,
                Some(_) => {}
                None => panic!("the session ended"),
            }
        }
    });
    down.await.ok().map(|down| (down, start.elapsed()))
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_neither_calls_nor_probes_is_left() {
    let (client, mut inbound) = connect(Peer {
        pongs: false,
        works: None,
    })
    .await;
    let calls = calls(&client, secs(30), 10);
    let (down, after) = loss(&mut inbound, secs(600)).await.expect("it is left");
    assert!(
        (secs(79)..secs(82)).contains(&after),
        "two calls and a probe: {after:?}"
    );
    assert_eq!(down.cause.kind(), FailureKind::Timeout);
    assert!(
        down.cause.to_string().contains("deaf") && down.will_retry,
        "{}",
        down.cause
    );
    assert!(down.silent >= secs(75), "it is no success: {:?}", down.silent);
    calls.abort();
}

#[tokio::test(start_paused = true)]
async fn one_whose_front_answers_probes_is_not() {
    let (client, mut inbound) = connect(Peer {
        pongs: true,
        works: None,
    })
    .await;
    let calls = calls(&client, secs(10), 20);
    assert!(loss(&mut inbound, secs(200)).await.is_none());
    let outcomes = calls.await.unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(CallError::TimedOut { .. })))
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_at_work_on_a_long_call_is_not() {
    let works = Some(secs(150));
    let (client, mut inbound) = connect(Peer { pongs: false, works }).await;
    let long = calls(&client, secs(200), 1);
    sleep(secs(1)).await;
    let short = calls(&client, secs(10), 3);
    assert!(loss(&mut inbound, secs(149)).await.is_none());
    assert!(short.await.unwrap().iter().all(Result::is_err));
    let outcomes = long.await.unwrap();
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_late_and_answers_after_all_is_not() {
    let works = Some(secs(25));
    let (client, mut inbound) = connect(Peer { pongs: false, works }).await;
    let calls = calls(&client, secs(20), 4);
    assert!(
        loss(&mut inbound, secs(200)).await.is_none(),
        "late answers are answers"
    );
    assert!(calls.await.unwrap().iter().all(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_left_for_one_call() {
    let (client, mut inbound) = connect(Peer {
        pongs: false,
        works: None,
    })
    .await;
    let call = calls(&client, secs(30), 1);
    assert!(loss(&mut inbound, secs(600)).await.is_none());
    assert!(call.await.unwrap()[0].is_err());
}
