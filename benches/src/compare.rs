//! Runs all kinds in every cell, in a new order each time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::BoxError;
use crate::args::{Measured, Plan, Serving};
use crate::drive::calls;
use crate::kind::{Kind, Target};
use crate::load::Load;
use crate::meter::{self, Meter, Sample, Timing};
use crate::payload::Payloads;
use crate::peer::Peer;
use crate::pin::{self, Cores};
use crate::report::Cell;
use crate::runtime;

/// So many connections are opened at once: of more, some would not fit into the peer's queue and be
/// dialled again seconds later.
const AT_ONCE: usize = 50;
/// How far apart those are opened that get no reply.
const APART: Duration = Duration::from_millis(50);
/// Longer than the pings of an idle session are apart.
const IDLE: Timing = Timing {
    warm_up: Duration::from_secs(5),
    run: Duration::from_secs(60),
};

/// Measures what the plan asks for, printing each cell when it is done.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Cell>, BoxError> {
    let cores = Cores::find();
    match cores {
        Some(cores) => {
            println!("Client on core {}, peer on core {}.", cores.client, cores.peer);
        }
        None => {
            println!("Not pinned: fewer than two cores, or no way to choose. Distrust the rates.");
        }
    }
    println!(
        "{} runs of {} ms for each kind in each cell, in random order.\n",
        plan.repetitions,
        plan.timing.run.as_millis()
    );

    let mut cells = Vec::new();
    for Measured { load, kinds } in &plan.cells {
        let cell = Cell::new(*load, repeat(plan, *load, kinds, cores)?);
        println!("{cell}");
        cells.push(cell);
    }
    Ok(cells)
}

fn repeat(
    plan: &Plan,
    load: Load,
    kinds: &[Kind],
    cores: Option<Cores>,
) -> Result<Vec<(&'static str, Vec<Sample>)>, BoxError> {
    let peer = Peer::spawn(Serving {
        core: cores.map(|cores| cores.peer),
        // Many that spin would keep each other from the core.
        sleeps: plan.peer_sleeps || load.connections > 1,
    })?;
    let target = Target {
        address: peer.address(),
        window: load.window,
        payloads: Arc::new(Payloads::new(load.size)),
    };
    let (timing, repetitions) = match load.window {
        0 => (IDLE, 1),
        _ => (plan.timing, plan.repetitions),
    };
    let mut results: Vec<_> = kinds.iter().map(|kind| (kind.name, Vec::new())).collect();
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    for _ in 0..repetitions {
        fastrand::shuffle(&mut order);
        for &at in &order {
            let kind = kinds[at];
            if let Some(Cores { client, peer }) = cores {
                let all = [client, peer];
                pin::this_thread(&all[..kind.threads.min(2)])?;
            }
            let sample = measure(kind, load, &target, timing, peer.id())
                .map_err(|error| format!("{} at {load}: {error}", kind.name))?;
            results[at].1.push(sample);
        }
    }
    Ok(results)
}

/// One run, in a runtime of its own, whose end takes every task of the client with it.
fn measure(kind: Kind, load: Load, target: &Target, timing: Timing, peer: u32) -> Result<Sample, BoxError> {
    runtime::of(kind)?.block_on(async {
        let meters: Vec<Meter> = (0..load.connections).map(|_| Meter::new(load)).collect();
        // Tasks of their own, so that a client does not share its wake-ups with the clock.
        let mut clients = JoinSet::new();
        for meters in meters.chunks(AT_ONCE) {
            for meter in meters {
                clients.spawn((kind.run)(target.clone(), meter.clone()));
            }
            if load.window == 0 {
                sleep(APART).await;
                continue;
            }
            tokio::select! {
                up = meter::all_up(meters) => up?,
                Some(ended) = clients.join_next() => match ended?? {},
            }
        }
        tokio::select! {
            sample = meter::sample(&meters, load, timing, peer) => sample,
            ended = calls::first_failure(clients) => match ended {
                Err(error) => Err(error),
                Ok(never) => match never {},
            },
        }
    })
}
