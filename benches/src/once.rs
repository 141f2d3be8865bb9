//! One kind, for a given number of replies, and nothing measured: for tools that count from
//! outside, such as callgrind, strace and perf.
//!
//! What a reply costs is the difference between two runs, so that connecting and ending do not
//! count.

use std::sync::Arc;

use crate::BoxError;
use crate::args::Serving;
use crate::kind::{Kind, Target};
use crate::load::Load;
use crate::meter::Meter;
use crate::payload::Payloads;
use crate::peer::Peer;
use crate::runtime;

/// What to run.
#[derive(Debug)]
pub(crate) struct Once {
    pub(crate) kind: Kind,
    pub(crate) load: Load,
    /// How many replies, at least: the last of them come together.
    pub(crate) replies: u64,
}

/// Runs it and prints how many replies there were.
pub(crate) fn run(once: &Once) -> Result<(), BoxError> {
    let peer = Peer::spawn(Serving::default())?;
    let target = Target {
        address: peer.address(),
        window: once.load.window,
        payloads: Arc::new(Payloads::new(once.load.size)),
    };
    let meter = Meter::new(once.load);
    runtime::of(once.kind)?.block_on(async {
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
