//! How far a dial has come: so that the words about one that hangs can name the step, and the next
//! one can begin with another address.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::time::Instant;

use crate::avoided::Avoided;

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
pub struct Stages(Arc<Dial>);

#[derive(Debug, Default)]
struct Dial {
    reached: AtomicU8,
    way: Mutex<Way>,
}

/// Which way a dial has taken.
#[derive(Debug, Default)]
struct Way {
    address: Option<IpAddr>,
    avoided: Option<Avoided>,
}

const STAGES: [Stage; 5] = [Stage::Begun, Stage::Resolved, Stage::Tcp, Stage::Proxy, Stage::Tunnel];

impl Stage {
    /// Says that this step of the dial is done within which it is called. Elsewhere it does nothing.
    pub fn note(self) {
        // Nobody watches: an error.
        let _ = DIAL.try_with(|stages| stages.0.reached.store(self as u8, Ordering::Relaxed));
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
        let last = usize::from(self.0.reached.load(Ordering::Relaxed));
        STAGES.get(last).copied().unwrap_or(Stage::Begun)
    }

    /// The dial ended well, or with an answer: the address is as good as any.
    pub fn answered(&self) {
        self.learn(Avoided::remove);
    }

    /// TCP came up, and nothing else did: of several addresses of the name, the next dial begins
    /// with another. It is remembered for 5 min, by the guard that resolved the name.
    pub fn unanswered(&self) {
        self.learn(|avoided, address| avoided.add(address, Instant::now()));
    }

    /// The name was resolved by somebody who can [learn](Self::unanswered).
    pub(crate) fn note_resolved(avoided: &Avoided) {
        Stage::Resolved.note();
        Self::note_way(|way| way.avoided = Some(avoided.clone()));
    }

    /// TCP is up to this address.
    pub(crate) fn note_connected(address: Option<IpAddr>) {
        Stage::Tcp.note();
        Self::note_way(|way| way.address = address);
    }

    fn note_way(note: impl FnOnce(&mut Way)) {
        // Nobody watches: an error.
        let _ = DIAL.try_with(|stages| note(&mut stages.0.way.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    fn learn(&self, lesson: impl FnOnce(&Avoided, IpAddr)) {
        let way = self.0.way.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(avoided), Some(address)) = (&way.avoided, way.address) {
            lesson(avoided, address);
        }
    }
}
