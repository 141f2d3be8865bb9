//! How far a dial has come: so that the words about one that hangs can name the step.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

tokio::task_local! {
    static DIAL: Stages;
}

/// A step of a dial that is done. The connectors of this crate [note](Stage::note) theirs, and so
/// can one of your own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Nothing is done yet.
    Begun,
    /// The name has an address: the target's or a proxy's.
    Resolved,
    /// TCP is up, to the target or to a proxy.
    Tcp,
    /// The proxy is reached, TLS to it included.
    Proxy,
    /// The proxy's tunnel to the target is up.
    Tunnel,
}

/// Which steps a dial has behind it, while it is [watched](Self::watch). Clones watch the same.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_ws_connector::{Stage, Stages};
///
/// let stages = Stages::new();
/// stages.watch(async { Stage::Tcp.note() }).await;
/// assert_eq!(stages.reached(), Stage::Tcp);
/// assert_eq!(stages.reached().waits_for(), "tcp was up, tls was waited for");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stages(Arc<AtomicU8>);

const STAGES: [Stage; 5] = [Stage::Begun, Stage::Resolved, Stage::Tcp, Stage::Proxy, Stage::Tunnel];

impl Stage {
    /// Says that this step of the dial is done within which it is called. Elsewhere it does nothing.
    pub fn note(self) {
        // Nobody watches: an error.
        let _ = DIAL.try_with(|stages| stages.0.store(self as u8, Ordering::Relaxed));
    }

    /// What is done, and what has begun.
    pub fn waits_for(self) -> &'static str {
        match self {
            Self::Begun => "its name was looked up, or tcp was waited for",
            Self::Resolved => "its name has an address, tcp was waited for",
            Self::Tcp => "tcp was up, tls was waited for",
            Self::Proxy => "the proxy was reached, its tunnel was waited for",
            Self::Tunnel => "the proxy's tunnel was up, tls was waited for",
        }
    }
}

impl Stages {
    /// Of a dial that is about to begin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a dial; what is noted within is noted here.
    pub async fn watch<F: Future>(&self, dial: F) -> F::Output {
        DIAL.scope(self.clone(), dial).await
    }

    /// The last step that is done.
    pub fn reached(&self) -> Stage {
        let last = usize::from(self.0.load(Ordering::Relaxed));
        STAGES.get(last).copied().unwrap_or(Stage::Begun)
    }
}
