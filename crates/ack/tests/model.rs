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

use std::{cell::RefCell, collections::BTreeMap};

use ops::{Mode, Op, Protocol, ops};
use peer::Memory;
use proptest::test_runner::{Config, TestRunner};
use tower_ws_ack::{Bare, JsonRpc, Sequence, Strategy};
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new(protocol, strategy.clone(), memory).await;
            for op in ops {
                world.step(op).await;
            }
            world.finish();
            world.rows(mode, &tally);
        });
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
