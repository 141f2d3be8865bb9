//! What a hostile server does, and when.

use std::time::Duration;

/// The whole of it. Times run from when the first connection is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Nobody listens until then, counted from the start.
    pub(crate) opens_after: Duration,
    /// What the first connection gets; all others are served.
    pub(crate) first: Conduct,
    /// When all that are up are ended, and how.
    pub(crate) cut: Option<(Duration, Cut)>,
    /// Nobody listens for so long after the cut.
    pub(crate) away: Duration,
    /// What those get that dial after the cut.
    pub(crate) later: Door,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            opens_after: Duration::ZERO,
            first: Conduct::Serve,
            cut: None,
            away: Duration::ZERO,
            later: Door::Open,
        }
    }
}

impl Plan {
    pub(super) fn reads_slowly(&self) -> bool {
        matches!(self.first, Conduct::Slow(_))
    }
}

/// What becomes of a connection that is up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Conduct {
    /// What is asked is answered.
    Serve,
    /// Served for so long; then nothing is read or written any more, and the connection stays.
    Mute(Duration),
    /// What is asked is executed, and not answered.
    Withhold,
    /// A second later so many pushes, all at once.
    Burst(u64),
    /// From a second later on, pushes of 1 KiB as fast as they go.
    Flood,
    /// Reads no more than so many bytes each second.
    Slow(usize),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// TCP's reset.
    Reset,
    /// TCP's end, without a close frame.
    Fin,
    /// A close frame with this code, then TCP's end.
    Close(u16),
}

/// What becomes of a dial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Door {
    /// It is served.
    Open,
    /// It is upgraded, and ended at once.
    Drop(Cut),
    /// The request is read, and the connection ended without an answer.
    HangUp,
    /// 503 for so long after the first such answer, with `Retry-After` each time; then served.
    Busy(Duration),
    /// 404 for so long after the cut; then served.
    NotFound(Duration),
    /// 401 for the token of the first connection, and served with another.
    NewToken,
}
