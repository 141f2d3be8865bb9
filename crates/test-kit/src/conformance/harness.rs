use std::{fmt, future::Future};

use tower_ws_core::Connection;
use tower_ws_transport::Message;

/// What the suite needs of a transport: fresh connections, and the far end of each.
///
/// See the [module docs](super) for an example.
pub trait Harness {
    /// What the two ends say to each other.
    type Message: Send + 'static;
    /// The connection under test.
    type Connection: Connection<Message = Self::Message> + Send + 'static;
    /// The far end.
    type Peer: Peer<Self::Message>;

    /// Makes a connection of which nothing has been read or written yet.
    fn connect(&self) -> impl Future<Output = (Self::Connection, Self::Peer)>;
}

/// The far end of a connection under test.
///
/// What a peer cannot do it leaves at its default; the laws that need it then say that they were
/// not run.
pub trait Peer<M> {
    /// Sends a message and flushes it. Whatever has ended in the meantime is ignored.
    fn send(&mut self, message: M) -> impl Future<Output = ()>;

    /// The next message that arrives; `None` once the connection has ended, in whatever way. Must
    /// be cancel safe, and must not read ahead of what is asked for by more than a fixed amount.
    ///
    /// A peer that has seen the end lets its socket go, as servers do: until then the connection
    /// under test waits, up to its closing deadline. A peer of a connection that redials goes on
    /// with the next one: `None` between two.
    fn recv(&mut self) -> impl Future<Output = Option<M>>;

    /// Closes in order.
    fn close(&mut self) -> impl Future<Output = Result<(), Unsupported>> {
        async { Err(Unsupported) }
    }

    /// Is gone at once, without a word.
    fn abort(&mut self) -> impl Future<Output = Result<(), Unsupported>> {
        async { Err(Unsupported) }
    }

    /// Reads nothing until the next [`recv`](Self::recv). A peer that reads only when asked has
    /// nothing to do but return `Ok`.
    fn stall(&mut self) -> impl Future<Output = Result<(), Unsupported>> {
        async { Err(Unsupported) }
    }
}

/// A [`Peer`] cannot do this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsupported;

/// How the suite tells messages apart: each carries a number.
///
/// There is a default for `String` and for the transport's [`Message`]. Its messages are about 256
/// bytes long, so that buffers of the usual sizes fill.
pub struct Numbering<M> {
    /// Makes the message with this number. Equal numbers give equal messages.
    pub make: fn(u64) -> M,
    /// The number of a message; `None` for a message that is not the suite's, such as a ping. The
    /// suite ignores those.
    pub read: fn(&M) -> Option<u64>,
}

// === impl Numbering ===

const LENGTH: usize = 256;

impl Default for Numbering<String> {
    fn default() -> Self {
        Self {
            make: text,
            read: |message| number(message),
        }
    }
}

impl Default for Numbering<Message> {
    fn default() -> Self {
        Self {
            make: |n| Message::text(text(n)),
            read: |message| message.as_text().and_then(number),
        }
    }
}

impl<M> Clone for Numbering<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Numbering<M> {}

impl<M> fmt::Debug for Numbering<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbering")
    }
}

fn text(n: u64) -> String {
    let mut text = n.to_string();
    text.push(' ');
    let padding = LENGTH.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('.', padding));
    text
}

fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}
