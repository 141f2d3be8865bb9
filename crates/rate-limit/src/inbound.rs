use std::time::Duration;

use crate::quota::Quota;

/// How much may come in before this side reads no more for a while, and how long that may go on
/// before it leaves.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use tower_ws_rate_limit::{Inbound, Quota, RateLimitLayer};
///
/// let thousand = NonZeroU32::new(1_000).expect("is not zero");
/// let megabytes = NonZeroU32::new(4 << 20).expect("is not zero");
/// let layer = RateLimitLayer::new().inbound(
///     Inbound::new()
///         .messages(Quota::per_second(thousand))
///         .bytes(Quota::per_second(megabytes).burst(megabytes.saturating_mul(NonZeroU32::new(8).expect("is not zero"))))
///         .patience(Duration::from_secs(60)),
/// );
/// # let _: RateLimitLayer = layer;
/// ```
///
/// Everything that the peer says counts, pings and pongs too. A quota alone is one of messages:
/// `From<Quota>`.
#[derive(Clone, Copy, Debug)]
pub struct Inbound {
    pub(crate) messages: Option<Quota>,
    pub(crate) bytes: Option<Quota>,
    pub(crate) patience: Duration,
}

impl Inbound {
    /// The default of [`patience`](Self::patience): 30 s.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// No limit yet.
    pub fn new() -> Self {
        Self {
            messages: None,
            bytes: None,
            patience: Self::PATIENCE,
        }
    }

    /// Limits how many messages come in.
    #[must_use]
    pub fn messages(mut self, quota: Quota) -> Self {
        self.messages = Some(quota);
        self
    }

    /// Limits how many bytes of payload come in.
    ///
    /// A message that is larger than the burst (or the strict window) takes all of it; with a rate
    /// the rest is owed. Give it a burst that the largest answer of the server fits into.
    #[must_use]
    pub fn bytes(mut self, quota: Quota) -> Self {
        self.bytes = Some(quota);
        self
    }

    /// Sets how long the peer may be above the limit, without a break, before the connection is
    /// ended. Default 30 s: what a server had saved up for us is read by then, and what still comes
    /// will not end.
    ///
    /// A break is a moment with nothing to read, or 5 s within the limit: then it is we who read
    /// slowly. That the reader is late now and then is none.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Quota> for Inbound {
    fn from(messages: Quota) -> Self {
        Self::new().messages(messages)
    }
}
