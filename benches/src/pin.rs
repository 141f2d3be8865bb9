//! Which core runs what.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores of the peer and of the client, if this process may use two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) client: usize,
    pub(crate) peer: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn find() -> Option<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
        Some(Self {
            peer: cores.next()?,
            client: cores.next()?,
        })
    }
}

/// Pins this thread, and the threads that it starts from now on, to these cores.
pub(crate) fn this_thread(to: &[usize]) -> nix::Result<()> {
    let mut cores = CpuSet::new();
    for &core in to {
        cores.set(core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &cores)
}
