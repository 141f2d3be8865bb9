use std::{fmt, sync::Arc};

use tower_layer::Layer;
use tower_ws_core::{Clock, Length, Shared, SystemClock};

use crate::{
    handle::{Handle, Hub, Limits},
    inbound::Inbound,
    limiter::Limiter,
    quota::Quota,
    service::RateLimit,
    throttle::NoSignal,
};

/// Limits dials, what goes out and what comes in. See the [crate docs](crate).
///
/// The state of the limits belongs to the layer: its clones, and all services and connections made
/// by them, share it. A clone on which a limit is set anew has that one for itself.
#[derive(Clone)]
pub struct RateLimitLayer<Me = Length, G = NoSignal> {
    measure: Me,
    signal: G,
    settings: Settings,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) dials: Option<Limiter>,
    /// Of messages and bytes, and of the pauses that the server asks for.
    pub(crate) outbound: Option<Limiter>,
    messages: Option<Quota>,
    bytes: Option<Quota>,
    pub(crate) excess: Excess,
    pub(crate) inbound: Option<Inbound>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hub: Shared<Hub>,
}

/// What happens to a message that is too much for now. This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Excess {
    /// It waits for its turn, and the sink is not ready meanwhile.
    #[default]
    Wait,
    /// It comes back at once, as [`Dropped`](tower_ws_core::Event::Dropped) with the reason
    /// [`Refused`](tower_ws_core::DropReason::Refused).
    Refuse,
}

impl RateLimitLayer {
    /// No limit at all. What is right depends on the server, so each is to be set.
    pub fn new() -> Self {
        Self::pair().0
    }

    /// The same, with a [`Handle`] to look at the limits.
    pub fn pair() -> (Self, Handle) {
        let hub = Shared::new(Hub::default());
        let layer = Self {
            measure: Length,
            signal: NoSignal,
            settings: Settings {
                dials: None,
                outbound: None,
                messages: None,
                bytes: None,
                excess: Excess::default(),
                inbound: None,
                clock: Arc::new(SystemClock),
                hub: hub.clone(),
            },
        };
        (layer, Handle(hub))
    }
}

impl<Me, G> RateLimitLayer<Me, G> {
    /// Limits the dials: by a [`Quota`] of this layer, or by a [`Limiter`] that others share.
    /// Default: no limit.
    ///
    /// A dial waits in `poll_ready`. It pauses as well, for all who share the limit, when the
    /// server says that it is too much: see [the crate
    /// docs](crate#when-the-server-says-that-it-is-too-much).
    #[must_use]
    pub fn dials(mut self, limit: impl Into<Limiter>) -> Self {
        self.settings.dials = Some(limit.into());
        self.show()
    }

    /// Limits how many messages go out. Default: no limit. The control lane passes, and does not
    /// count.
    #[must_use]
    pub fn messages(mut self, quota: Quota) -> Self {
        self.settings.messages = Some(quota);
        self.limit_outbound()
    }

    /// Limits how many bytes of payload go out. Default: no limit. The control lane passes, and
    /// does not count.
    ///
    /// A message that is larger than the burst of a rate goes when the whole burst is there, and
    /// what is beyond it is owed: whatever follows waits until that is paid. One that is larger
    /// than a strict window allows could never go: it comes back as
    /// [`TooLarge`](tower_ws_core::DropReason::TooLarge).
    #[must_use]
    pub fn bytes(mut self, quota: Quota) -> Self {
        self.settings.bytes = Some(quota);
        self.limit_outbound()
    }

    /// Limits what goes out by a [`Limiter`] that others share, such as all clients of one account,
    /// in the place of [`messages`](Self::messages) and [`bytes`](Self::bytes). Of the three the one
    /// that is set last counts; for a limit of its own as well, put another layer on top. The control
    /// lane passes, and does not count.
    ///
    /// Where the limit is [kept elsewhere](Limiter::shared), each message is in hand until the
    /// answer has come, also with [`Excess::Refuse`].
    #[must_use]
    pub fn outbound(mut self, limit: Limiter) -> Self {
        (self.settings.messages, self.settings.bytes) = (None, None);
        self.settings.outbound = Some(limit);
        self.show()
    }

    /// Sets what happens to a message that is too much for now. Default [`Excess::Wait`].
    #[must_use]
    pub fn excess(mut self, excess: Excess) -> Self {
        self.settings.excess = excess;
        self
    }

    /// Limits what comes in: an [`Inbound`], or a [`Quota`] of messages. Each connection has the
    /// limit for itself, so that one flood does not keep others from being read. Default: no limit.
    #[must_use]
    pub fn inbound(mut self, inbound: impl Into<Inbound>) -> Self {
        self.settings.inbound = Some(inbound.into());
        self
    }

    /// Sets how the server says in band that it gets too much: a closure that sees each message
    /// that comes in, and says for how long nothing but control messages may go out, at most [5
    /// minutes](tower_ws_core::RetryAfter::CAP). The message goes up in any case. Default: it does
    /// not say so in band.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_ws_rate_limit::RateLimitLayer;
    ///
    /// let layer = RateLimitLayer::new().throttle_signal(|message: &String| {
    ///     let seconds = message.strip_prefix("SLOW DOWN ")?.parse().ok()?;
    ///     Some(Duration::from_secs(seconds))
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn throttle_signal<H>(self, signal: H) -> RateLimitLayer<Me, H> {
        RateLimitLayer {
            measure: self.measure,
            signal,
            settings: self.settings,
        }
        .limit_outbound()
    }

    /// Replaces how the size of a message is [measured](tower_ws_core::Measure): a closure, or the
    /// measure that comes with a transport. Default: [`Length`], for texts and byte strings.
    #[must_use]
    pub fn measure<Y>(self, measure: Y) -> RateLimitLayer<Y, G> {
        RateLimitLayer {
            measure,
            signal: self.signal,
            settings: self.settings,
        }
    }

    /// Sets the wall clock by which the dates of `Retry-After` are read. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    fn limit_outbound(mut self) -> Self {
        let limit = Limiter::of("messages", self.settings.messages, self.settings.bytes);
        self.settings.outbound = Some(limit);
        self.show()
    }

    fn show(self) -> Self {
        self.settings.hub.show(Limits {
            dials: self.settings.dials.clone(),
            outbound: self.settings.outbound.clone(),
        });
        self
    }
}

impl Default for RateLimitLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, Me: Clone, G: Clone> Layer<S> for RateLimitLayer<Me, G> {
    type Service = RateLimit<S, Me, G>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.measure.clone(), self.signal.clone(), self.settings.clone())
    }
}

impl<Me, G> fmt::Debug for RateLimitLayer<Me, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

// === impl Settings ===

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("dials", &self.dials)
            .field("messages", &self.messages)
            .field("bytes", &self.bytes)
            .field("excess", &self.excess)
            .field("inbound", &self.inbound)
            .finish_non_exhaustive()
    }
}
