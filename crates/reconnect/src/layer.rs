use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;
use tower_ws_core::{Clock, DispositionTable, Shared, SystemClock};

use crate::{
    backoff::Backoff,
    budget::Budget,
    handle::Handle,
    policy::Policy,
    report::{LogReporter, Reporter},
    service::Reconnect,
    session::Hub,
};

/// Makes sessions of connections: below it they come and go, above it one lives on. See the [crate
/// docs](crate).
#[derive(Clone, Debug, Default)]
pub struct ReconnectLayer<P = Backoff> {
    policy: P,
    settings: Settings,
}

/// What a session is begun with, beside its policy.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) fail_fast: bool,
    pub(crate) min_spacing: Duration,
    pub(crate) healthy_after: Duration,
    pub(crate) refusals_final_after: Duration,
    pub(crate) dispositions: DispositionTable,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) budget: Option<Budget>,
    pub(crate) seed: Option<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hub: Option<Shared<Hub>>,
}

impl ReconnectLayer {
    /// Reconnects by the default policy, [`Backoff`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a [`Handle`] to watch and to command the session.
    ///
    /// The handle is that of [one session at a time](tower_ws_core::Shared).
    pub fn pair() -> (Self, Handle) {
        let mut layer = Self::default();
        let handle = layer.handle();
        (layer, handle)
    }
}

impl<P> ReconnectLayer<P> {
    /// A [`Handle`] to watch and to command the session, before there is one; as that of
    /// [`pair`](ReconnectLayer::pair), for a layer that has settings already.
    pub fn handle(&mut self) -> Handle {
        let hub = self.settings.hub.get_or_insert_with(|| Shared::new(Hub::new()));
        Handle(hub.clone())
    }

    /// The default of [`min_spacing`](Self::min_spacing): 1 s.
    pub const MIN_SPACING: Duration = Duration::from_secs(1);
    /// The default of [`healthy_after`](Self::healthy_after): 5 s.
    pub const HEALTHY_AFTER: Duration = Duration::from_secs(5);
    /// The default of [`refusals_final_after`](Self::refusals_final_after): 10 min, longer than most
    /// deployments take.
    pub const REFUSALS_FINAL_AFTER: Duration = Duration::from_secs(600);

    /// Replaces the policy. A [`Backoff`] with other numbers, a closure, or a type of your own.
    #[must_use]
    pub fn policy<Q: Policy>(self, policy: Q) -> ReconnectLayer<Q> {
        ReconnectLayer {
            policy,
            settings: self.settings,
        }
    }

    /// Makes one attempt only at the first connection, and fails if that does. Default: the policy
    /// decides, so that a client may be started before its server.
    #[must_use]
    pub fn fail_fast(mut self) -> Self {
        self.settings.fail_fast = true;
        self
    }

    /// Sets the least time from the beginning of one attempt to the next. Default 1 s.
    ///
    /// Less than 10 ms counts as 10 ms. It holds on every path: backoff, `Retry-After`, a policy of
    /// your own, [`Handle::reconnect_now`]. Besides, no more than five attempts begin within ten
    /// times this, so that whatever asks without pause is held to half the rate.
    #[must_use]
    pub fn min_spacing(mut self, spacing: Duration) -> Self {
        // Without any, a dial that fails at once and a policy that wants no delay would never
        // yield.
        self.settings.min_spacing = spacing.max(Duration::from_millis(10));
        self
    }

    /// Sets how long a connection must have been up to end an outage, and to start the backoff
    /// afresh. Default 5 s. It must also have been up for as long as the delay before it. One that
    /// was left because nothing came in was up [until the last byte](tower_ws_core::Down::silent).
    #[must_use]
    pub fn healthy_after(mut self, uptime: Duration) -> Self {
        self.settings.healthy_after = uptime;
        self
    }

    /// Sets how long a session that has been up is refused before it ends. Default 10 min; zero: the
    /// first refusal ends it. See [the crate docs](crate#when-a-refusal-is-final).
    #[must_use]
    pub fn refusals_final_after(mut self, time: Duration) -> Self {
        self.settings.refusals_final_after = time;
        self
    }

    /// Judges failures by this table. Default: [the documented one](tower_ws_core::Disposition).
    ///
    /// The policy, the [`Down`](tower_ws_core::Down)s and the states have the failure as judged.
    /// Failover and auth, below, see it before: give them [the same
    /// table](crate::FailoverLayer::dispositions). The builder of `tower-ws` gives it to all three.
    #[must_use]
    pub fn dispositions(mut self, table: DispositionTable) -> Self {
        self.settings.dispositions = table;
        self
    }

    /// Replaces who is told of each failure. Default: the log ([`LogReporter`]).
    #[must_use]
    pub fn reporter(mut self, reporter: impl Reporter + 'static) -> Self {
        self.settings.reporter = Arc::new(reporter);
        self
    }

    /// Makes all sessions that are given a clone of this [`Budget`] keep to it together. Default:
    /// none.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Sets the wall clock that `Retry-After` dates are compared with. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Makes the jitter repeatable: all sessions draw the same numbers. For tests; by default each
    /// session draws its own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }
}

impl<S, P: Clone> Layer<S> for ReconnectLayer<P> {
    type Service = Reconnect<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Reconnect::new(inner, self.policy.clone(), self.settings.clone())
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            fail_fast: false,
            min_spacing: ReconnectLayer::<Backoff>::MIN_SPACING,
            healthy_after: ReconnectLayer::<Backoff>::HEALTHY_AFTER,
            refusals_final_after: ReconnectLayer::<Backoff>::REFUSALS_FINAL_AFTER,
            dispositions: DispositionTable::default(),
            reporter: Arc::new(LogReporter),
            budget: None,
            seed: None,
            clock: Arc::new(SystemClock),
            hub: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("fail_fast", &self.fail_fast)
            .field("min_spacing", &self.min_spacing)
            .field("healthy_after", &self.healthy_after)
            .field("refusals_final_after", &self.refusals_final_after)
            .field("budget", &self.budget)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
