//! What a client under test is, and what it is driven against.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::BoxError;
use crate::meter::Meter;
use crate::payload::Payloads;

/// Drives one client until it is dropped. It yields only if something is wrong.
pub(crate) type Run = Pin<Box<dyn Future<Output = Result<Infallible, BoxError>> + Send>>;

/// A client under test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Of its runtime.
    pub(crate) threads: usize,
    /// Connects, keeps the window full, and counts the replies that it has checked.
    pub(crate) run: fn(Target, Meter) -> Run,
}

/// What a client is driven against, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// How many messages are in flight at a time on each connection.
    pub(crate) window: u64,
    pub(crate) payloads: Arc<Payloads>,
}

// === impl Kind ===

impl Kind {
    /// The same client, on two threads.
    pub(crate) const fn threaded(self, name: &'static str) -> Self {
        Self {
            name,
            threads: 2,
            run: self.run,
        }
    }
}
