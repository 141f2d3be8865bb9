use std::{any::Any, fmt, future::Future, panic::AssertUnwindSafe, sync::Mutex, time::Duration};

use futures_util::FutureExt;
use tokio::{task::coop::unconstrained, time::timeout};
use tower_layer::Layer;

use super::{
    harness::{Harness, Numbering},
    link::Link,
    stack::{Stack, Transport, Under},
};

/// The laws, and what is put through them.
///
/// Each law is a method named by what it checks; [`run`](Suite::run) takes them all. A law that is
/// broken panics with a message that names the law, what was expected, what was seen, and the seed.
#[derive(Debug)]
#[must_use = "nothing is checked until a law, or `run`, is awaited"]
pub struct Suite<H, M> {
    pub(crate) harness: H,
    pub(crate) numbering: Numbering<M>,
    pub(crate) traits: Traits,
    /// Makes a message that the layer refuses.
    pub(crate) refused: Option<fn(u64) -> M>,
    pub(crate) seeds: std::ops::Range<u64>,
    patience: Duration,
    /// What is being waited for, for the message about a hang; and the seed.
    at: Mutex<(&'static str, Option<u64>)>,
}

/// What a layer does beyond wrapping, so that the laws can allow for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) redials: bool,
    pub(crate) holds: bool,
}

/// How a law went that was not broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It holds.
    Held,
    /// A weaker form of it holds, for the reason given.
    Adapted(&'static str),
    /// It was not checked, for the reason given.
    NotRun(&'static str),
}

/// Which laws were run, and how each went. Displayed one a line.
#[derive(Clone, Debug, Default)]
pub struct Report(Vec<(&'static str, Outcome)>);

impl<L> Suite<Stack<L, String>, String>
where
    L: Layer<Under<String>>,
{
    /// A suite for a layer, with messages of text.
    pub fn layer(layer: L) -> Self {
        Self::layer_of(layer, Numbering::<String>::default())
    }
}

impl<L, M> Suite<Stack<L, M>, M>
where
    L: Layer<Under<M>>,
{
    /// A suite for a layer, with messages of any kind.
    pub fn layer_of(layer: L, numbering: Numbering<M>) -> Self {
        // Below the deadlines that layers commonly have: a hang must not be cured by one.
        Self::new(Stack::new(layer), numbering, 0..32, Duration::from_secs(60))
    }

    /// The layer dials again when the connection below ends. Then epochs go on, and there are laws
    /// about that.
    pub fn redials(mut self) -> Self {
        self.traits.redials = true;
        // Backoff takes its time; under a paused clock it costs nothing.
        self.patience = Duration::from_secs(600);
        self
    }

    /// The layer accepts messages that the connection below cannot take yet, or keeps those it has
    /// sent. Then its sink may be ready when the one below is not, and with
    /// [`redials`](Self::redials) a message may be sent again.
    pub fn holds_messages(mut self) -> Self {
        self.traits.holds = true;
        self
    }

    /// The layer refuses such messages, and gives each back. Then there is a law about that: how many
    /// may wait for somebody to read that they were refused.
    pub fn refuses(mut self, make: fn(u64) -> M) -> Self {
        self.refused = Some(make);
        self
    }
}

impl<H: Harness> Suite<Transport<H>, H::Message> {
    /// A suite for a transport whose messages the suite can number.
    pub fn transport(harness: H) -> Self
    where
        Numbering<H::Message>: Default,
    {
        Self::transport_of(harness, Numbering::default())
    }

    /// A suite for a transport with messages of any kind.
    pub fn transport_of(harness: H, numbering: Numbering<H::Message>) -> Self {
        Self::new(Transport(harness), numbering, 0..8, Duration::from_secs(60))
    }
}

impl<H, M> Suite<H, M> {
    fn new(harness: H, numbering: Numbering<M>, seeds: std::ops::Range<u64>, patience: Duration) -> Self {
        Self {
            harness,
            numbering,
            traits: Traits::default(),
            refused: None,
            seeds,
            patience,
            at: Mutex::new(("connecting", None)),
        }
    }

    /// Which seeds the random laws try. Default 32 for a layer, 8 for a transport, from 0 on. One
    /// seed (`7..8`) plays a failure again.
    pub fn seeds(mut self, seeds: std::ops::Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// How long a law may take, all its seeds together. Default 60 s, and 10 minutes for a layer
    /// that redials: a bound for what hangs, also over real sockets on a busy machine.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs one law: bounds it, and names it in whatever goes wrong.
    pub(crate) async fn hold(&self, law: &'static str, check: impl Future<Output = Outcome>) -> Outcome {
        *self.lock_at() = ("connecting", None);
        // Without tokio's cooperative budget: it would make some polls pending at random.
        let bounded = timeout(self.patience, unconstrained(check));
        let what = match AssertUnwindSafe(bounded).catch_unwind().await {
            Ok(Ok(outcome)) => {
                println!("conformance: {law}: {outcome}");
                return outcome;
            }
            Ok(Err(_)) => format!(
                "expected: an end within {:?}\n  saw: a hang; a wake-up was lost, or something was never sent",
                self.patience
            ),
            Err(panic) => match text(&*panic) {
                text if text.starts_with("expected: ") => text,
                text => format!("expected: no panic\n  saw: a panic: {text}"),
            },
        };
        let (step, seed) = *self.lock_at();
        let seed = seed.map_or("none, nothing is random here".to_owned(), |seed| seed.to_string());
        panic!("conformance: the law `{law}` is broken\n  {what}\n  while: {step}\n  seed: {seed}");
    }

    /// Notes what is about to be waited for.
    pub(crate) fn at(&self, step: &'static str) {
        self.lock_at().0 = step;
    }

    /// A generator for one seed, which is named in whatever goes wrong.
    pub(crate) fn rng(&self, seed: u64) -> fastrand::Rng {
        self.lock_at().1 = Some(seed);
        fastrand::Rng::with_seed(seed)
    }

    fn lock_at(&self) -> std::sync::MutexGuard<'_, (&'static str, Option<u64>)> {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn message(&self, n: u64) -> M {
        (self.numbering.make)(n)
    }

    pub(crate) fn number(&self, message: &M) -> Option<u64> {
        (self.numbering.read)(message)
    }
}

impl<H: Harness> Suite<H, H::Message> {
    pub(crate) async fn link(&self) -> Link<'_, H> {
        let (connection, peer) = self.harness.connect().await;
        Link::new(self, connection, peer)
    }
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::Adapted(why) => write!(f, "held, adapted: {why}"),
            Self::NotRun(why) => write!(f, "not run: {why}"),
        }
    }
}

// === impl Report ===

impl Report {
    /// Each law by name, in the order in which they were run.
    pub fn outcomes(&self) -> &[(&'static str, Outcome)] {
        &self.0
    }

    /// How the law of this name went. `None` if there is none of this name.
    pub fn of(&self, law: &str) -> Option<Outcome> {
        self.0
            .iter()
            .find(|(name, _)| *name == law)
            .map(|(_, outcome)| *outcome)
    }

    pub(crate) fn add(&mut self, law: &'static str, outcome: Outcome) {
        self.0.push((law, outcome));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(law, outcome)| writeln!(f, "{law}: {outcome}"))
    }
}

/// The one way in which a check fails.
pub(crate) fn broken(expected: impl fmt::Display, saw: impl fmt::Display) -> ! {
    panic!("expected: {expected}\n  saw: {saw}")
}

fn text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<String>() {
        return text.clone();
    }
    panic
        .downcast_ref::<&str>()
        .map_or("a panic without words", |text| text)
        .to_owned()
}
