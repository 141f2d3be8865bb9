//! What befalls a world, and when: drawn from its seed.

use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use crate::{
    server::NAME,
    world::{Mood, World},
};

/// What a world is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// JSON-RPC calls; or plain messages.
    pub(crate) calls: bool,
    pub(crate) callers: usize,
    /// There is a subscription, which is told of something all the time.
    pub(crate) subscribes: bool,
    /// Of each message on the way, at most.
    pub(crate) latency: Duration,
    pub(crate) faults: Vec<Fault>,
    /// When all is well again, for good.
    pub(crate) calm_from: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
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
    pub(crate) fn happen(self, sim: &mut Sim<'_>, world: &World) {
        match self {
            Self::Partition => sim.partition("client", NAME),
            Self::Deafen => sim.partition_oneway(NAME, "client"),
            Self::Silence => sim.partition_oneway("client", NAME),
            Self::Hold => sim.hold("client", NAME),
            Self::Release => sim.release("client", NAME),
            Self::Repair => sim.repair("client", NAME),
            Self::Crash => sim.crash(NAME),
            Self::Restart => sim.bounce(NAME),
            Self::Mood(mood) => world.open().mood = mood,
            Self::Kick(code) => world.kick(code),
            // Twice refused before a connection has lasted is final, and rightly so.
            Self::Expire if world.open().has_lasted(sim.elapsed()) => {
                world.open().token += 1;
                world.kick(Some(4401));
            }
            Self::Expire => {}
            Self::Flood(pushes) => world.flood(pushes),
            Self::Slow(latency) => sim.set_link_max_message_latency("client", NAME, latency),
            Self::Clock(seconds) => world.open().clock += seconds,
        }
    }
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let latency = Duration::from_millis(rng.choice([2, 20, 200]).unwrap());
        let mut faults = Vec::new();
        let mut now = Duration::from_secs(5);
        for _ in 0..rng.usize(1..8) {
            now += Duration::from_millis(rng.u64(0..15_000));
            let (begin, end) = Self::draw(&mut rng, latency);
            faults.extend(begin.into_iter().map(|what| Fault { at: now, what }));
            if !end.is_empty() {
                now += Duration::from_millis(*rng.choice(&[100, 1_000, 8_000, 30_000, 60_000]).unwrap());
                faults.extend(end.into_iter().map(|what| Fault { at: now, what }));
            }
        }
        Self {
            calls: rng.u8(0..4) > 0,
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
