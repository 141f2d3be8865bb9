//! A thousand clients of one server, which restarts: they are all back soon, and never all at once.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::{
    dial::{URL, auth, connector},
    server,
    world::World,
};

const CLIENTS: usize = 1_000;

/// Any two dials of the whole fleet within this time count as at once.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Connects everybody, lets this happen, and says when the last was back and how many came at once.
fn restart(happens: impl Fn(&mut turmoil::Sim<'_>, &World, Duration)) -> (Duration, usize) {
    let world = World::new(0);
    fastrand::seed(7);
    let mut sim = turmoil::Builder::new()
        .rng_seed(7)
        .simulation_duration(Duration::from_secs(120))
        .tick_duration(Duration::from_millis(10))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(4_096)
        .build();
    let book = world.clone();
    sim.host(server::NAME, move || server::run(book.clone(), server::NAME));
    let book = world.clone();
    sim.client("client", async move {
        let sessions = (0..CLIENTS).map(|n| {
            let builder = tower_ws::builder(URL).connector(connector(&book)).auth(auth(&book));
            async move {
                // Not this is what is counted.
                sleep(Duration::from_millis(n as u64 * 5)).await;
                builder.connect().await.unwrap()
            }
        });
        let _sessions = join_all(sessions).await;
        std::future::pending().await
    });
    let mut before = Duration::ZERO;
    while world.connections() < 2 * CLIENTS {
        assert!(
            sim.elapsed() < Duration::from_secs(60),
            "{} are back",
            world.connections() - CLIENTS
        );
        happens(&mut sim, &world, before);
        before = sim.elapsed();
        sim.step().unwrap();
    }
    let back = sim.elapsed();
    let dials = world.open().dials.clone();
    let most = dials[CLIENTS..].iter().enumerate().map(|(n, first)| {
        let at_once = dials[CLIENTS + n..].iter().take_while(|&&dial| dial - *first < AT_ONCE);
        at_once.count()
    });
    (back, most.max().unwrap())
}

const FALLS: Duration = Duration::from_secs(15);

#[test]
fn all_are_back_within_seconds_of_a_restart() {
    let returns = FALLS + Duration::from_secs(2);
    let (back, at_once) = restart(|sim, _, before| {
        let crosses = |moment| before < moment && moment <= sim.elapsed();
        match (crosses(FALLS), crosses(returns)) {
            (true, _) => sim.crash(server::NAME),
            (_, true) => sim.bounce(server::NAME),
            _ => {}
        }
    });
    let took = back - returns;
    assert!(took <= Duration::from_secs(3), "the last is back after {took:?}");
    // All have waited for the same dead server, which ends their dials in one moment; the next are spread over
    // half a second.
    assert!(at_once <= CLIENTS / 4, "{at_once} came at once");
}

#[test]
fn who_is_told_of_a_restart_takes_time() {
    let (back, at_once) = restart(|sim, world, before| {
        if before < FALLS && FALLS <= sim.elapsed() {
            world.kick(Some(1012));
        }
    });
    let took = back - FALLS;
    assert!(took <= Duration::from_secs(16), "the last is back after {took:?}");
    assert!(at_once <= CLIENTS / 20, "{at_once} came at once");
}
