use std::fmt;

use tower_ws_core::Outgoing;

use crate::strategy::{Acknowledgement, Keys, Strategy};

/// Acknowledgements that name one message by its key and carry nothing else.
///
/// ```
/// use tower_ws_ack::Bare;
///
/// // "7 text" awaits, "ack 7" acknowledges.
/// let strategy = Bare::new(
///     |sent: &String| sent.split(' ').next()?.parse::<u64>().ok(),
///     |came: &String| came.strip_prefix("ack ")?.parse().ok(),
/// );
/// # fn is<M, S: tower_ws_ack::Strategy<M>>(_: &S) {} is::<String, _>(&strategy);
/// ```
///
/// Nothing is safe to send twice unless its sender says so, or [`all_safe`](Self::all_safe) does.
#[derive(Clone)]
pub struct Bare<F, G> {
    awaits: F,
    acknowledges: G,
    safe: bool,
}

/// Cumulative sequence numbers: an acknowledgement names the last message of all that have arrived.
///
/// ```
/// use tower_ws_ack::Sequence;
///
/// let strategy = Sequence::new(
///     |sent: &String| sent.split(' ').next()?.parse().ok(),
///     |came: &String| came.strip_prefix("up to ")?.parse().ok(),
/// )
/// .all_safe();
/// # fn is<M, S: tower_ws_ack::Strategy<M>>(_: &S) {} is::<String, _>(&strategy);
/// ```
///
/// The numbers rise and do not wrap: 64 bits last longer than any session. Nothing is safe to send
/// twice unless its sender says so, or [`all_safe`](Self::all_safe) does.
#[derive(Clone)]
pub struct Sequence<F, G> {
    number: F,
    acknowledges: G,
    safe: bool,
    passes: bool,
}

// === impl Bare ===

impl<F, G> Bare<F, G> {
    /// `awaits` gives the key of an outgoing message that is to be acknowledged; `acknowledges` the
    /// key that an incoming acknowledgement names. Both give `None` for any other message.
    pub fn new(awaits: F, acknowledges: G) -> Self {
        Self {
            awaits,
            acknowledges,
            safe: false,
        }
    }

    /// Everything may be sent twice: the peer knows a key that it has seen, or seeing a message
    /// twice does no harm.
    #[must_use]
    pub fn all_safe(mut self) -> Self {
        self.safe = true;
        self
    }
}

impl<M, K, F, G> Strategy<M> for Bare<F, G>
where
    K: Clone + Ord,
    F: Fn(&M) -> Option<K>,
    G: Fn(&M) -> Option<K>,
{
    type Key = K;

    fn awaits(&self, item: &Outgoing<M>) -> Option<K> {
        (self.awaits)(&item.message)
    }

    fn acknowledges(&self, message: &M) -> Option<Acknowledgement<K>> {
        (self.acknowledges)(message).map(|key| Acknowledgement::bare(Keys::One(key)))
    }

    fn is_safe(&self, _: &Outgoing<M>) -> bool {
        self.safe
    }
}

impl<F, G> fmt::Debug for Bare<F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare")
            .field("all_safe", &self.safe)
            .finish_non_exhaustive()
    }
}

// === impl Sequence ===

impl<F, G> Sequence<F, G> {
    /// `number` gives the sequence number of an outgoing message; `acknowledges` the number up to
    /// which an incoming message acknowledges. Both give `None` for any other message.
    pub fn new(number: F, acknowledges: G) -> Self {
        Self {
            number,
            acknowledges,
            safe: false,
            passes: false,
        }
    }

    /// Everything may be sent twice: the peer knows a number that it has seen, or seeing a message
    /// twice does no harm.
    #[must_use]
    pub fn all_safe(mut self) -> Self {
        self.safe = true;
        self
    }

    /// Acknowledgements travel on the back of data: what acknowledges goes up as a message too, and
    /// what it acknowledges is not reported as delivered.
    #[must_use]
    pub fn on_data(mut self) -> Self {
        self.passes = true;
        self
    }
}

impl<M, F, G> Strategy<M> for Sequence<F, G>
where
    F: Fn(&M) -> Option<u64>,
    G: Fn(&M) -> Option<u64>,
{
    type Key = u64;

    fn awaits(&self, item: &Outgoing<M>) -> Option<u64> {
        (self.number)(&item.message)
    }

    fn acknowledges(&self, message: &M) -> Option<Acknowledgement<u64>> {
        let keys = Keys::UpTo((self.acknowledges)(message)?);
        let passes = self.passes;
        Some(Acknowledgement { keys, passes })
    }

    fn is_safe(&self, _: &Outgoing<M>) -> bool {
        self.safe
    }
}

impl<F, G> fmt::Debug for Sequence<F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence")
            .field("all_safe", &self.safe)
            .field("on_data", &self.passes)
            .finish_non_exhaustive()
    }
}
