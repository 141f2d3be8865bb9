//! The window against what must hold, whatever happens.

use std::collections::BTreeMap;

use proptest::{prelude::*, strategy::Strategy as _};

use super::*;
use crate::strategy::Strategy;
use tower_ws_core::{Close, Failure, FailureKind, Replay, Ticket};

type Message = (u64, u8);

const SECOND: Duration = Duration::from_secs(1);

/// Nothing is safe unless its sender said so.
struct Plain;

impl Strategy<Message> for Plain {
    type Key = u8;

    fn awaits(&self, item: &Outgoing<Message>) -> Option<u8> {
        Some(item.message.1)
    }

    fn acknowledges(&self, _: &Message) -> Option<crate::Acknowledgement<u8>> {
        None
    }
}

/// What becomes of a message below.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Written,
    /// The connection is broken: it comes back.
    Bounced,
    Refused,
    /// Below, and not written.
    Stuck,
}

#[derive(Clone, Debug)]
enum Op {
    Send {
        key: u8,
        bytes: usize,
        replay: Replay,
        ticket: bool,
        deadline: Option<u32>,
    },
    Drain(Vec<Fate>),
    Acknowledgement {
        keys: Keys<u8>,
        deliver: bool,
    },
    Down {
        replay: bool,
    },
    Cancel(usize),
    Settle(usize),
    Wait(u32),
    Sweep,
}

fn op() -> impl proptest::strategy::Strategy<Value = Op> {
    let key = 0..24u8;
    let replay = prop_oneof![Just(Replay::Safe), Just(Replay::Unsafe), Just(Replay::Unknown)];
    let fate = prop_oneof![8 => Just(Fate::Written), 1 => Just(Fate::Bounced), 1 => Just(Fate::Refused), 1 => Just(Fate::Stuck)];
    let keys = prop_oneof![
        key.clone().prop_map(Keys::One),
        key.clone().prop_map(Keys::UpTo),
        prop::collection::vec(key.clone(), 0..4).prop_map(Keys::Each),
    ];
    prop_oneof![
        6 => (key, 0..40usize, replay, any::<bool>(), prop::option::weighted(0.1, 0..20u32)).prop_map(
            |(key, bytes, replay, ticket, deadline)| Op::Send { key, bytes, replay, ticket, deadline }
        ),
        6 => prop::collection::vec(fate, 0..8).prop_map(Op::Drain),
        3 => (keys, any::<bool>()).prop_map(|(keys, deliver)| Op::Acknowledgement { keys, deliver }),
        2 => prop::bool::weighted(0.9).prop_map(|replay| Op::Down { replay }),
        1 => (0..60usize).prop_map(Op::Cancel),
        1 => (0..60usize).prop_map(Op::Settle),
        2 => (0..8u32).prop_map(Op::Wait),
        1 => Just(Op::Sweep),
    ]
}

struct World {
    now: Instant,
    window: Window<Message, u8>,
    /// By number: bytes, replay, ticket.
    accepted: BTreeMap<u64, (usize, Replay, Ticket)>,
    ended: BTreeMap<u64, &'static str>,
    epoch: u64,
    broken: bool,
    /// The last that went down in this epoch.
    last: Option<u64>,
}

impl World {
    fn kept(&self) -> BTreeMap<u64, u8> {
        self.window.kept.iter().map(|(_, kept)| kept.outgoing.message).collect()
    }

    fn ticket(&self, n: u64) -> &Ticket {
        &self.accepted[&n].2
    }

    fn end(&mut self, n: u64, how: &'static str) {
        let before = self.ended.insert(n, how);
        assert_eq!(before, None, "message {n} ends twice: {how}");
    }

    fn send(&mut self, message: Message, bytes: usize, replay: Replay, own: bool, deadline: Option<u32>) {
        let mut outgoing = Outgoing::new(message).replay(replay);
        outgoing.deadline = deadline.map(|after| self.now + SECOND * after);
        outgoing.ticket = own.then(Ticket::new);
        let taken = self.kept().values().any(|key| *key == message.1);
        let before = self.window.kept.len();
        self.window.accept(self.now, message.1, outgoing.clone(), bytes);
        let kept = self
            .window
            .kept
            .iter()
            .map(|(_, kept)| kept)
            .last()
            .filter(|kept| kept.outgoing.message == message);
        assert!(!(taken && kept.is_some()), "two with one key");
        let ticket = kept.map_or_else(Ticket::new, |kept| kept.ticket.clone());
        assert_eq!(self.window.kept.len(), before + usize::from(kept.is_some()));
        self.accepted.insert(message.0, (bytes, replay, ticket));
    }

    fn drain(&mut self, fates: Vec<Fate>) {
        for fate in fates {
            if self.broken {
                return;
            }
            let Some((_, item)) = self.window.next_due(self.now, &mut Plain) else {
                return;
            };
            let (n, key) = item.message;
            let (_, replay, ticket) = &self.accepted[&n];
            assert!(self.last.is_none_or(|last| last < n), "{n} after {:?}", self.last);
            assert!(
                !ticket.may_have_been_seen() || *replay == Replay::Safe,
                "an unsafe one goes again"
            );
            assert!(!ticket.is_cancelled() && ticket.phase() != Phase::Settled);
            assert!(item.deadline.is_some_and(|deadline| deadline > self.now));
            self.last = Some(n);
            let ticket = item.ticket.expect("each has one");
            ticket.enter(self.epoch);
            match fate {
                Fate::Written => assert!(ticket.mark_sent()),
                Fate::Bounced => {
                    self.broken = true;
                    assert!(self.window.returned(&key, DropReason::Disconnected));
                    assert!(self.kept().contains_key(&n), "what was not sent goes with the next");
                }
                Fate::Refused => assert!(self.window.returned(&key, DropReason::Refused("below"))),
                Fate::Stuck => {}
            }
        }
    }

    fn acknowledge(&mut self, keys: Keys<u8>, deliver: bool) {
        let named = |key: u8| match &keys {
            Keys::One(one) => *one == key,
            Keys::UpTo(last) => key <= *last,
            Keys::Each(each) => each.contains(&key),
        };
        let (acked, others): (Vec<_>, Vec<_>) = self
            .kept()
            .into_iter()
            .partition(|(n, key)| named(*key) && self.ticket(*n).may_have_been_seen());
        self.window.acknowledged(self.now, keys.clone(), deliver);
        assert_eq!(
            self.kept().into_iter().collect::<Vec<_>>(),
            others,
            "just these are acknowledged"
        );
        if !deliver {
            acked.into_iter().for_each(|(n, _)| self.end(n, "acknowledged"));
        }
    }

    fn step(&mut self, n: u64, op: Op) {
        match op {
            Op::Send {
                key,
                bytes,
                replay,
                ticket,
                deadline,
            } => {
                if !self.window.is_full() {
                    self.send((n, key), bytes, replay, ticket, deadline);
                }
            }
            Op::Drain(fates) => self.drain(fates),
            Op::Acknowledgement { keys, deliver } => self.acknowledge(keys, deliver),
            Op::Down { replay } => {
                let cause = match replay {
                    true => Failure::new(FailureKind::Network, "gone"),
                    false => Failure::closed(Close {
                        code: 1009,
                        reason: String::new(),
                    }),
                };
                self.window.down(&cause, &Plain);
                let kept = self.kept();
                assert_eq!(self.window.due(), kept.len(), "what is left goes with the next");
                for n in kept.keys() {
                    let (_, safe, ticket) = &self.accepted[n];
                    let seen = ticket.may_have_been_seen();
                    assert!(!seen || (replay && *safe == Replay::Safe));
                    assert!(!matches!(ticket.phase(), Phase::Sent(_)), "it is held, or waits");
                }
                self.epoch += 1;
                (self.broken, self.last) = (false, None);
            }
            Op::Cancel(which) | Op::Settle(which) => {
                let kept = self.kept();
                if let Some(n) = kept.keys().nth(which % kept.len().max(1)) {
                    match op {
                        Op::Cancel(_) => drop(self.ticket(*n).cancel()),
                        _ => self.ticket(*n).settle(),
                    }
                }
            }
            Op::Wait(seconds) => {
                self.now += SECOND * seconds;
                self.window.expire(self.now);
                assert!(
                    self.window.next_timeout().is_none_or(|next| next > self.now),
                    "a timer that spins"
                );
            }
            Op::Sweep => self.window.sweep(self.now),
        }
    }

    /// What must hold after each step.
    fn audit(&mut self) {
        while let Some(event) = self.window.pop_event() {
            match event {
                Event::Delivered(item) => {
                    let n = item.message.0;
                    assert!(self.ticket(n).may_have_been_seen(), "delivered unsent");
                    self.end(n, "delivered");
                }
                Event::Dropped(item, reason) => {
                    let n = item.message.0;
                    let seen = self.ticket(n).may_have_been_seen();
                    assert_eq!(seen, matches!(reason, DropReason::Interrupted(_)), "{n}: {reason}");
                    self.end(n, "dropped");
                }
                event => panic!("{event:?}"),
            }
        }
        let kept = self.kept();
        for (n, (_, _, ticket)) in &self.accepted {
            let silent = ticket.may_have_been_seen() && (ticket.is_cancelled() || ticket.phase() == Phase::Settled);
            let (kept, ended) = (kept.contains_key(n), self.ended.contains_key(n));
            assert!(!(kept && ended), "{n} is kept and has ended");
            assert!(kept || ended || silent, "{n} is lost");
        }
        let bytes: usize = kept.keys().map(|n| self.accepted[n].0).sum();
        let stats = self.window.stats();
        assert_eq!((stats.in_flight, stats.bytes), (kept.len(), bytes));
        assert_eq!(self.window.is_full(), kept.len() >= 10 || bytes >= 200);
        assert!(kept.len() <= 10 && bytes < 200 + 40, "the window is bounded");
        assert_eq!(self.window.index.len(), kept.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn whatever_happens(ops in prop::collection::vec(op(), 0..80)) {
        let limits = Limits { messages: 10, bytes: 200, timeout: SECOND * 10, suspicions: u32::MAX, recorded_too: false };
        let mut world = World {
            now: Instant::now(),
            window: Window::new(limits),
            accepted: BTreeMap::new(),
            ended: BTreeMap::new(),
            epoch: 1,
            broken: false,
            last: None,
        };
        for (n, op) in ops.into_iter().enumerate() {
            world.step(n as u64, op);
            world.audit();
        }
        world.window.end(None);
        world.audit();
        prop_assert!(world.window.kept.len() == 0 && world.window.due.is_empty());
    }
}

#[test]
fn a_late_acknowledgement_is_not_taken_for_anothers() {
    let now = Instant::now();
    let mut window = Window::new(Limits {
        messages: 10,
        bytes: 200,
        timeout: SECOND,
        suspicions: 3,
        recorded_too: false,
    });
    window.accept(now, 7, Outgoing::new((0_u64, 7_u8)), 1);
    let (_, item) = window.next_due(now, &mut Plain).unwrap();
    assert!(item.ticket.unwrap().mark_sent());
    window.expire(now + SECOND);
    assert!(matches!(
        window.pop_event(),
        Some(Event::Dropped(_, DropReason::Interrupted(_)))
    ));
    window.accept(now, 7, Outgoing::new((1, 7)), 1);
    assert!(matches!(
        window.pop_event(),
        Some(Event::Dropped(_, DropReason::Refused(_)))
    ));
    window.acknowledged(now, Keys::One(7), true);
    assert_eq!(
        (window.stats().late, window.stats().unmatched, window.has_events()),
        (1, 0, false)
    );
}

#[test]
fn what_a_store_keeps_is_sent_for_ever_unless_it_is_not_to_be() {
    let gone = Failure::new(FailureKind::Network, "gone");
    for (recorded_too, connections) in [(false, 100), (true, 3)] {
        let limits = Limits {
            messages: 10,
            bytes: 200,
            timeout: SECOND * 1000,
            suspicions: 3,
            recorded_too,
        };
        let (now, mut window) = (Instant::now(), Window::new(limits));
        let mut item = Outgoing::new((0_u64, 7_u8)).replay(Replay::Safe);
        item.record = std::num::NonZeroU64::new(5);
        window.accept(now, 7, item, 1);
        let mut sent = 0;
        while let Some((_, item)) = window.next_due(now, &mut Plain).filter(|_| sent < 100) {
            let ticket = item.ticket.unwrap();
            sent += 1;
            ticket.enter(sent);
            assert!(ticket.mark_sent());
            window.down(&gone, &Plain);
        }
        assert_eq!((sent, window.has_events()), (connections, recorded_too));
    }
}

/// Below it is somebody else's: whoever gave it up here would say of a message that may still be sent
/// that it was not.
#[test]
fn what_is_below_and_not_sent_is_not_given_up_for_its_age() {
    let now = Instant::now();
    let mut window = Window::new(Limits {
        messages: 10,
        bytes: 200,
        timeout: SECOND,
        suspicions: 3,
        recorded_too: false,
    });
    window.accept(now, 7, Outgoing::new((0_u64, 7_u8)), 1);
    window.next_due(now, &mut Plain).unwrap();
    window.expire(now + SECOND * 2);
    assert!(!window.has_events());
    assert!(window.returned(&7, DropReason::Disconnected));
    assert!(matches!(
        window.pop_event(),
        Some(Event::Dropped(_, DropReason::Expired))
    ));
    assert!(!window.has_due());
}

/// An outage that is over is not why something is given up later.
#[test]
fn a_connection_that_is_up_has_no_cause() {
    let (now, limits) = (
        Instant::now(),
        Limits {
            messages: 10,
            bytes: 200,
            timeout: SECOND,
            suspicions: 3,
            recorded_too: false,
        },
    );
    let mut window = Window::new(limits);
    window.down(&Failure::new(FailureKind::Network, "gone"), &Plain);
    window.up();
    window.accept(now, 7, Outgoing::new((0_u64, 7_u8)), 1);
    let (_, item) = window.next_due(now, &mut Plain).unwrap();
    assert!(item.ticket.unwrap().mark_sent());
    window.expire(now + SECOND);
    let Some(Event::Dropped(_, DropReason::Interrupted(cause))) = window.pop_event() else {
        panic!("it is given up")
    };
    assert_eq!(cause.map(|cause| cause.to_string()), None);
}

#[test]
fn the_room_that_many_took_is_given_back_once_their_time_is_over() {
    let now = Instant::now();
    let mut window = Window::new(Limits {
        messages: 1000,
        bytes: 1000,
        timeout: SECOND,
        suspicions: 3,
        recorded_too: false,
    });
    for key in 0..100 {
        window.accept(now, key, Outgoing::new((0_u64, key)), 1);
        let (_, item) = window.next_due(now, &mut Plain).unwrap();
        assert!(item.ticket.unwrap().mark_sent());
    }
    window.acknowledged(now, Keys::UpTo(100), false);
    assert_eq!(
        (window.stats().in_flight, window.next_timeout()),
        (0, Some(now + SECOND))
    );
    assert!(window.kept.capacity() > 0 && window.index.capacity() > 0);
    window.expire(now + SECOND);
    assert_eq!((window.kept.capacity(), window.index.capacity()), (0, 0));
    assert_eq!(window.next_timeout(), None);
}

#[test]
fn what_a_whole_window_leaves_to_tell_takes_no_room_once_told() {
    let now = Instant::now();
    let mut window = Window::new(Limits {
        messages: 1000,
        bytes: 1000,
        timeout: SECOND,
        suspicions: 3,
        recorded_too: false,
    });
    for key in 0..200 {
        window.accept(now, key, Outgoing::new((0_u64, key)), 1);
    }
    window.end(None);
    let told = std::iter::from_fn(|| window.pop_event()).count();
    assert_eq!(told, 200);
    assert_eq!(window.events.capacity(), 0);
}
