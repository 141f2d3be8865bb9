//! The whole stack over a network that a seed decides: partitions, crashes, held and slow links, servers that
//! refuse, drop, flood and forget, tokens that expire, clocks that jump; calls, plain messages, and acknowledged ones in each
//! mode; one server or two; queues with little room. What the client says of each message is held against what the servers
//! applied, what it keeps against the bounds that it was given.
//!
//! ```text
//! cargo test --test simulation                                  # 200 worlds, from 0
//! TOWER_WS_WORLDS=20000 cargo test --test simulation            # more of them
//! TOWER_WS_FIRST_WORLD=12345 cargo test --test simulation       # others
//! SEED=12445 cargo test --test simulation -- --nocapture        # one, with its faults and its log
//! ```
//!
//! A network of turmoil's does not send again what it has lost: whatever a partition swallows is missing in the
//! stream for good, so that both ends wait, as they do when a peer has vanished. Links that are held and released
//! delay, and lose nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod account;
mod acknowledged;
mod bounds;
mod calls;
mod dial;
mod faults;
mod fleet;
mod messages;
mod server;
mod subscription;
mod world;

use std::{env, panic, thread, time::Duration};

use crate::{
    faults::{Kind, Plan},
    world::World,
};

/// How long a simulated world lasts at most: the faults, and what the stack has to recover.
const LIFE: Duration = Duration::from_secs(900);

/// From the last fault to an answer: 40 s until a silent peer is noticed, 30 s of backoff, twice a dial of 10 s
/// that hangs, and the 10 s that a server may have asked for, with what is put on top.
const RECOVERS: Duration = Duration::from_secs(105);

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// Plays one world, and says what its client has to account for: the same each time.
fn play(seed: u64) -> String {
    let world = World::new(seed);
    let plan = Plan::of(seed);
    // Jitter and the like: the world's own thread draws the same each time.
    fastrand::seed(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(LIFE)
        .tick_duration(Duration::from_millis(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(plan.latency)
        // turmoil ends a process that reads too slowly; what is tested here is not that.
        .tcp_capacity(1 << 20)
        .enable_random_order()
        .build();
    let book = world.clone();
    sim.host(server::NAME, move || server::run(book.clone(), server::NAME));
    if plan.has_standby {
        let book = world.clone();
        sim.host(server::STANDBY, move || server::run(book.clone(), server::STANDBY));
    }
    let (book, clients) = (world.clone(), plan.clone());
    sim.client("client", async move {
        match clients.kind {
            Kind::Calls => calls::run(book, clients).await,
            Kind::Messages => messages::run(book, clients).await,
            Kind::Acknowledged(mode) => acknowledged::run(book, clients, mode).await,
        }
        Ok(())
    });

    let mut faults = plan.faults.into_iter().peekable();
    loop {
        let now = sim.elapsed();
        while let Some(fault) = faults.next_if(|fault| fault.at <= now) {
            world.log(now, &(fault.server, fault.what));
            fault.what.happen(fault.server, &mut sim, &world);
        }
        if sim.step().unwrap_or_else(|error| panic!("{error}")) {
            break;
        }
    }
    drop(sim);
    account::check(&world);
    world.fingerprint()
}

/// Plays these worlds on as many threads as there are cores.
fn play_all(first: u64, count: u64) {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    thread::scope(|scope| {
        for offset in 0..threads {
            scope.spawn(move || {
                for seed in (first + offset..first + count).step_by(threads as usize) {
                    if let Err(why) = panic::catch_unwind(|| play(seed)) {
                        eprintln!(
                            "world {seed} went wrong; again: SEED={seed} cargo test --test simulation -- --nocapture"
                        );
                        panic::resume_unwind(why);
                    }
                }
            });
        }
    });
}

#[test]
fn each_message_is_accounted_for_in_every_world() {
    match number("SEED") {
        Some(seed) => {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .without_time()
                .init();
            play(seed);
        }
        None => play_all(
            number("TOWER_WS_FIRST_WORLD").unwrap_or(0),
            number("TOWER_WS_WORLDS").unwrap_or(200),
        ),
    }
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 0..4 {
        assert_eq!(play(seed), play(seed), "world {seed}");
    }
}
