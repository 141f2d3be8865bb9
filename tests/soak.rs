//! A day of bad weather in seconds: at its end the ledgers add up, and nothing has grown.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use support::{
    SECOND, millis,
    peer::{Book, Door, Moods, serve},
    tasks, within,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Request,
    client::{ClientLayer, Lag},
    reconnect::{Handle, ReconnectLayer, State},
    transport::{JsonText, memory},
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOM: usize = 64;

/// How the calls of one caller ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    calls: u64,
    answered: u64,
    interrupted: u64,
    late: u64,
    unsent: u64,
    cancelled: u64,
    /// Of those the server must have seen none.
    notifications: u64,
}

async fn caller(client: Client, book: Book, mut rng: Rng, until: Instant) -> Ends {
    let mut ends = Ends::default();
    while Instant::now() < until {
        let n = book.number();
        let request = Request::new("call")
            .params(&json!({ "n": n }))
            .unwrap()
            .timeout(millis(rng.u64(100..60_000)));
        if rng.u8(..10) == 0 {
            client.notify(request).await.unwrap();
            ends.notifications += 1;
        } else {
            ends.calls += 1;
            let limit = if rng.u8(..20) == 0 {
                millis(rng.u64(0..2_000))
            } else {
                HOUR
            };
            match timeout(limit, client.send(request)).await {
                Ok(Ok(reply)) => {
                    assert_eq!(reply.result::<Value>().unwrap()["n"], n);
                    ends.answered += 1;
                }
                Ok(Err(CallError::Rpc(_))) => ends.answered += 1,
                Ok(Err(error)) => {
                    let seen = book.open().seen.contains_key(&n);
                    assert!(error.may_have_been_seen() || !seen, "{n} was seen, but: {error:?}");
                    match error {
                        CallError::Interrupted(_) => ends.interrupted += 1,
                        CallError::TimedOut { sent: true, .. } => ends.late += 1,
                        CallError::TimedOut { sent: false, .. } => ends.unsent += 1,
                        other => panic!("{other:?}"),
                    }
                }
                Err(_) => ends.cancelled += 1,
            }
        }
        sleep(millis(rng.u64(0..6_000))).await;
    }
    ends
}

#[derive(Debug, Default)]
struct Heard {
    pushes: u64,
    requests: u64,
    undelivered: u64,
    missed: u64,
    ups: u64,
    downs: u64,
}

/// The first `Up` has been read.
async fn listener(mut inbound: Inbound) -> Heard {
    let mut heard = Heard {
        ups: 1,
        ..Heard::default()
    };
    while let Some(item) = inbound.next().await {
        match item {
            Incoming::Up(up) => {
                heard.ups += 1;
                assert_eq!(up.epoch, heard.ups);
            }
            Incoming::Down(_) => heard.downs += 1,
            Incoming::Notification(_) => heard.pushes += 1,
            Incoming::Request(request) => {
                heard.requests += 1;
                request.respond(&1).unwrap();
            }
            Incoming::Undelivered { .. } => heard.undelivered += 1,
            Incoming::Gap { missed } => heard.missed += missed,
            other => panic!("{other:?}"),
        }
    }
    heard
}

/// The memory that this process has in use, in bytes, where the system tells.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[tokio::test(start_paused = true)]
async fn a_day_adds_up() {
    let started = Instant::now();
    let end = started + DAY;
    let mut rng = Rng::with_seed(27);
    let book = Book::default();
    let (memory, door) = memory::channel::<String>(8);
    let client_layer = ClientLayer::new(JsonText).max_calls(ROOM).inbound(64, Lag::DropOldest);
    let stack = ServiceBuilder::new()
        .layer(client_layer)
        .layer(ReconnectLayer::new().seed(27))
        .service(memory);
    let moods = Moods {
        good_from: end,
        life: HOUR / 3,
        refuses: 30,
        away: 4 * HOUR,
        late: 5,
        slow: millis(20),
        push_every: 5 * SECOND,
        odd: true,
    };
    let server = tokio::spawn(serve(Door::Memory(door), moods, rng.fork(), book.clone()));
    let (mut client, mut inbound) = within(12 * HOUR, stack.oneshot(())).await.unwrap();
    let Some(Incoming::Up(up)) = inbound.next().await else {
        panic!("the first item is `Up`")
    };
    let handle = up.extensions.get::<Handle>().unwrap().clone();

    let listening = tokio::spawn(listener(inbound));
    let callers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(caller(client.clone(), book.clone(), rng.fork(), end)))
        .collect();
    sleep(4 * HOUR).await;
    let before = resident();
    let mut ends = Vec::new();
    for caller in callers {
        ends.push(within(DAY, caller).await.unwrap());
    }
    let after = resident();

    // Nothing is in flight: all the room there is can be had again.
    let mut all = Vec::new();
    for _ in 0..ROOM {
        let mut one = client.clone();
        within(SECOND, one.ready()).await.unwrap();
        all.push(one);
    }
    drop(all);
    let echo = within(60 * SECOND, client.ready().await.unwrap().call(Request::new("call"))).await;
    assert!(echo.is_ok() || matches!(echo, Err(CallError::Rpc(_))), "{echo:?}");

    let left = within(20 * SECOND, client.close(5 * SECOND)).await;
    assert_eq!((left.unsent.len(), left.unanswered), (0, 0));
    drop(client);
    let heard = within(20 * SECOND, listening).await.unwrap();
    within(60 * SECOND, server).await.unwrap();
    assert!(matches!(*handle.state().borrow(), State::Closed));
    assert_eq!(tasks(), 0, "a task is left");

    let ledger = book.open();
    let sum = |part: fn(&Ends) -> u64| ends.iter().map(part).sum::<u64>();
    let (calls, answered) = (sum(|ends| ends.calls), sum(|ends| ends.answered));
    let unsure = sum(|ends| ends.interrupted + ends.late + ends.cancelled);
    let notified = sum(|ends| ends.notifications);
    println!(
        "{ends:?}\n{heard:?}\n{} connections, {} refused",
        ledger.connections, ledger.refused
    );
    assert_eq!(
        calls,
        answered + unsure + sum(|ends| ends.unsent),
        "each call has one end"
    );
    assert!(ledger.seen.values().all(|&times| times == 1), "nothing is seen twice");
    let seen = ledger.seen.len() as u64;
    assert!(
        (answered..=answered + unsure + notified - heard.undelivered).contains(&seen),
        "{seen} seen"
    );
    assert_eq!(heard.ups, heard.downs, "each `Up` has its `Down`");
    assert_eq!(heard.ups, ledger.connections as u64);
    // What was on its way when a connection ended was lost, or fell victim to lag; nothing came
    // twice.
    assert!(heard.pushes <= ledger.pushed && heard.pushes + heard.missed > ledger.pushed * 9 / 10);
    assert!(heard.requests <= ledger.asked && ledger.told <= ledger.asked && ledger.told > ledger.asked / 2);

    // The day was worth it.
    assert!(calls > 20_000 && answered > calls / 4 && heard.ups > 50 && heard.pushes > 5_000);
    assert!(
        sum(|ends| ends.unsent) > 1_000 && sum(|ends| ends.interrupted) > 10,
        "{ends:?}"
    );
    if let (Some(before), Some(after)) = (before, after) {
        // Of which the ledger of this test takes its share.
        assert!(
            after < before + (24 << 20),
            "{before} bytes in use after four hours, {after} after a day"
        );
    }
}
