//! Layers in any order: each stack works, or is refused by the name of the layer that stands wrong.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "support/far_end.rs"]
mod far_end;
#[path = "support/layers.rs"]
mod layers;
#[path = "support/session.rs"]
mod session;
mod support;

use std::{collections::BTreeSet, fmt};

use fastrand::Rng;
use futures_util::{
    SinkExt, StreamExt,
    future::{poll_fn, poll_immediate, ready},
};
use layers::{Bench, Boxed, Erase, NAMES};
use session::{Connecting, Tally, session};
use support::{
    SECOND, Seed,
    peer::{Book, Door, Moods, serve},
    seeds, tasks, within,
};
use tower::{Layer, ServiceExt};
use tower_ws::{
    client::ClientLayer,
    core::{BoxError, Event, Failure, FailureKind, Position, WrongOrder, find},
    reconnect::ReconnectLayer,
    transport::{JsonText, memory},
};
use tower_ws_test_kit::conformance::{Suite, Under};

/// Upper and lower. The other way round a stack is refused, and names these two.
const ABOVE: &[(&str, &str)] = &[
    ("session-metrics", "reconnect"),
    ("queue", "ack"),
    ("queue", "subscribe"),
    ("queue", "reconnect"),
    ("queue", "health"),
    ("ack", "subscribe"),
    ("ack", "reconnect"),
    ("ack", "health"),
    ("subscribe", "reconnect"),
    ("subscribe", "health"),
    ("subscribe", "crypto"),
    ("reconnect", "failover"),
    ("reconnect", "connection-metrics"),
    ("reconnect", "rate-limit"),
    ("queue", "lease"),
    ("ack", "lease"),
    ("subscribe", "lease"),
    ("reconnect", "lease"),
    ("lease", "rate-limit"),
    ("reconnect", "health"),
    ("rate-limit", "health"),
    ("reconnect", "auth"),
    ("reconnect", "mcp"),
    ("reconnect", "hello"),
    ("reconnect", "crypto"),
    ("ack", "crypto"),
    ("failover", "health"),
    ("failover", "auth"),
    ("failover", "mcp"),
    ("failover", "crypto"),
    ("failover", "hello"),
];

/// With two of these a stack is refused. Of the others there may be several.
const ONCE: &[&str] = &["ack", "subscribe", "reconnect"];

/// Names, outermost first.
#[derive(Clone)]
struct Order(Vec<&'static str>);

/// An order as one layer, put together at run time.
#[derive(Clone)]
struct Composed(Order, Bench);

// === impl Order ===

impl Order {
    /// Some of the layers, now and then one of them twice; half of these orders are put right.
    fn random(rng: &mut Rng) -> Self {
        let count = rng.usize(1..=NAMES.len());
        let mut names = rng.choose_multiple(NAMES.iter().copied(), count);
        if rng.u8(..4) == 0 {
            names.push(*rng.choice(NAMES).unwrap());
        }
        rng.shuffle(&mut names);
        let mut order = Self(names);
        if rng.bool() {
            order.put_right();
        }
        order
    }

    /// Takes out what is there once too often, and moves each layer above those that it must be
    /// above.
    fn put_right(&mut self) {
        let mut seen = BTreeSet::new();
        self.0.retain(|name| seen.insert(*name) || !ONCE.contains(name));
        while let Some(at) = (1..self.0.len()).find(|&at| {
            let names = &self.0;
            names[..at].iter().any(|upper| ABOVE.contains(&(names[at], *upper)))
        }) {
            self.0.swap(at - 1, at);
        }
    }

    /// What is wrong with it, as the upper and the lower layer should be.
    fn wrong(&self) -> BTreeSet<(&'static str, &'static str)> {
        let pairs = (0..self.0.len()).flat_map(|lower| (0..lower).map(move |upper| (upper, lower)));
        let pairs = pairs.map(|(upper, lower)| (self.0[upper], self.0[lower]));
        let is_wrong = |&(upper, lower): &(&'static str, &'static str)| {
            ABOVE.contains(&(lower, upper)) || upper == lower && ONCE.contains(&upper)
        };
        pairs.filter(is_wrong).map(|(upper, lower)| (lower, upper)).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" > "))
    }
}

// === impl Composed ===

impl Layer<Under<String>> for Composed {
    type Service = Boxed<http::Request<()>>;

    fn layer(&self, inner: Under<String>) -> Self::Service {
        self.1.stack(&self.0.0, inner.erase())
    }
}

// === sessions ===

/// Connects to a server that is in the best of moods.
async fn refusal(order: &Order, seed: u64) -> WrongOrder {
    let mut rng = Rng::with_seed(seed);
    let (memory, listener) = memory::channel(8);
    let bench = Bench::random(ReconnectLayer::new(), &mut rng);
    let stack = bench.stack(&order.0, memory.erase());
    let server = tokio::spawn(serve(Door::Memory(listener), Moods::calm(), rng, Book::default()));
    let connecting = ClientLayer::new(JsonText).layer(stack).oneshot(());
    let error = within(60 * SECOND, connecting)
        .await
        .map(drop)
        .expect_err(&format!("it should have been refused: {order}"));
    within(60 * SECOND, server).await.unwrap();
    assert_eq!(tasks(), 0);
    let failure = find::<Failure>(&*error).unwrap();
    assert_eq!(failure.kind(), FailureKind::Usage, "{order}: {failure:?}");
    *find::<WrongOrder>(&*error).unwrap_or_else(|| panic!("{order}: {error:?}"))
}

/// The two that an error names, as the upper and the lower one should be.
fn pair(wrong: &WrongOrder) -> (&'static str, &'static str) {
    match wrong.must_be {
        Position::Below => (wrong.other, wrong.layer),
        Position::Above | Position::Once => (wrong.layer, wrong.other),
    }
}

/// Calls, pushes and drops as the contract has them.
async fn works(order: &Order, seed: u64, tally: &mut Tally) -> Result<(), BoxError> {
    let resends = order.has("ack") && order.has("reconnect");
    let build = |client: ClientLayer<JsonText>, reconnect, rng: &mut Rng| {
        let (memory, listener) = memory::channel(rng.usize(1..20));
        let bench = Bench::random(reconnect, rng);
        let stack = client.layer(bench.stack(&order.0, memory.erase()));
        (Door::Memory(listener), Box::pin(stack.oneshot(())) as Connecting)
    };
    session(build, resends, seed, tally).await
}

#[tokio::test(start_paused = true)]
async fn any_order_works_or_is_refused_by_name() {
    let (mut right, mut refused) = (0, 0);
    let mut tally = Tally::default();
    for seed in seeds(500) {
        let _seed = Seed(seed);
        let order = Order::random(&mut Rng::with_seed(seed));
        let wrong = order.wrong();
        println!("{seed}: {order}: {wrong:?}");
        if wrong.is_empty() {
            right += 1;
            if let Err(error) = works(&order, seed, &mut tally).await {
                // Without reconnect the first refusal of the server is the end.
                assert!(find::<WrongOrder>(&*error).is_none(), "{order}: {error:?}");
                assert!(!order.has("reconnect"), "{order}: {error:?}");
            }
        } else {
            refused += 1;
            let named = refusal(&order, seed).await;
            assert!(wrong.contains(&pair(&named)), "{order}: {named}");
        }
    }
    println!("{right} right, {refused} refused; {tally:?}");
    if std::env::var("SEED").is_err() {
        assert!(right >= 200 && refused >= 200, "{right} right, {refused} refused");
        for end in ["answered", "interrupted", "closed", "cancelled", "handed back"] {
            assert!(tally.0.get(end).is_some_and(|&times| times >= 10), "{tally:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_recommended_order_is_right_without_any_of_its_layers() {
    let mut tally = Tally::default();
    for left_out in 0..NAMES.len() {
        let mut order = Order(NAMES.to_vec());
        order.0.remove(left_out);
        for seed in seeds(20) {
            let connected = works(&order, seed, &mut tally).await;
            assert!(connected.is_ok() || !order.has("reconnect"), "{order}: {connected:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_wrong_pair_is_refused_by_its_names() {
    let twice = ONCE.iter().map(|&name| (name, name));
    for (upper, lower) in ABOVE.iter().copied().chain(twice) {
        let named = refusal(&Order(vec![lower, upper]), 1).await;
        assert_eq!(pair(&named), (upper, lower), "{named}");
    }
}

// === why ===

/// Sends into a connection whose peer reads nothing, until health has given its verdict. Returns
/// how many messages neither came back nor reached the peer.
async fn vanished(names: &[&'static str]) -> usize {
    let (memory, mut listener) = memory::channel::<String>(4);
    let mut bench = Bench::random(ReconnectLayer::new(), &mut Rng::with_seed(1));
    // Sooner than the transport's own deadline for a write.
    bench.wait = 5 * SECOND;
    let dial = bench.stack(names, memory.erase()).oneshot(());
    let (session, peer) = tokio::join!(within(60 * SECOND, dial), listener.accept());
    let (mut session, peer) = (session.unwrap(), peer.unwrap());
    assert!(matches!(session.next().await, Some(Event::Up(_))));
    let mut accepted = 0;
    while let Some(ready) = poll_immediate(poll_fn(|cx| session.poll_ready_unpin(cx))).await {
        ready.unwrap();
        session.start_send_unpin(format!("{accepted}").into()).unwrap();
        accepted += 1;
    }
    let mut back = 0;
    while let Some(event) = within(600 * SECOND, session.next()).await {
        back += usize::from(matches!(event, Event::Dropped(..)));
    }
    let arrived = within(60 * SECOND, peer.take_while(|said| ready(said.is_ok())).count()).await;
    assert!(accepted > 4, "the queue holds some");
    accepted - back - arrived
}

#[tokio::test(start_paused = true)]
async fn a_verdict_above_a_queue_takes_messages_along() {
    assert_eq!(vanished(&["queue", "health"]).await, 0);
    assert!(vanished(&["health", "queue"]).await > 0);
}

// === the laws ===

async fn keeps_the_laws(order: Order, seed: u64) {
    println!("{seed}: {order}");
    let mut bench = Bench::random(ReconnectLayer::new().seed(seed), &mut Rng::with_seed(seed));
    bench.silent = true;
    let mut suite = Suite::layer(Composed(order.clone(), bench)).seeds(seed..seed + 4);
    if order.has("reconnect") {
        suite = suite.redials();
    }
    if order.has("queue") || order.has("ack") {
        suite = suite.holds_messages();
    }
    suite.run().await;
}

#[tokio::test(start_paused = true)]
async fn the_recommended_order_keeps_the_laws() {
    keeps_the_laws(Order(NAMES.to_vec()), 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_sample_of_other_orders_keeps_the_laws() {
    for seed in seeds(16) {
        let _seed = Seed(seed);
        let mut order = Order::random(&mut Rng::with_seed(seed));
        order.put_right();
        keeps_the_laws(order, seed).await;
    }
}

/// The page that explains the order has each rule, word for word.
#[test]
fn the_architecture_has_each_rule() {
    let page = include_str!("../ARCHITECTURE.md");
    for wrong in WrongOrder::all() {
        let place = match wrong.must_be {
            Position::Above => "above",
            Position::Below => "below",
            Position::Once => "only one",
        };
        let row = format!("| `{}` | {place} | `{}` | {} |", wrong.layer, wrong.other, wrong.why);
        assert!(page.contains(&row), "it lacks this row:\n{row}");
    }
}
