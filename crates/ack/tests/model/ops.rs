//! What may happen, and how likely it is.

use proptest::{collection::vec, prelude::*, strategy::Union};
use tower_ws_core::Replay;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    AtMostOnce,
    AtLeastOnce,
    /// With a peer that knows what it has seen.
    EffectOnce,
    /// As each message says.
    Mixed,
}

/// What the acknowledgements are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// Bare ones, of keys in no order.
    Bare,
    /// Cumulative ones.
    Sequence,
    /// JSON-RPC replies.
    Reply,
    /// The same, where what goes again has a new id.
    FreshIds,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Send {
        replay: Replay,
        key: Key,
        /// In seconds.
        deadline: Option<u64>,
        moment: Moment,
    },
    /// One that awaits nothing.
    Notify(Moment),
    /// The peer acknowledges something that it has received, lately or some time ago, or something
    /// unknown.
    Acknowledgement(Which),
    /// The connection takes so many more messages.
    Takes(usize),
    /// What is written from here on does not arrive.
    Deaf,
    Up {
        takes: usize,
    },
    Down {
        too_big: bool,
    },
    /// Lost, found, and lost again when it has taken so many.
    Stumble(usize),
    Wait(u64),
    Cancel(usize),
    /// The peer restarts; it keeps what it remembers.
    Restart,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    New,
    /// That of another message that is under way or was given up.
    Taken(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Calm,
    /// The connection breaks after it was ready.
    Broken,
    /// The same, and its end is there to be read.
    Lost,
    /// The same, and its end has been read.
    Stale,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    UnderWay(usize),
    Earlier(usize),
    /// Of what was given up.
    Late(usize),
    /// Of what is still to be sent: the peer cannot mean it.
    Unsent(usize),
    Unknown,
}

pub(crate) fn ops(mode: Mode, protocol: Protocol) -> impl Strategy<Value = Vec<Op>> {
    // With cancellations less can be foretold, so half of the sequences have none.
    prop_oneof![
        vec(op(mode, false), 0..90),
        vec(op(mode, protocol != Protocol::FreshIds), 0..90)
    ]
}

fn op(mode: Mode, cancels: bool) -> impl Strategy<Value = Op> {
    let replay = match mode {
        Mode::AtMostOnce => prop_oneof![Just(Replay::Unknown), Just(Replay::Unsafe)].boxed(),
        Mode::AtLeastOnce | Mode::EffectOnce => prop_oneof![Just(Replay::Unknown), Just(Replay::Safe)].boxed(),
        Mode::Mixed => prop_oneof![Just(Replay::Unknown), Just(Replay::Unsafe), Just(Replay::Safe)].boxed(),
    };
    let key = prop_oneof![12 => Just(Key::New), 1 => any::<usize>().prop_map(Key::Taken)];
    let which = prop_oneof![
        5 => any::<usize>().prop_map(Which::UnderWay),
        2 => any::<usize>().prop_map(Which::Earlier),
        3 => any::<usize>().prop_map(Which::Late),
        1 => any::<usize>().prop_map(Which::Unsent),
        1 => Just(Which::Unknown),
    ];
    let send = (replay, key, prop::option::weighted(0.1, 0..9u64), moment());
    let send = send.prop_map(|(replay, key, deadline, moment)| Op::Send {
        replay,
        key,
        deadline,
        moment,
    });
    let give_up = move |which| if cancels { Op::Cancel(which) } else { Op::Wait(1) };
    let takes = || prop_oneof![1 => 0..4usize, 1 => Just(99)];
    Union::new_weighted(vec![
        (14, send.boxed()),
        (1, moment().prop_map(Op::Notify).boxed()),
        (7, which.prop_map(Op::Acknowledgement).boxed()),
        (2, takes().prop_map(Op::Takes).boxed()),
        (1, Just(Op::Deaf).boxed()),
        (5, takes().prop_map(|takes| Op::Up { takes }).boxed()),
        (
            3,
            prop::bool::weighted(0.1)
                .prop_map(|too_big| Op::Down { too_big })
                .boxed(),
        ),
        (1, (1..4usize).prop_map(Op::Stumble).boxed()),
        (3, (0..6u64).prop_map(Op::Wait).boxed()),
        (2, any::<usize>().prop_map(give_up).boxed()),
        (1, Just(Op::Restart).boxed()),
    ])
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![20 => Just(Moment::Calm), 1 => Just(Moment::Broken), 1 => Just(Moment::Lost), 1 => Just(Moment::Stale)]
}
