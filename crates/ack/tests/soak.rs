//! Client, ack, reconnect and a server that keeps dying: every call ends, truthfully, and no safe
//! one is lost.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json, value::to_raw_value};
use tokio::time::{sleep, timeout};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_ack::{AckLayer, JsonRpc, Snapshot};
use tower_ws_client::{CallError, ClientLayer, Request};
use tower_ws_core::Replay;
use tower_ws_reconnect::ReconnectLayer;
use tower_ws_transport::{JsonText, memory};

const HOUR: Duration = Duration::from_secs(3600);
const CALLS: u64 = 40;

/// The numbers of the calls that reached the server, for each connection.
type Ledger = Arc<Mutex<Vec<Vec<u64>>>>;

#[derive(Debug)]
struct Outcome {
    safe: bool,
    /// `None`: the caller gave up.
    answer: Option<Result<u64, CallError>>,
}

#[tokio::test(start_paused = true)]
async fn no_safe_call_is_lost_and_nothing_unsafe_is_seen_twice() {
    let mut resent = 0;
    for seed in 0..400 {
        let run = timeout(HOUR, run(seed)).await;
        let (outcomes, ledger, stats) = run.unwrap_or_else(|_| panic!("seed {seed}: something hangs"));
        audit(seed, &outcomes, &ledger, stats);
        resent += stats.resent;
    }
    assert!(resent > 1000, "the seeds do not do much: {resent}");
}

async fn run(seed: u64) -> (BTreeMap<u64, Outcome>, Vec<Vec<u64>>, Snapshot) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (transport, listener) = memory::channel::<String>(rng.usize(1..5));
    let ledger = Ledger::default();
    let server = tokio::spawn(serve(listener, ledger.clone(), rng.fork()));

    let mut strategy = JsonRpc::new(JsonText);
    if rng.bool() {
        strategy = strategy.fresh_ids();
    }
    let (ack, handle) = AckLayer::pair(strategy);
    let mut client = ClientLayer::new(JsonText).timeout(HOUR);
    if rng.bool() {
        client = client.on_cancel(|id| {
            let params = to_raw_value(&json!({ "requestId": id })).expect("plain JSON");
            Request::new("notifications/cancelled").raw_params(&params)
        });
    }
    // Windows smaller than what waits, too: then acknowledgements must make room.
    let ack = ack.window(rng.usize(1..CALLS as usize), usize::MAX).timeout(HOUR);
    let stack = ServiceBuilder::new()
        .layer(client)
        .layer(ack)
        .layer(ReconnectLayer::new().seed(seed));
    let (client, _inbound) = stack.service(transport).oneshot(()).await.unwrap();

    let gives_up = rng.u8(0..3) == 0;
    let mut calls = Vec::new();
    for n in 0..CALLS {
        let (client, safe) = (client.clone(), rng.bool());
        let patience = match gives_up && rng.u8(0..4) == 0 {
            true => Duration::from_millis(rng.u64(0..3000)),
            false => HOUR,
        };
        let declared = rng.bool();
        calls.push(tokio::spawn(async move {
            let request = match (safe, declared) {
                (true, true) => Request::new("write").replay(Replay::Safe),
                (true, false) => Request::new("resources/read"),
                (false, true) => Request::new("resources/read").replay(Replay::Unsafe),
                (false, false) => Request::new("write"),
            };
            let call = client.send(request.params(&[n]).unwrap());
            let answer = timeout(patience, call).await.ok();
            let answer = answer.map(|answer| answer.and_then(|reply| reply.result()));
            (n, Outcome { safe, answer })
        }));
        if rng.bool() {
            sleep(Duration::from_millis(rng.u64(0..200))).await;
        }
    }
    let mut outcomes = BTreeMap::new();
    for call in calls {
        outcomes.extend([call.await.unwrap()]);
    }
    let stats = handle.snapshot();
    if !gives_up {
        assert_eq!((stats.in_flight, stats.bytes), (0, 0), "seed {seed}: {stats:?}");
    }
    client.close(Duration::from_secs(1)).await;
    assert_eq!(handle.snapshot().in_flight, 0, "seed {seed}");
    server.abort();
    let ledger = ledger.lock().unwrap().clone();
    (outcomes, ledger, stats)
}

/// Answers late and in any order, refuses dials, and dies some thirty times.
async fn serve(mut listener: memory::Listener<String>, ledger: Ledger, mut rng: fastrand::Rng) {
    let mut lives = 30;
    loop {
        if lives > 0 && rng.u8(0..4) == 0 {
            listener.refuse().await;
        }
        let Some(mut socket) = listener.accept().await else {
            return;
        };
        ledger.lock().unwrap().push(Vec::new());
        let mut unanswered: Vec<(Value, u64)> = Vec::new();
        loop {
            if lives > 0 && rng.u8(0..12) == 0 {
                lives -= 1;
                break;
            }
            let pause = Duration::from_millis(rng.u64(1..100));
            if rng.bool() {
                sleep(pause).await;
            }
            match timeout(pause, socket.next()).await {
                Ok(Some(Ok(text))) => {
                    let said: Value = serde_json::from_str(&text).unwrap();
                    if let (id @ Value::Number(_), Some(n)) = (&said["id"], said["params"][0].as_u64()) {
                        ledger.lock().unwrap().last_mut().unwrap().push(n);
                        unanswered.push((id.clone(), n));
                    }
                }
                Ok(_) => break,
                Err(_) => {}
            }
            while !unanswered.is_empty() && rng.u8(0..3) > 0 {
                let (id, n) = unanswered.swap_remove(rng.usize(0..unanswered.len()));
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": n });
                let times = if rng.u8(0..20) == 0 { 2 } else { 1 };
                for _ in 0..times {
                    let _ = socket.send(answer.to_string()).await;
                }
            }
        }
    }
}

fn audit(seed: u64, outcomes: &BTreeMap<u64, Outcome>, ledger: &[Vec<u64>], stats: Snapshot) {
    assert_eq!(outcomes.len() as u64, CALLS, "seed {seed}: every call ends");
    let mut answered = 0;
    for (n, Outcome { safe, answer }) in outcomes {
        let seen = ledger.iter().flatten().filter(|seen| *seen == n).count();
        assert!(*safe || seen <= 1, "seed {seed}: unsafe call {n} was seen {seen} times");
        match answer {
            Some(Ok(answer)) => {
                assert_eq!(answer, n, "seed {seed}: an answer went astray");
                assert!(seen > 0, "seed {seed}: call {n} was answered unseen");
                answered += 1;
            }
            Some(Err(CallError::Interrupted(_))) if !*safe => {}
            Some(Err(error)) => panic!("seed {seed}: call {n} (safe: {safe}) failed: {error}"),
            None => {}
        }
    }
    assert!(stats.acked >= answered, "seed {seed}: {stats:?}");
    for epoch in ledger {
        assert!(epoch.is_sorted_by(|a, b| a < b), "seed {seed}: out of order: {epoch:?}");
    }
}
