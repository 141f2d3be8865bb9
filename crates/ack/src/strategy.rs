use tower_ws_core::{Outgoing, Up};

/// How a protocol acknowledges: which message awaits it, what it looks like, what may be sent
/// again.
///
/// Ready-made: [`JsonRpc`](crate::JsonRpc), [`Sequence`](crate::Sequence), [`Bare`](crate::Bare).
/// Each session has a clone of its own. The first two methods run once for each message, so they
/// should be cheap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what acknowledges a message of type `{M}`",
    label = "no acknowledgements are known for these messages",
    note = "use `JsonRpc`, `Sequence` or `Bare`, with the codec that the messages travel in"
)]
pub trait Strategy<M> {
    /// What ties an acknowledgement to its message. Where acknowledgements are cumulative, its
    /// order is the order of sending.
    type Key: Clone + Ord;

    /// The key under which this outgoing message awaits an acknowledgement; `None` if it awaits
    /// none.
    fn awaits(&self, item: &Outgoing<M>) -> Option<Self::Key>;

    /// What this incoming message acknowledges; `None` if nothing.
    fn acknowledges(&self, message: &M) -> Option<Acknowledgement<Self::Key>>;

    /// May the peer see this message twice? Asked when neither the caller nor the message's
    /// [`Replay`](tower_ws_core::Replay) said. Default: no.
    fn is_safe(&self, item: &Outgoing<M>) -> bool {
        let _ = item;
        false
    }

    /// The message as it is to be sent again, with its new key, where the protocol does not take
    /// the same one twice. Default: `None`, it goes again as it is, under the same key.
    ///
    /// Always called with the message as the caller gave it. A key that is taken already is not
    /// used.
    fn again(&mut self, item: &Outgoing<M>) -> Option<(Self::Key, M)> {
        let _ = item;
        None
    }

    /// The answer to a message that went [again](Self::again) under another key, as the caller
    /// expects it: under `original`. Default: as it is.
    fn translate(&self, answer: M, original: &Self::Key) -> M {
        let _ = original;
        answer
    }

    /// A connection has come up: a strategy may take something from the extensions, or leave
    /// something there.
    fn came_up(&mut self, up: &mut Up) {
        let _ = up;
    }
}

/// What an incoming message acknowledges.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Acknowledgement<K> {
    /// Which messages.
    pub keys: Keys<K>,
    /// Whether it also goes up as a message. If so it speaks for itself; if not it is swallowed,
    /// and each message that it acknowledges comes up as
    /// [`Delivered`](tower_ws_core::Event::Delivered).
    pub passes: bool,
}

impl<K> Acknowledgement<K> {
    /// A bare acknowledgement: nothing in it is for the application.
    pub fn bare(keys: Keys<K>) -> Self {
        Self { keys, passes: false }
    }

    /// An acknowledgement that is a message too: a reply, or data with an acknowledgement on its
    /// back.
    pub fn passing(keys: Keys<K>) -> Self {
        Self { keys, passes: true }
    }
}

/// Which messages are acknowledged. This list is complete.
///
/// Only what may have reached the peer can be: a key of something unsent acknowledges nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Keys<K> {
    /// The message with this key.
    One(K),
    /// Every message up to and with this key.
    UpTo(K),
    /// The messages with these keys.
    Each(Vec<K>),
}
