//! One kind, for a given number of replies, and nothing measured: for tools that count from
//! outside, such as callgrind, strace and perf.
//!
//! What a reply costs is the difference between two runs, so that connecting and ending do not
//! count.

use std::sync::Arc;

use tokio::runtime;

use crate::BoxError;
use crate::args::Serving;
use crate::kind::{Kind, Target};
use crate::meter::Meter;
use crate::payload::Payloads;
use crate::peer::Peer;

/// What to run.
#[derive(Debug)]
pub(crate) struct Once {
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    pub(crate) window: u64,
    /// How many replies, at least: the last of them come together.
    pub(crate) replies: u64,
}

/// Runs it and prints how many replies there were.
pub(crate) fn run(once: &Once) -> Result<(), BoxError> {
    let peer = Peer::spawn(Serving::default())?;
    let target = Target {
        address: peer.address(),
        window: once.window,
        payloads: Arc::new(Payloads::new(once.size)),
    };
    let meter = Meter::default();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            ended = (once.kind.run)(target, meter.clone()) => match ended {
                Err(error) => Err(error),
                Ok(never) => match never {},
            },
            () = meter.reached(once.replies) => Ok(()),
        }
    })?;
    println!("{}", meter.total());
    Ok(())
}
