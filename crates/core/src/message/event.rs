use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use http::Extensions;

use super::outgoing::Outgoing;
use crate::{
    failure::Failure,
    reading::{Source, Sources},
};

/// What a connection says, in order.
///
/// The first event is [`Up`](Event::Up); each `Up` is followed by one [`Down`](Event::Down) before
/// the next; after the last `Down` the stream ends. There are no error items: the end is `Down`
/// with its cause, then `None`. One place to learn why.
///
/// Its `Debug` leaves messages out: they may hold secrets.
#[derive(Clone)]
#[non_exhaustive]
pub enum Event<M> {
    /// Ready for traffic.
    Up(Up),
    /// The peer said this.
    Message(M),
    /// The peer acknowledged this message. Only with an acknowledging layer whose protocol has bare
    /// acknowledgements: where the acknowledgement is a reply, the reply is a
    /// [`Message`](Event::Message).
    Delivered(Outgoing<M>),
    /// A layer below gave up on this message, and why. Nothing is dropped silently.
    Dropped(Outgoing<M>, DropReason),
    /// The connection is gone.
    Down(Down),
}

impl<M> fmt::Debug for Event<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(up) => f.debug_tuple("Up").field(up).finish(),
            Self::Message(_) => f.write_str("Message(..)"),
            Self::Delivered(outgoing) => f.debug_tuple("Delivered").field(outgoing).finish(),
            Self::Dropped(outgoing, reason) => f.debug_tuple("Dropped").field(outgoing).field(reason).finish(),
            Self::Down(down) => f.debug_tuple("Down").field(down).finish(),
        }
    }
}

/// A connection is ready for traffic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Up {
    /// Which connection of the session this is: 1, 2, 3 … Reconnect counts; without it there is
    /// only the first.
    pub epoch: u64,
    /// A random name for this one connection, for logs on both sides.
    pub connection: ConnectionId,
    /// True when the peer continues where the last connection ended, rather than afresh.
    pub resumed: bool,
    /// The names of the layers below, innermost first.
    pub layers: Vec<&'static str>,
    /// What the layers below have to hand, by type: what the handshake answered, a
    /// [`Progress`](crate::Progress) counter, the handles of a session.
    pub extensions: Extensions,
}

impl Up {
    /// The first connection, fresh, under a new random name.
    pub fn new() -> Self {
        Self {
            epoch: 1,
            connection: ConnectionId::random(),
            resumed: false,
            layers: Vec::new(),
            extensions: Extensions::new(),
        }
    }

    /// Names a layer that this event passes on its way up.
    #[must_use]
    pub fn through(mut self, layer: &'static str) -> Self {
        self.layers.push(layer);
        self
    }

    /// Shows a layer's numbers to those above that export them: the same state on each connection
    /// of a session.
    pub fn show(&mut self, source: Source) {
        self.extensions.get_or_insert_default::<Sources>().0.push(source);
    }

    /// The numbers of the layers below, innermost first.
    pub fn sources(&self) -> &[Source] {
        self.extensions.get::<Sources>().map_or(&[], |sources| &sources.0)
    }
}

impl Default for Up {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Down {
    /// Which connection of the session it was.
    pub epoch: u64,
    /// Why.
    pub cause: Failure,
    /// True when a layer below will try to have another one; false when the session ends here.
    pub will_retry: bool,
    /// How long nothing had come in, if that is why: the connection was alive until then, and not
    /// until the verdict. Zero for any other end: a close frame, an end of the stream and a reset
    /// are signs of life.
    pub silent: Duration,
}

impl Down {
    /// The end of the first connection, with nobody who would try again.
    pub fn new(cause: Failure) -> Self {
        Self {
            epoch: 1,
            cause,
            will_retry: false,
            silent: Duration::ZERO,
        }
    }

    /// Sets for how long nothing had come in.
    #[must_use]
    pub fn silent(mut self, silent: Duration) -> Self {
        self.silent = silent;
        self
    }
}

/// Why a session ended while it had no connection.
///
/// There is one [`Down`] for each [`Up`], and by then it has been told: its cause is why the last
/// connection was lost, not why there was never another. A layer that redials leaves a clone of
/// this in the extensions of each `Up`, and sets it before its stream ends.
#[derive(Clone, Debug, Default)]
pub struct EndCause(Arc<OnceLock<Failure>>);

impl EndCause {
    /// Not known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Why the session ended, once it has, if it ended between two connections.
    pub fn get(&self) -> Option<&Failure> {
        self.0.get()
    }

    /// Says why. Only the first cause counts.
    pub fn set(&self, cause: Failure) {
        self.0.get_or_init(|| cause);
    }
}

/// Why a session has no connection now: what the last one was lost by, or the last dial failed with.
///
/// A layer that redials leaves a clone of this in the extensions of each `Up`, and keeps it true.
/// Those above tell it to whoever waited in vain.
#[derive(Clone, Debug, Default)]
pub struct OutageCause(Arc<Mutex<Option<Failure>>>);

impl OutageCause {
    /// There is a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Why there is none; `None` while there is one.
    pub fn get(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says why there is none, or that there is one.
    pub fn set(&self, cause: Option<Failure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

/// Why a layer gave up on a message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// Whoever waited for it gave up before it was sent.
    #[error("cancelled before it was sent")]
    Cancelled,
    /// Its deadline passed before it could be sent.
    #[error("not sent before its deadline")]
    Expired,
    /// It was sent, the connection went down or its time ran out, and nobody knows whether the peer
    /// acted on it. With why the connection went down; `None` if it is up, and only the time is
    /// over.
    #[error("sent, and never acknowledged: outcome unknown")]
    Interrupted(#[source] Option<Failure>),
    /// There was no room for it.
    #[error("not sent: no room in the queue")]
    Overflow,
    /// There was no connection to send it on, and it was not worth keeping.
    #[error("not sent: there was no connection")]
    Disconnected,
    /// The session ended before it was sent.
    #[error("not sent: the session ended")]
    Closed,
    /// It is larger than this side may send.
    #[error("not sent: {size} bytes are more than the limit of {limit} for one message; raise the limit or split it")]
    TooLarge {
        /// The message's size, in bytes.
        size: usize,
        /// The most that may be sent, in bytes.
        limit: usize,
    },
    /// A layer refused it, for the reason given.
    #[error("not sent: {0}")]
    Refused(&'static str),
}

impl DropReason {
    /// The names of all reasons.
    pub const NAMES: [&'static str; 8] = [
        "cancelled",
        "expired",
        "interrupted",
        "overflow",
        "disconnected",
        "closed",
        "too_large",
        "refused",
    ];

    /// The name used in logs and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Interrupted(_) => "interrupted",
            Self::Overflow => "overflow",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
            Self::TooLarge { .. } => "too_large",
            Self::Refused(_) => "refused",
        }
    }
}

/// A random name for one connection. Displayed as 16 hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// A name from the system's secure generator.
    pub fn random() -> Self {
        // A name must be had even where the system has no entropy to give; it guards nothing.
        Self(getrandom::u64().unwrap_or_else(|_| fastrand::u64(..)))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_among_the_names() {
        let reasons = [
            DropReason::Cancelled,
            DropReason::Expired,
            DropReason::Interrupted(None),
            DropReason::Overflow,
            DropReason::Disconnected,
            DropReason::Closed,
            DropReason::TooLarge { size: 2, limit: 1 },
            DropReason::Refused("full"),
        ];
        assert_eq!(reasons.each_ref().map(DropReason::as_str), DropReason::NAMES);
    }
}
