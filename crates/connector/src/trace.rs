//! What a dial has done so far: so that the words about one that hangs can name the step, the next
//! one can begin with another address, and whoever looks for a fault sees each step.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use crate::avoided::Avoided;
#[cfg(feature = "tls")]
use crate::tls::{Chain, Negotiated};

tokio::task_local! {
    static DIAL: Trace;
}

/// A step of a dial that is done. The connectors of this crate [note](Stage::note) theirs, and so
/// can one of your own.
///
/// Those up to [`Proxy`](Self::Proxy) are of the way to the proxy, if there is one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// A host is dialled, which no guard refused, and looked up unless it is an address.
    Begun {
        /// Without brackets, if it is an IPv6 address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The name has these addresses that may be dialled, in the order in which they are tried.
    Resolved(Vec<IpAddr>),
    /// TCP is up, to the target or to a proxy; to this address, if the system says so.
    Tcp(Option<SocketAddr>),
    /// The proxy is reached, TLS to it included.
    Proxy,
    /// The proxy's tunnel to the target is up.
    Tunnel,
    /// The server has shown these certificates. Whether they are good is judged next.
    #[cfg(feature = "tls")]
    Certificates(Chain),
    /// TLS is up.
    #[cfg(feature = "tls")]
    Tls(Negotiated),
    /// The server has answered the upgrade.
    Answered(StatusCode),
}

/// A stage, and when it was reached.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What is done.
    pub stage: Stage,
    /// How long after the dial began.
    pub after: Duration,
}

/// Which steps a dial has behind it, while it is [watched](Self::watch). Clones watch the same.
///
/// The transport watches each of its dials. Whoever watches around it sees what it sees:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_ws_connector::{Stage, Trace};
///
/// let trace = Trace::new();
/// trace.watch(async { Stage::Tcp(None).note() }).await;
/// assert_eq!(trace.steps()[0].stage, Stage::Tcp(None));
/// assert_eq!(trace.waits_for(), "tcp was up, tls was waited for");
/// # }
/// ```
///
/// It holds what is public: names, addresses, certificates. Of several dials within one watch the
/// last is seen.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Dial>>);

#[derive(Debug)]
struct Dial {
    began: Instant,
    steps: Vec<Step>,
    /// Learns which addresses do not answer.
    avoided: Option<Avoided>,
}

impl Stage {
    /// Says that this step of the dial is done within which it is called. Elsewhere it does nothing,
    /// and after [`Trace::LIMIT`] steps neither.
    pub fn note(self) {
        Trace::note(|dial| dial.add(self));
    }

    /// What is done, and what has begun.
    fn waits_for(&self) -> &'static str {
        match self {
            Self::Begun { .. } => NOTHING,
            Self::Resolved(_) => "its name has an address, tcp was waited for",
            Self::Tcp(_) => "tcp was up, tls was waited for",
            Self::Proxy => "the proxy was reached, its tunnel was waited for",
            Self::Tunnel => "the proxy's tunnel was up, tls was waited for",
            #[cfg(feature = "tls")]
            Self::Certificates(_) => "the server had shown its certificate, the rest of tls was waited for",
            #[cfg(feature = "tls")]
            Self::Tls(_) => "tls was up, the answer to the upgrade was waited for",
            Self::Answered(_) => "the server had answered, the rest of its answer was waited for",
        }
    }
}

const NOTHING: &str = "its name was looked up, or tcp was waited for";

impl Trace {
    /// How many steps of a dial are kept: 32. One of this crate's connectors has nine at most.
    pub const LIMIT: usize = 32;

    /// Of a dial that is about to begin.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Dial {
            began: Instant::now(),
            steps: Vec::new(),
            avoided: None,
        })))
    }

    /// Of a dial that begins now: the one that watches around it already, from its beginning; or a
    /// new one.
    pub fn begin() -> Self {
        let Ok(around) = DIAL.try_with(Self::clone) else {
            return Self::new();
        };
        *around.lock() = Dial {
            began: Instant::now(),
            steps: Vec::new(),
            avoided: None,
        };
        around
    }

    /// Runs a dial; what is noted within is noted here.
    pub async fn watch<F: Future>(&self, dial: F) -> F::Output {
        DIAL.scope(self.clone(), dial).await
    }

    /// The same for what begins a dial without waiting, as the `call` of a service does.
    pub fn enter<T>(&self, begin: impl FnOnce() -> T) -> T {
        DIAL.sync_scope(self.clone(), begin)
    }

    /// What is done, in its order.
    pub fn steps(&self) -> Vec<Step> {
        self.lock().steps.clone()
    }

    /// What is done, and what has begun: for the words about a dial that hangs.
    pub fn waits_for(&self) -> &'static str {
        let dial = self.lock();
        dial.steps.last().map_or(NOTHING, |step| step.stage.waits_for())
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

    /// The name was resolved to these by somebody who can [learn](Self::unanswered).
    pub(crate) fn note_resolved(addresses: Vec<IpAddr>, avoided: &Avoided) {
        Self::note(|dial| {
            dial.add(Stage::Resolved(addresses));
            dial.avoided = Some(avoided.clone());
        });
    }

    fn note(note: impl FnOnce(&mut Dial)) {
        // Nobody watches: an error.
        let _ = DIAL.try_with(|trace| note(&mut trace.lock()));
    }

    fn learn(&self, lesson: impl FnOnce(&Avoided, IpAddr)) {
        let dial = self.lock();
        let connected = dial.steps.iter().rev().find_map(|step| match step.stage {
            Stage::Tcp(address) => address,
            _ => None,
        });
        if let (Some(avoided), Some(address)) = (&dial.avoided, connected) {
            lesson(avoided, address.ip());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Dial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Dial {
    fn add(&mut self, stage: Stage) {
        if self.steps.len() < Trace::LIMIT {
            let after = self.began.elapsed();
            self.steps.push(Step { stage, after });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_watches_around_a_dial_sees_the_last_one() {
        let trace = Trace::new();
        let dials = async {
            for stage in [Stage::Proxy, Stage::Tunnel] {
                Trace::begin().watch(async { stage.note() }).await;
            }
        };
        trace.watch(dials).await;
        let [step] = &trace.steps()[..] else { panic!("one") };
        assert_eq!(step.stage, Stage::Tunnel);
    }

    #[tokio::test]
    async fn a_dial_that_nobody_watches_has_a_trace_of_its_own() {
        Stage::Proxy.note();
        let (one, other) = (Trace::begin(), Trace::begin());
        one.enter(|| Stage::Proxy.note());
        assert_eq!((one.steps().len(), other.steps().len()), (1, 0));
    }

    #[test]
    fn no_more_steps_than_the_limit_are_kept() {
        let trace = Trace::new();
        trace.enter(|| (0..2 * Trace::LIMIT).for_each(|_| Stage::Proxy.note()));
        assert_eq!(trace.steps().len(), Trace::LIMIT);
    }
}
