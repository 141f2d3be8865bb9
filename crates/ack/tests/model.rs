//! The layer beside a machine that is obviously right, step by step, through whatever proptest
//! thinks of; and at the end what each mode promises, from three ledgers: what was sent and how it
//! ended, what was written, what the peer applied.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "model/machine.rs"]
mod machine;
#[path = "model/ops.rs"]
mod ops;
#[path = "model/peer.rs"]
mod peer;
mod support;
#[path = "model/world.rs"]
mod world;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use ops::{Key, Mode, Moment, Op, Protocol, Which, ops};
use peer::Memory;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tower_ws_ack::{Bare, JsonRpc, Sequence, Strategy};
use tower_ws_core::Replay;
use tower_ws_test_kit::sequences;
use tower_ws_transport::JsonText;
use world::{TIMEOUT, World};

/// What the sequences led to: a property that nothing puts to the test proves nothing.
#[derive(Debug, Default)]
struct Tally(RefCell<BTreeMap<&'static str, usize>>);

impl Tally {
    fn add(&self, what: &'static str, times: usize) {
        *self.0.borrow_mut().entry(what).or_default() += times;
    }

    fn of(&self, what: &str) -> usize {
        self.0.borrow().get(what).copied().unwrap_or_default()
    }

    /// Each of these has come up.
    fn has(&self, each: &[&str]) {
        for what in each {
            assert!(self.of(what) > 0, "never {what}: {self:?}");
        }
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

async fn play<S>(ops: Vec<Op>, mode: Mode, protocol: Protocol, strategy: S, memory: Memory, tally: &Tally)
where
    S: Strategy<String, Key = u64> + Clone,
{
    let mut world = World::new(protocol, strategy, memory).await;
    for op in ops {
        world.step(op).await;
    }
    world.finish();
    world.rows(mode, tally);
}

/// Not what chance thinks of, but all there is: each sequence of five of these.
fn every_history<S>(protocol: Protocol, strategy: S)
where
    S: Strategy<String, Key = u64> + Clone,
{
    let send = |replay| Op::Send {
        replay,
        key: Key::New,
        deadline: None,
        moment: Moment::Calm,
    };
    let steps = [
        send(Replay::Safe),
        send(Replay::Unsafe),
        Op::Acknowledgement(Which::UnderWay(0)),
        Op::Up { takes: 1 },
        Op::Down { too_big: false },
        Op::Wait(TIMEOUT / 2),
        Op::Cancel(0),
    ];
    let (runtime, tally) = (runtime(), Tally::default());
    for ops in sequences(&steps, 5) {
        let shown = format!("{ops:?}");
        let played = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(play(ops, Mode::Mixed, protocol, strategy.clone(), NONE, &tally));
        }));
        played.unwrap_or_else(|_| panic!("after {shown}"));
    }
    println!("{protocol:?}: {tally:?}");
    tally.has(&[
        "acknowledged",
        "interrupted",
        "let go",
        "several connections",
        "written twice",
    ]);
}

#[test]
fn every_short_history() {
    every_history(Protocol::Bare, bare());
    every_history(Protocol::Sequence, sequence());
    every_history(Protocol::Reply, replies("none"));
}

fn property<S>(mode: Mode, protocol: Protocol, strategy: S, memory: Memory) -> Tally
where
    S: Strategy<String, Key = u64> + Clone,
{
    let tally = Tally::default();
    // The sequence of a failure is printed; there is no place for a file beside an integration
    // test.
    let config = Config {
        cases: 160,
        failure_persistence: None,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&ops(mode, protocol), |ops: Vec<Op>| {
        runtime().block_on(play(ops, mode, protocol, strategy.clone(), memory, &tally));
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{mode:?}, {protocol:?}: {tally:?}");
    tally.has(&ALWAYS);
    // An acknowledgement of many is late for none in particular.
    assert!(
        protocol == Protocol::Sequence || tally.of("acknowledged late") > 0,
        "{tally:?}"
    );
    tally
}

fn bare() -> Bare<fn(&String) -> Option<u64>, fn(&String) -> Option<u64>> {
    Bare::new(
        |sent| support::number(sent),
        |came| came.strip_prefix("ack ")?.parse().ok(),
    )
}

fn sequence() -> Sequence<fn(&String) -> Option<u64>, fn(&String) -> Option<u64>> {
    Sequence::new(
        |sent| support::number(sent),
        |came| came.strip_prefix("ack ")?.parse().ok(),
    )
}

fn replies(safe_method: &'static str) -> JsonRpc<JsonText> {
    JsonRpc::new(JsonText).safe_methods([safe_method])
}

const NONE: Memory = Memory {
    seconds: 0,
    lasts: true,
};

/// As long as anything may be sent again.
const LONG_ENOUGH: Memory = Memory {
    seconds: TIMEOUT,
    lasts: true,
};

const ALWAYS: [&str; 7] = [
    "acknowledged",
    "expired",
    "interrupted",
    "never written",
    "refused",
    "several connections",
    "lost on the way",
];

#[test]
fn at_most_once() {
    for tally in [
        property(Mode::AtMostOnce, Protocol::Bare, bare(), NONE),
        property(Mode::AtMostOnce, Protocol::Sequence, sequence(), NONE),
        property(Mode::AtMostOnce, Protocol::Reply, replies("none"), NONE),
    ] {
        assert_eq!((tally.of("written twice"), tally.of("applied twice")), (0, 0));
    }
}

#[test]
fn at_least_once() {
    for tally in [
        property(Mode::AtLeastOnce, Protocol::Bare, bare().all_safe(), NONE),
        property(Mode::AtLeastOnce, Protocol::Sequence, sequence().all_safe(), NONE),
        property(Mode::AtLeastOnce, Protocol::Reply, replies("*"), NONE),
        property(Mode::AtLeastOnce, Protocol::FreshIds, replies("*").fresh_ids(), NONE),
    ] {
        tally.has(&["written twice", "applied twice", "lost in the middle of a resend"]);
    }
}

#[test]
fn effect_once() {
    for tally in [
        property(Mode::EffectOnce, Protocol::Bare, bare().all_safe(), LONG_ENOUGH),
        property(Mode::EffectOnce, Protocol::Sequence, sequence().all_safe(), LONG_ENOUGH),
        property(Mode::EffectOnce, Protocol::Reply, replies("*"), LONG_ENOUGH),
    ] {
        tally.has(&["written twice", "restarted"]);
        assert_eq!(tally.of("applied twice"), 0);
    }
}

/// The condition is needed: a peer that forgets sooner, or with a restart, acts twice.
#[test]
fn effect_once_is_not_had_from_a_peer_that_forgets() {
    let too_short = Memory {
        seconds: TIMEOUT / 3,
        ..LONG_ENOUGH
    };
    let volatile = Memory {
        lasts: false,
        ..LONG_ENOUGH
    };
    for memory in [too_short, volatile] {
        property(Mode::AtLeastOnce, Protocol::Bare, bare().all_safe(), memory).has(&["written twice", "applied twice"]);
    }
}

#[test]
fn some_safe_and_some_not() {
    for tally in [
        property(Mode::Mixed, Protocol::Bare, bare(), NONE),
        property(Mode::Mixed, Protocol::Sequence, sequence(), NONE),
        property(Mode::Mixed, Protocol::Reply, replies("read"), NONE),
        property(Mode::Mixed, Protocol::FreshIds, replies("read").fresh_ids(), NONE),
    ] {
        tally.has(&["written twice", "lost in the middle of a resend"]);
    }
}
