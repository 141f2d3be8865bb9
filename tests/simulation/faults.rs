//! What befalls a world, and when: drawn from its seed.

use std::time::Duration;

use fastrand::Rng;
use tower_ws::queue::{Overflow, QueueLayer};
use turmoil::Sim;

use crate::{
    bounds::WINDOW,
    server::{NAME, STANDBY},
    world::{Mood, World},
};

/// What a world is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// There are two servers. Each fault befalls one of them.
    pub(crate) has_standby: bool,
    /// So little room in the queue, and what happens then.
    pub(crate) queue: Option<(usize, Overflow)>,
    pub(crate) callers: usize,
    /// There is a subscription, which is told of something all the time.
    pub(crate) subscribes: bool,
    /// Of each message on the way, at most.
    pub(crate) latency: Duration,
    pub(crate) faults: Vec<Fault>,
    /// When all is well again, for good.
    pub(crate) calm_from: Duration,
}

/// What the client sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// JSON-RPC.
    Calls,
    /// Plain messages.
    Messages,
    /// Messages that the server acknowledges.
    Acknowledged(Mode),
}

/// What acknowledging promises.
#[expect(clippy::enum_variant_names, reason = "so they are called")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    AtMostOnce,
    AtLeastOnce,
    /// At least once, with servers that remember.
    EffectOnce,
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    /// Which server it befalls.
    pub(crate) server: &'static str,
    pub(crate) what: What,
}

/// What happens at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// Nothing passes; what is on the way, and what follows, is lost.
    Partition,
    /// The same in one direction.
    Deafen,
    Silence,
    /// What is sent waits.
    Hold,
    Release,
    Repair,
    Crash,
    Restart,
    Mood(Mood),
    /// Everybody is sent away, with a close code or without one.
    Kick(Option<u16>),
    /// The token is good no more; who has shown it is sent away.
    Expire,
    Flood(usize),
    /// Messages take so long at most.
    Slow(Duration),
    /// The clock on the client's wall is set, by so many seconds.
    Clock(i64),
}

impl What {
    pub(crate) fn happen(self, server: &'static str, sim: &mut Sim<'_>, world: &World) {
        match self {
            Self::Partition => sim.partition("client", server),
            Self::Deafen => sim.partition_oneway(server, "client"),
            Self::Silence => sim.partition_oneway("client", server),
            Self::Hold => sim.hold("client", server),
            Self::Release => sim.release("client", server),
            Self::Repair => sim.repair("client", server),
            Self::Crash => sim.crash(server),
            Self::Restart => sim.bounce(server),
            Self::Mood(mood) => drop(world.open().moods.insert(server, mood)),
            Self::Kick(code) => world.kick(code),
            // Twice refused before a connection has lasted is final, and rightly so.
            Self::Expire if world.open().has_lasted(sim.elapsed()) => {
                world.open().token += 1;
                world.kick(Some(4401));
            }
            Self::Expire => {}
            Self::Flood(pushes) => world.flood(pushes),
            Self::Slow(latency) => sim.set_link_max_message_latency("client", server, latency),
            Self::Clock(seconds) => world.open().clock += seconds,
        }
    }
}

impl Plan {
    /// The client's queue.
    pub(crate) fn queue(&self) -> QueueLayer {
        match self.queue {
            Some((room, overflow)) => QueueLayer::new().messages(room).overflow(overflow),
            None => QueueLayer::new(),
        }
    }

    /// How many messages may be sent and not acknowledged.
    pub(crate) fn window(&self) -> Option<usize> {
        matches!(self.kind, Kind::Acknowledged(_)).then_some(WINDOW)
    }

    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let latency = Duration::from_millis(rng.choice([2, 20, 200]).unwrap());
        let kind = match rng.u8(0..8) {
            0 | 1 => Kind::Messages,
            2 | 3 => {
                let modes = [Mode::AtMostOnce, Mode::AtLeastOnce, Mode::EffectOnce];
                Kind::Acknowledged(rng.choice(modes).unwrap())
            }
            _ => Kind::Calls,
        };
        let has_standby = kind == Kind::Calls && rng.u8(0..4) == 0;
        let small = (
            rng.usize(1..16),
            rng.choice([Overflow::Wait, Overflow::Refuse, Overflow::DropOldest])
                .unwrap(),
        );
        let queue = (rng.u8(0..3) == 0).then_some(small);
        let mut faults = Vec::new();
        let mut now = Duration::from_secs(5);
        for _ in 0..rng.usize(1..8) {
            now += Duration::from_millis(rng.u64(0..15_000));
            let (begin, end) = Self::draw(&mut rng, latency);
            let server = if has_standby && rng.bool() { STANDBY } else { NAME };
            let fault = |at| move |what| Fault { at, server, what };
            faults.extend(begin.into_iter().map(fault(now)));
            if !end.is_empty() {
                now += Duration::from_millis(*rng.choice(&[100, 1_000, 8_000, 30_000, 60_000]).unwrap());
                faults.extend(end.into_iter().map(fault(now)));
            }
        }
        Self {
            kind,
            has_standby,
            queue,
            callers: rng.usize(1..8),
            subscribes: rng.bool(),
            latency,
            faults,
            calm_from: now,
        }
    }

    /// What begins, and what ends it.
    fn draw(rng: &mut Rng, latency: Duration) -> (Vec<What>, Vec<What>) {
        let mood = |rng: &mut Rng| {
            let refusal = rng.choice([503, 502, 429]).unwrap();
            let wait = rng.choice([None, Some(1), Some(8)]).unwrap();
            rng.choice([Mood::Drops, Mood::Mute, Mood::Refuses(refusal, wait), Mood::Fleeting])
                .unwrap()
        };
        let code = |rng: &mut Rng| {
            rng.choice([None, Some(1000), Some(1001), Some(1011), Some(1012)])
                .unwrap()
        };
        match rng.u8(0..14) {
            0 => (vec![What::Partition], vec![What::Repair]),
            1 => (vec![What::Deafen], vec![What::Repair]),
            2 => (vec![What::Silence], vec![What::Repair]),
            3 => (vec![What::Hold], vec![What::Release]),
            4 => (vec![What::Crash], vec![What::Restart]),
            5 => (
                vec![What::Mood(mood(rng)), What::Kick(code(rng))],
                vec![What::Mood(Mood::Good)],
            ),
            6 => (
                vec![What::Crash, What::Mood(mood(rng))],
                vec![What::Restart, What::Mood(Mood::Good)],
            ),
            7 => (vec![What::Kick(code(rng))], vec![]),
            8 => (vec![What::Expire], vec![]),
            9 => (vec![What::Flood(rng.usize(1..5_000))], vec![]),
            10 => (vec![What::Mood(Mood::Deaf)], vec![What::Mood(Mood::Good)]),
            11 => (vec![What::Slow(Duration::from_secs(3))], vec![What::Slow(latency)]),
            // A machine that sleeps: its clock runs on, and what came meanwhile waits for it.
            12 => (vec![What::Hold], vec![What::Clock(3_600), What::Release]),
            _ => (vec![What::Clock(rng.choice([-3_600, -3, 3, 3_600]).unwrap())], vec![]),
        }
    }
}
