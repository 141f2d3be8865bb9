use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;
use tower_ws_core::{Clock, Ping, Shared, SystemClock, Wrap};

use crate::{
    connection::HealthConnection,
    handle::Handle,
    hub::{ConnectionStats, Hub},
    pulse::Rhythm,
    service::Health,
};

/// Notices dead peers, and leaves them. See the [crate docs](crate).
#[derive(Clone, Debug)]
pub struct HealthLayer<P = Ping> {
    probe: P,
    settings: Settings,
    hub: Option<Shared<Hub>>,
}

/// How a connection is watched.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    keepalive: Option<Duration>,
    jitter: f64,
    seed: Option<u64>,
}

impl HealthLayer {
    /// The default of [`interval`](HealthLayer::interval): 20 s. Proxies and NATs forget a silent
    /// connection after 30 to 60 s; with this none of ours is silent for so long.
    pub const INTERVAL: Duration = Duration::from_secs(20);
    /// The default of [`timeout`](HealthLayer::timeout): 20 s. TCP waits twice as long after each
    /// resend, and makes some six of them in this time: a link that loses a few packets in a row is
    /// not taken for a dead one.
    pub const TIMEOUT: Duration = Duration::from_secs(20);
    /// The default of [`jitter`](HealthLayer::jitter): 0.1. A thousand clients that came back at
    /// the same moment have drifted apart after a few probes.
    pub const JITTER: f64 = 0.1;
    /// A peer that has never answered a probe is given twice the [`timeout`](HealthLayer::timeout)
    /// on the connection after one that was left in silence, and so on for so many: up to 16 times.
    pub const DOUBLINGS: u32 = 4;
    /// The least interval and timeout: 10 ms. Without any, each answer would be the moment for the
    /// next probe.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
    /// The most: a year. What is longer counts as this, and fits the clock.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

    /// Watches connections by the transport's own [`Ping`], with the default times.
    pub fn new() -> Self {
        Self {
            probe: Ping,
            settings: Settings::default(),
            hub: None,
        }
    }

    /// The same, with a [`Handle`] to the statistics of the session.
    ///
    /// The handle is that of one connection at a time, and so of the session whose connections they
    /// are: one that begins while the handle is free takes it, and one that begins while another
    /// lives has its own (in the extensions of its [`Up`](tower_ws_core::Up)).
    pub fn pair() -> (Self, Handle) {
        let hub = Shared::new(Hub::new());
        let mut layer = Self::new();
        layer.hub = Some(hub.clone());
        (layer, Handle(hub))
    }
}

impl<P> HealthLayer<P> {
    /// Sets how the peer is asked: by a request of the application's protocol
    /// ([`probe_fn`](crate::probe_fn), [`JsonRpcPing`](crate::JsonRpcPing)), where the transport
    /// has no ping. Default: [`Ping`].
    #[must_use]
    pub fn probe<Q>(self, probe: Q) -> HealthLayer<Q> {
        HealthLayer {
            probe,
            settings: self.settings,
            hub: self.hub,
        }
    }

    /// Sets how long nothing may come in before the peer is asked. Default 20 s, from 10 ms to a
    /// year.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval.clamp(HealthLayer::MIN_INTERVAL, HealthLayer::MAX_INTERVAL);
        self
    }

    /// Sets how long nothing at all may come in after that before the connection is ended. Default
    /// 20 s, from 10 ms to a year. Also how long an answer may take before its probe counts as
    /// lost.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.clamp(HealthLayer::MIN_INTERVAL, HealthLayer::MAX_INTERVAL);
        self
    }

    /// Sets how long no probe may go out, although the peer talks. Default `None`: probes go out in
    /// silence only. From 10 ms to a year.
    ///
    /// For a connection on which only this side listens, through a proxy that wants to see bytes
    /// *sent*, or to a server that ends connections whose client says nothing.
    #[must_use]
    pub fn keepalive(mut self, every: Option<Duration>) -> Self {
        self.settings.keepalive = every.map(|every| every.clamp(HealthLayer::MIN_INTERVAL, HealthLayer::MAX_INTERVAL));
        self
    }

    /// Sets by how much of itself each interval may be shortened at random, from 0 to 1. Default 0.1. It is never made
    /// longer: the time in which a dead peer is noticed is a promise.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.settings.jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        self
    }

    /// Sets the wall clock by which a suspend is noticed. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Makes jitter and nonces repeatable: all connections draw the same numbers. For tests; by
    /// default each connection draws its own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }
}

impl Default for HealthLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, P: Clone> Layer<S> for HealthLayer<P> {
    type Service = Health<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let mut layer = self.clone();
        // Without a pair the connections of one service share their statistics all the same.
        layer.hub.get_or_insert_with(|| Shared::new(Hub::new()));
        Health::new(inner, layer)
    }
}

impl<C, P> Wrap<C> for HealthLayer<P> {
    type Connection = HealthConnection<C, P>;

    fn wrap(self, inner: C) -> Self::Connection {
        let stats = ConnectionStats::begin(self.hub.as_ref());
        HealthConnection::new(inner, self.probe, self.settings, stats)
    }
}

// === impl Settings ===

impl Settings {
    pub(crate) fn rng(&self) -> fastrand::Rng {
        self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)
    }

    /// The time to answer, for a peer that has been left so often and has never answered a probe.
    pub(crate) fn timeout_after(&self, never_answered: u32) -> Duration {
        self.timeout
            .saturating_mul(1 << never_answered.min(HealthLayer::DOUBLINGS))
    }

    pub(crate) fn rhythm(&self, timeout: Duration, rng: fastrand::Rng) -> Rhythm {
        Rhythm {
            interval: self.interval,
            timeout,
            keepalive: self.keepalive,
            jitter: self.jitter,
            rng,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: HealthLayer::INTERVAL,
            timeout: HealthLayer::TIMEOUT,
            clock: Arc::new(SystemClock),
            keepalive: None,
            jitter: HealthLayer::JITTER,
            seed: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("keepalive", &self.keepalive)
            .field("jitter", &self.jitter)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
