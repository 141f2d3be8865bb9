//! One session under a random schedule: many callers, a wild server, and two ledgers that have to
//! agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::poll_immediate;
use serde_json::{Value, json};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tower::{Service, ServiceExt};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Request,
    client::{ClientLayer, Lag, Leftovers},
    core::{BoxError, FailureKind, Replay},
    reconnect::ReconnectLayer,
    transport::JsonText,
};

use crate::support::{
    SECOND, Seed, eager, millis,
    peer::{Book, Door, Moods, serve},
    tasks, within,
};

/// A stack on the point of connecting.
pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<(Client, Inbound), BoxError>> + Send>>;

/// How each call ended, by its number.
#[derive(Debug)]
enum Ended {
    Answered,
    Failed(CallError),
    /// The session was over before the call was accepted.
    Refused,
    /// Its future was dropped.
    Cancelled,
}

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Outcomes>>);

#[derive(Default)]
struct Outcomes {
    begun: BTreeSet<u64>,
    ended: BTreeMap<u64, Ended>,
    notified: BTreeSet<u64>,
    /// Those that may be seen twice.
    safe: BTreeSet<u64>,
}

impl Calls {
    fn with<T>(&self, f: impl FnOnce(&mut Outcomes) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
}

/// A call whose future may be dropped at any time, and then says so.
struct Begun<'a>(&'a Calls, u64);

impl<'a> Begun<'a> {
    fn new(calls: &'a Calls, n: u64) -> Self {
        assert!(calls.with(|calls| calls.begun.insert(n)));
        Self(calls, n)
    }

    fn ended(&self, how: Ended) {
        assert!(self.0.with(|calls| calls.ended.insert(self.1, how)).is_none());
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.with(|calls| {
            calls.ended.entry(self.1).or_insert(Ended::Cancelled);
        });
    }
}

async fn caller(client: Client, calls: Calls, book: Book, mut rng: Rng) {
    for _ in 0..rng.u8(1..25) {
        let n = book.number();
        let params = json!({ "n": n, "pad": "x".repeat(rng.usize(0..100)) });
        let replay = rng
            .choice([Replay::Unsafe, Replay::Safe, Replay::Unknown])
            .unwrap_or_default();
        let request = Request::new("call").params(&params).unwrap().replay(replay);
        if replay == Replay::Safe {
            calls.with(|calls| calls.safe.insert(n));
        }
        if rng.u8(..6) == 0 {
            if client.notify(request.timeout(SECOND)).await.is_ok() {
                calls.with(|calls| calls.notified.insert(n));
            }
        } else {
            let limit = millis(rng.choice([1, 30, 1_000, 20_000]).unwrap_or(30));
            let begun = Begun::new(&calls, n);
            let call = async {
                // Readiness is taken by one handle, and goes with it.
                let mut client = client.clone();
                if client.ready().await.is_err() {
                    return begun.ended(Ended::Refused);
                }
                let mut call = client.call(request.timeout(limit));
                if let Some(Err(CallError::Closed(_))) = poll_immediate(&mut call).await {
                    return begun.ended(Ended::Refused);
                }
                let ended = match call.await {
                    Ok(reply) => {
                        let answer: Value = reply.result().unwrap();
                        assert_eq!(answer["n"], n, "an answer went astray");
                        Ended::Answered
                    }
                    Err(CallError::Rpc(error)) => {
                        assert_eq!(error.data.unwrap().get(), n.to_string(), "an answer went astray");
                        Ended::Answered
                    }
                    Err(error) => Ended::Failed(error),
                };
                begun.ended(ended);
            };
            if rng.u8(..5) == 0 {
                let _ = timeout(millis(rng.u64(0..100)), call).await;
            } else {
                call.await;
            }
        }
        if rng.bool() {
            sleep(millis(rng.u64(0..200))).await;
        }
    }
}

/// What came in, and whether that made sense.
#[derive(Default)]
struct Heard {
    undelivered: BTreeSet<u64>,
    last_push: u64,
    /// The session ended, and not because we closed it.
    lost: bool,
}

async fn listener(mut inbound: Inbound, mut rng: Rng) -> Heard {
    let (mut heard, mut epoch, mut up, mut over) = (Heard::default(), 0, false, false);
    let mut gap = false;
    while let Some(item) = inbound.next().await {
        assert!(!over, "nothing follows the last `Down`: {item:?}");
        match item {
            Incoming::Up(now) => {
                assert!((!up && now.epoch == epoch + 1) || gap, "{now:?}");
                (epoch, up, gap) = (now.epoch, true, false);
            }
            Incoming::Down(down) => {
                // A second one says that there was no other connection after all.
                assert!((up || !down.will_retry) && down.epoch == epoch || gap, "{down:?}");
                (epoch, up, over, gap) = (down.epoch, false, !down.will_retry, false);
                heard.lost = over && down.cause.kind() != FailureKind::Local;
            }
            Incoming::Notification(push) => {
                let params: Value = push.params().unwrap();
                let n = params["n"].as_u64().unwrap();
                assert!(n > heard.last_push, "pushes keep their order");
                heard.last_push = n;
            }
            Incoming::Request(request) => match rng.u8(..3) {
                0 => request.respond(&1).unwrap(),
                1 => drop(request),
                _ => {
                    sleep(millis(rng.u64(0..100))).await;
                    request.respond(&2).unwrap();
                }
            },
            Incoming::Undelivered {
                request: Some(request), ..
            } => {
                assert!(heard.undelivered.insert(number(&request)), "given back twice");
            }
            Incoming::Gap { missed } => {
                assert!(missed > 0);
                gap = true;
            }
            _ => {}
        }
    }
    heard
}

fn number(request: &Request) -> u64 {
    let params: Value = serde_json::from_slice(request.params_text().unwrap()).unwrap();
    params["n"].as_u64().unwrap()
}

/// How the session ends.
#[derive(Clone, Copy, Debug)]
enum Finish {
    /// Once every call has ended.
    Settled,
    /// While calls are under way, which have so long.
    Closed(Duration),
    /// Everybody drops everything.
    Dropped,
}

/// Runs one, over the stack that `build` puts together over a server's door. With `resends` what is
/// safe may be seen twice, and must not be given up.
///
/// An error if it could not connect.
pub(crate) async fn session(
    build: impl FnOnce(ClientLayer<JsonText>, ReconnectLayer, &mut Rng) -> (Door, Connecting),
    resends: bool,
    seed: u64,
    tally: &mut Tally,
) -> Result<(), BoxError> {
    let _seed = Seed(seed);
    let mut rng = Rng::with_seed(seed);
    let book = Book::default();
    let calls = Calls::default();
    let good_from = Instant::now() + millis(rng.u64(0..10_000));
    let moods = Moods::wild(&mut rng, good_from);

    let mut client_layer = ClientLayer::new(JsonText).max_calls(rng.usize(1..40)).inbound(
        rng.usize(2..300),
        rng.choice([Lag::DropOldest, Lag::Wait]).unwrap_or_default(),
    );
    if rng.bool() {
        client_layer = client_layer.on_cancel(|_| Request::new("cancelled"));
    }
    let reconnect = if rng.bool() { eager() } else { ReconnectLayer::new() };
    let (door, connecting) = build(client_layer, reconnect.seed(seed), &mut rng);
    let server = tokio::spawn(serve(door, moods, rng.fork(), book.clone()));
    let (client, inbound) = match within(600 * SECOND, connecting).await {
        Ok(connected) => connected,
        Err(error) => {
            within(60 * SECOND, server).await.unwrap();
            assert_eq!(tasks(), 0);
            return Err(error);
        }
    };
    let listening = tokio::spawn(listener(inbound, rng.fork()));
    let mut callers = JoinSet::new();
    for _ in 0..rng.u8(1..6) {
        callers.spawn(caller(client.clone(), calls.clone(), book.clone(), rng.fork()));
    }

    let finish = match rng.u8(..4) {
        0 | 1 => Finish::Settled,
        2 => Finish::Closed(millis(rng.choice([0, 100, 4_000]).unwrap_or(0))),
        _ => Finish::Dropped,
    };
    let mut left = Leftovers::default();
    match finish {
        Finish::Settled => {}
        Finish::Closed(grace) => {
            sleep(millis(rng.u64(0..3_000))).await;
            // The grace, then what is queued drains, then the closing handshake.
            left = within(grace + 11 * SECOND, client.close(grace)).await;
        }
        Finish::Dropped => {
            sleep(millis(rng.u64(0..3_000))).await;
            callers.abort_all();
        }
    }
    let all = async {
        while let Some(ended) = callers.join_next().await {
            assert!(
                ended.as_ref().map_or_else(JoinError::is_cancelled, |()| true),
                "{ended:?}"
            );
        }
    };
    within(3600 * SECOND, all).await;
    if let Finish::Settled = finish {
        left = within(12 * SECOND, client.close(5 * SECOND)).await;
    }
    drop(client);
    let heard = within(20 * SECOND, listening).await.unwrap();
    within(60 * SECOND, server).await.unwrap();
    assert_eq!(tasks(), 0, "a task is left: {finish:?}");
    calls.with(|calls| {
        settle_up(calls, &book, &heard, &left, finish, resends);
        tally.count(calls, &heard, &left);
    });
    Ok(())
}

/// The client's ledger against the server's.
fn settle_up(calls: &Outcomes, book: &Book, heard: &Heard, left: &Leftovers, finish: Finish, resends: bool) {
    let ledger = book.open();
    assert!(
        ledger
            .seen
            .iter()
            .all(|(n, &times)| times == 1 || resends && calls.safe.contains(n)),
        "seen twice: {:?}",
        ledger.seen
    );
    if let (true, Finish::Settled, false) = (resends, finish, heard.lost) {
        let given_up = |n: &u64| matches!(calls.ended.get(n), Some(Ended::Failed(CallError::Interrupted(_))));
        assert!(!calls.safe.iter().any(given_up), "a safe call was given up");
    }
    let seen = |n: &u64| ledger.seen.contains_key(n);

    assert!(calls.begun.iter().eq(calls.ended.keys()), "each call has one end");
    let (mut closed, mut interrupted) = (BTreeSet::new(), 0);
    for (n, ended) in &calls.ended {
        match ended {
            Ended::Answered => assert!(seen(n), "{n} was answered by nobody"),
            Ended::Refused => assert!(!seen(n), "{n} was refused and sent"),
            Ended::Failed(error) if !error.may_have_been_seen() => {
                assert!(!seen(n), "{n} was seen, but: {error:?}");
                if let CallError::Closed(_) = error {
                    closed.insert(*n);
                }
            }
            Ended::Failed(CallError::Interrupted(_)) => interrupted += 1,
            Ended::Failed(_) | Ended::Cancelled => {}
        }
    }
    let mut back = BTreeSet::new();
    for n in left.unsent.iter().map(number) {
        assert!(back.insert(n), "{n} was handed back twice");
        assert!(!seen(&n), "{n} was seen and handed back");
        assert!(
            closed.contains(&n) || calls.notified.contains(&n),
            "{n} was handed back for no reason"
        );
    }
    match finish {
        // Nobody asked for what was left.
        Finish::Dropped => {}
        _ => assert!(
            closed.is_subset(&back),
            "accepted, not sent, not handed back: {closed:?}, {back:?}"
        ),
    }
    assert!(left.unanswered <= interrupted);
    for n in &heard.undelivered {
        assert!(calls.notified.contains(n), "{n} is no notification");
        assert!(!seen(n) && !back.contains(n), "{n} was given back, and not only that");
    }
    if let (Finish::Settled, false) = (finish, heard.lost) {
        assert_eq!(left.unanswered, 0);
        assert!(
            left.unsent
                .iter()
                .all(|request| calls.notified.contains(&number(request)))
        );
    }
}

/// What the schedules led to: a property that nothing puts to the test proves nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<&'static str, usize>);

impl Tally {
    fn count(&mut self, calls: &Outcomes, heard: &Heard, left: &Leftovers) {
        let ends = calls.ended.values().map(|ended| match ended {
            Ended::Answered => "answered",
            Ended::Refused => "refused",
            Ended::Cancelled => "cancelled",
            Ended::Failed(CallError::Interrupted(_)) => "interrupted",
            Ended::Failed(CallError::Closed(_)) => "closed",
            Ended::Failed(CallError::NotSent(_)) => "not sent",
            Ended::Failed(CallError::TimedOut { sent: true, .. }) => "timed out, sent",
            Ended::Failed(CallError::TimedOut { sent: false, .. }) => "timed out, not sent",
            Ended::Failed(CallError::Malformed(_)) => "out of form",
            Ended::Failed(_) => "otherwise",
        });
        let back = left.unsent.iter().map(|_| "handed back");
        let undelivered = heard.undelivered.iter().map(|_| "undelivered");
        for end in ends.chain(back).chain(undelivered) {
            *self.0.entry(end).or_default() += 1;
        }
    }
}
