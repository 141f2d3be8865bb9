//! What moves a session: the one task that reads its connection, writes to it, and looks at the
//! clock. Fairness between the three lives here, and so does the inbox that an application reads.

mod inbox;
mod turn;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tracing::Span;

pub use self::inbox::{Inbox, InboxItem, InboxReader, Lag, Put};
use self::turn::Turn;
use crate::message::ConnectionId;

/// The span in which the layers of a session log: a random `id`, how the application calls it, whom
/// it is with (host and port).
#[must_use]
pub fn session_span(name: Option<&str>, server: Option<&str>) -> Span {
    // It outlives whoever connects, whose span would stay open for as long as one within it.
    let span = tracing::info_span!(parent: None, "session", id = %ConnectionId::random(), name, server);
    span.follows_from(Span::current());
    span
}

/// A session that [`Rounds`] move: calls over JSON-RPC, plain messages.
pub trait Drive {
    /// Does what is due. `Ready`: something was, so look again.
    fn poll_clock(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Hands over what the connection takes, and flushes. What is left waits for the connection,
    /// which wakes this task.
    fn write(self: Pin<&mut Self>, cx: &mut Context<'_>);

    /// Takes in one event. `None`: the connection has ended. True: what came of it took the last
    /// room of the inbox.
    fn poll_event(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<bool>>;

    /// Is there an application that reads, and no room until it does? Asked only after an event
    /// took the last room.
    fn is_full(&self) -> bool;

    /// The session is over.
    fn end(self: Pin<&mut Self>);
}

/// How a session is moved: rounds of writing and reading, each bounded, so that nothing waits for a
/// read that finds nothing (law 12), and other tasks get their turn.
///
/// At a full inbox it stands back for the runtime, at most twice in 256 messages: an application
/// that only reads loses nothing then, and one that never reads does not slow down its own calls.
#[derive(Debug)]
pub struct Rounds {
    /// Events read since it could stand back as often as it likes, and how often it still may.
    reads: usize,
    pauses: usize,
    /// The last event took the last room in the inbox.
    filled: bool,
    turn: Turn,
}

/// How many events are read before what came of them is written, and how many of those rounds one
/// poll may take: enough for one flush to carry much, few enough to leave other tasks their turn.
const READS: usize = 64;
const ROUNDS: usize = 16;
/// How often within so many events the application is let read before what finds no room is
/// dropped.
const PAUSES: usize = 2;
const PAUSES_WITHIN: usize = 256;

enum Reading {
    /// There is nothing more.
    Dry,
    /// The bound was reached before the end of what there is.
    More,
    /// The inbox is full: the application is to have its turn.
    Full,
    Ended,
}

impl Rounds {
    /// None yet.
    pub fn new() -> Self {
        Self {
            reads: 0,
            pauses: PAUSES,
            filled: false,
            turn: Turn::default(),
        }
    }

    /// Moves the session as far as it goes now; `Ready` once it has ended. Before it, park whoever
    /// wakes the session for other reasons: what another thread adds meanwhile has to wake this task
    /// again.
    pub fn poll<D: Drive>(&mut self, mut session: Pin<&mut D>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            // Before what comes in is looked at: of what is late, layers below may say so too.
            let _ = session.as_mut().poll_clock(cx);
            // Before anything is read: that may use up what tokio lets a task do in one poll, and
            // then nothing is written.
            session.as_mut().write(cx);
            if self.turn.is_others(cx) {
                return Poll::Pending;
            }
            match self.read(session.as_mut(), cx) {
                Reading::More => {}
                Reading::Full => break,
                Reading::Ended => {
                    session.end();
                    return Poll::Ready(());
                }
                Reading::Dry => {
                    // What came of what was read.
                    session.as_mut().write(cx);
                    if session.as_mut().poll_clock(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
        self.turn.give(cx);
        Poll::Pending
    }

    /// Reads what there is, up to a bound.
    fn read<D: Drive>(&mut self, mut session: Pin<&mut D>, cx: &mut Context<'_>) -> Reading {
        for _ in 0..READS {
            if self.filled && self.pauses > 0 && session.is_full() {
                self.pauses -= 1;
                return Reading::Full;
            }
            match session.as_mut().poll_event(cx) {
                Poll::Ready(Some(filled)) => self.filled = filled,
                Poll::Ready(None) => return Reading::Ended,
                Poll::Pending => return Reading::Dry,
            }
            self.reads += 1;
            if self.reads >= PAUSES_WITHIN {
                (self.reads, self.pauses) = (0, PAUSES);
            }
        }
        Reading::More
    }
}

impl Default for Rounds {
    fn default() -> Self {
        Self::new()
    }
}
