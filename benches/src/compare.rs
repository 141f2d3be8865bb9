//! Runs all kinds in every cell, in a new order each time.

use std::sync::Arc;

use tokio::runtime;

use crate::BoxError;
use crate::args::{Plan, Serving};
use crate::kind::{Kind, Target};
use crate::meter::{Meter, Sample, Timing};
use crate::payload::Payloads;
use crate::peer::Peer;
use crate::pin::{self, Cores};
use crate::report::Cell;

/// Measures what the plan asks for, printing each cell when it is done.
pub(crate) fn run(plan: &Plan) -> Result<Vec<Cell>, BoxError> {
    let cores = Cores::find();
    let peer = Peer::spawn(Serving {
        core: cores.map(|cores| cores.peer),
        sleeps: plan.peer_sleeps,
    })?;
    match cores {
        Some(cores) => {
            pin::this_thread(cores.client)?;
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
    for &size in &plan.sizes {
        let payloads = Arc::new(Payloads::new(size));
        for &window in &plan.windows {
            let target = Target {
                address: peer.address(),
                window,
                payloads: payloads.clone(),
            };
            let cell = Cell::new(size, window, repeat(plan, &target, peer.id())?);
            println!("{cell}");
            cells.push(cell);
        }
    }
    Ok(cells)
}

fn repeat(plan: &Plan, target: &Target, peer: u32) -> Result<Vec<(&'static str, Vec<Sample>)>, BoxError> {
    let mut results: Vec<_> = plan.kinds.iter().map(|kind| (kind.name, Vec::new())).collect();
    let mut order: Vec<usize> = (0..plan.kinds.len()).collect();
    for _ in 0..plan.repetitions {
        fastrand::shuffle(&mut order);
        for &at in &order {
            let kind = plan.kinds[at];
            let sample =
                measure(kind, target.clone(), plan.timing, peer).map_err(|error| format!("{}: {error}", kind.name))?;
            results[at].1.push(sample);
        }
    }
    Ok(results)
}

/// One run, in a runtime of its own, whose end takes every task of the client with it.
fn measure(kind: Kind, target: Target, timing: Timing, peer: u32) -> Result<Sample, BoxError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let meter = Meter::default();
        // A task of its own, so that the client does not share its wake-ups with the clock.
        let client = tokio::spawn((kind.run)(target, meter.clone()));
        tokio::select! {
            sample = meter.sample(timing, peer) => sample,
            ended = client => match ended? {
                Err(error) => Err(error),
                Ok(never) => match never {},
            },
        }
    })
}
