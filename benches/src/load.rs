//! How much a client has to do at a time.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// What is in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Load {
    /// The payload of a message, in bytes.
    pub(crate) size: usize,
    /// How many messages are in flight at a time on each connection. With none, clients of calls
    /// are idle.
    pub(crate) window: u64,
    /// How many clients one process holds.
    pub(crate) connections: u64,
}

impl Load {
    /// On one connection.
    pub(crate) const fn new(size: usize, window: u64) -> Self {
        Self::on(1, size, window)
    }

    pub(crate) const fn on(connections: u64, size: usize, window: u64) -> Self {
        Self {
            size,
            window,
            connections,
        }
    }

    /// Whether each reply can be told from the next by when it comes.
    pub(crate) fn is_sequential(self) -> bool {
        self.window == 1 && self.connections == 1
    }
}

impl Display for Load {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.window {
            0 => write!(f, "idle")?,
            window => write!(f, "{} B x {window}", self.size)?,
        }
        match self.connections {
            1 => Ok(()),
            many => write!(f, ", {many} connections"),
        }
    }
}
