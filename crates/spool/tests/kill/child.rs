//! The process that is killed. It says what it has done, a line at a time.

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_ack::{AckLayer, Bare, JsonRpc, Sequence, Strategy};
use tower_ws_client::{ClientLayer, Incoming, Request};
use tower_ws_connector::tcp_connector;
use tower_ws_core::{DropReason, Event, Failure, Outgoing, Replay, boxed, jsonrpc::Ids};
use tower_ws_queue::QueueLayer;
use tower_ws_reconnect::{Decision, History, ReconnectLayer};
use tower_ws_spool::{Handle, Spool};
use tower_ws_transport::{JsonText, Message, TransportLayer};

use crate::steps::{self, Stepped, step};

/// How many messages the last child sends, and how long it may take to see everything settled.
const LAST: u32 = 40;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn main(arguments: &[String]) {
    let [traffic, file, port, seed, last, step] = arguments else {
        panic!("six arguments: {arguments:?}")
    };
    let (file, last) = (Path::new(file), last == "true");
    steps::end_at(step.parse().unwrap());
    let target = http::Request::get(format!("ws://127.0.0.1:{port}/")).body(()).unwrap();
    let rng = fastrand::Rng::with_seed(seed.parse().unwrap());
    let sent = |message: &Message| message.as_text()?.parse::<u64>().ok();
    let came = |message: &Message| message.as_text()?.strip_prefix("ack ")?.parse::<u64>().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match traffic.as_str() {
            "Safe" => {
                let strategy = Bare::new(sent, came).all_safe();
                numbers(file, target, strategy, Replay::Unknown, rng, last).await;
            }
            "Cumulative" => numbers(file, target, Sequence::new(sent, came), Replay::Safe, rng, last).await,
            "Unsafe" => numbers(file, target, Bare::new(sent, came), Replay::Unsafe, rng, last).await,
            _ => calls(file, target, rng, last).await,
        }
    });
}

fn say(what: std::fmt::Arguments<'_>) {
    step();
    // One write for each line: a line is said, or it is not.
    let line = format!("{what}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

macro_rules! stack {
    ($spool:expr, $strategy:expr) => {
        ServiceBuilder::new()
            .layer(QueueLayer::new().store($spool.clone()))
            .layer(AckLayer::new($strategy))
            .layer(
                ReconnectLayer::new()
                    .min_spacing(Duration::from_millis(10))
                    .policy(|_: &Failure, _: &History| Decision::RetryAfter(Duration::from_millis(10))),
            )
            .layer(TransportLayer::new())
            .service(tcp_connector())
    };
}

/// Messages whose numbers go on from process to process.
async fn numbers<S>(
    file: &Path,
    target: http::Request<()>,
    strategy: S,
    replay: Replay,
    mut rng: fastrand::Rng,
    last: bool,
) where
    S: Strategy<Message, Key: Send> + Clone + Send + Sync + 'static,
{
    let strategy = Stepped(strategy);
    let spool = Spool::open(file, strategy.clone()).unwrap();
    let session = stack!(spool, strategy).oneshot(target).await.unwrap();
    let (mut sink, mut stream) = boxed(session).split();
    let Some(Event::Up(up)) = stream.next().await else {
        panic!("Up is first")
    };
    let ids = up.extensions.get::<Ids>().cloned().unwrap();
    let (tell, ready) = tokio::sync::oneshot::channel();
    let reader = tokio::spawn(async move {
        let mut tell = Some(tell);
        loop {
            // What an earlier process left to be told comes right after `Up`; the rest is awaited.
            let event = match tell {
                Some(_) => futures_util::FutureExt::now_or_never(stream.next()),
                None => Some(stream.next().await),
            };
            match event {
                Some(Some(Event::Dropped(item, reason))) => {
                    let n = item.message.as_text().unwrap_or_default();
                    match reason {
                        DropReason::Interrupted(_) => say(format_args!("interrupted {n}")),
                        // Kept: the next process sends it.
                        DropReason::Closed if item.record.is_some() => {}
                        reason => say(format_args!("dropped {n} {reason:?}")),
                    }
                }
                Some(Some(Event::Down(down))) if down.will_retry => say(format_args!("down")),
                Some(Some(_)) => {}
                Some(None) => return,
                None => {
                    say(format_args!("up"));
                    let _ = tell.take().map(|tell| tell.send(()));
                }
            }
        }
    });
    ready.await.unwrap();
    let mut batch = Vec::new();
    for round in 0.. {
        let n = ids.next_id();
        sink.feed(Outgoing::new(Message::text(n.to_string())).replay(replay))
            .await
            .unwrap();
        batch.push(n);
        if rng.u8(0..4) == 0 {
            sink.flush().await.unwrap();
            batch.drain(..).for_each(|n| say(format_args!("accepted {n}")));
        }
        if rng.u8(0..8) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..5))).await;
        }
        if last && round > LAST {
            break;
        }
    }
    sink.flush().await.unwrap();
    settle(&spool.handle()).await;
    sink.close().await.unwrap();
    reader.await.unwrap();
    spool.close().await;
}

/// Calls of a client, many at a time.
async fn calls(file: &Path, target: http::Request<()>, mut rng: fastrand::Rng, last: bool) {
    let strategy = Stepped(JsonRpc::new(JsonText).safe_methods(["*"]));
    let spool = Spool::open(file, strategy.clone()).unwrap();
    let service = ServiceBuilder::new()
        .layer(ClientLayer::new(JsonText))
        .service(stack!(spool, strategy));
    let (client, mut inbound) = service.oneshot(target).await.unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let (ending, wants_no_up) = (ends.clone(), last);
    tokio::spawn(async move {
        while let Some(item) = inbound.next().await {
            match item {
                Incoming::Up(_) => say(format_args!("up")),
                Incoming::Down(_) => say(format_args!("down")),
                other if ending.load(Ordering::Relaxed) && wants_no_up => drop(other),
                other => say(format_args!("came {other:?}")),
            }
        }
    });
    // Numbers that rise across processes, as acceptance does: calls go out in the order of `call`.
    let base = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros() as u64;
    let mut calls = tokio::task::JoinSet::new();
    for round in 0.. {
        let n = base + round;
        let request = Request::new("note").params(&[n]).unwrap();
        let mut ready = client.clone();
        let call = tower::Service::call(ready.ready().await.unwrap(), request);
        calls.spawn(async move {
            let answer: u64 = call.await.unwrap().result().unwrap();
            assert_eq!(answer, n, "the answer to another question");
            // Nothing says more than an answer.
            say(format_args!("accepted {n}"));
        });
        if rng.u8(0..6) == 0 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..8))).await;
        }
        if last && round > u64::from(LAST) {
            break;
        }
        if calls.len() > 100 {
            calls.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    settle(&spool.handle()).await;
    ends.store(true, Ordering::Relaxed);
    client.close(Duration::ZERO).await;
    spool.close().await;
}

/// Waits until nothing is left, and says how much that is.
async fn settle(spool: &Handle) {
    let settled = async {
        while spool.snapshot().messages > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, settled).await;
    say(format_args!("left {}", spool.snapshot().messages));
}
