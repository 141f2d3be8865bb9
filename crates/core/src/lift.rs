//! A connection of any `Sink + Stream` of messages.

mod deadline;
mod outbox;
mod pieces;
mod sink;
mod wire;

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;

pub use self::{
    deadline::Deadlines,
    wire::{Plain, Wire},
};
use self::{
    deadline::{Missed, Timers},
    outbox::Outbox,
    pieces::Pieces,
};
use crate::{
    failure::{BoxError, Failure, FailureKind},
    layer::{Closed, Halves},
    message::{Down, DropReason, Event, Outgoing, Up},
    progress::Progress,
    time::Moment,
};

/// Makes a [`Connection`](crate::Connection) of any socket that is a sink and a stream of messages.
///
/// It adds what a bare socket lacks: `Up` and `Down`, the [deadlines](Deadlines), the control lane,
/// large messages in pieces, tickets. The [`Wire`] says what the messages mean; [`Plain`] takes
/// them all for data.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use futures_util::StreamExt;
/// use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
/// use tower_ws_core::{Event, Lift};
///
/// let (io, _peer) = tokio::io::duplex(1024);
/// let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
/// let mut connection = Lift::new(socket);
/// assert!(matches!(connection.next().await, Some(Event::Up(up)) if up.epoch == 1));
/// # }
/// ```
///
/// A message counts as sent, and its ticket says so, from the moment the socket is handed it. What
/// is refused before that (too large, expired, cancelled) comes back as
/// [`Dropped`](Event::Dropped).
///
/// It does not redial, queue or probe: those are layers of their own.
#[pin_project]
pub struct Lift<S, M, W = Plain> {
    #[pin]
    socket: Option<S>,
    wire: W,
    up: Option<Up>,
    progress: Option<Progress>,
    outbox: Outbox<M>,
    /// What was refused, until it is read.
    events: VecDeque<Event<M>>,
    ending: Ending,
    received: bool,
    /// Messages read since the outbox and the clock were looked at.
    unlooked: u8,
    /// What the socket was asked for in vain. Who asked may have given up, so the reader asks again.
    blocked: Blocked,
    /// The socket has said that it is ready, and has been handed nothing since.
    socket_ready: bool,
    pieces: Pieces,
    timers: Timers,
    /// For the deadlines of messages.
    moment: Moment,
    halves: Halves,
}

#[derive(Debug)]
enum Ending {
    /// Open.
    Not,
    /// A write failed. What the peer said before that can still be read, and may name a better
    /// cause.
    Broken(Failure),
    /// A closing handshake is under way.
    Closing { cause: Failure, farewell: Farewell },
    /// Over: this goes up, then nothing.
    Ended(Option<Down>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Farewell {
    /// What was accepted goes first.
    Due,
    /// With the socket, which sends it when flushed.
    Said,
    /// The socket's own `poll_close` says it.
    Socket,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Ready,
    Flushed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Blocked {
    ready: bool,
    flush: bool,
}

/// A peer that always has something to say puts off writes and deadlines by so many messages at
/// most (law 12).
const FAIR: u8 = 64;

impl<S, M> Lift<S, M> {
    /// Lifts a socket whose messages are only data.
    pub fn new(socket: S) -> Self {
        Self::with_wire(socket, Plain)
    }
}

impl<S, M, W> Lift<S, M, W> {
    /// Lifts a socket whose messages `wire` knows.
    pub fn with_wire(socket: S, wire: W) -> Self {
        Self {
            socket: Some(socket),
            wire,
            up: Some(Up::new()),
            progress: None,
            outbox: Outbox::new(),
            events: VecDeque::new(),
            ending: Ending::Not,
            received: false,
            unlooked: 0,
            blocked: Blocked::default(),
            socket_ready: false,
            pieces: Pieces::new(),
            timers: Timers::new(Deadlines::default(), None),
            moment: Moment::default(),
            halves: Halves::new(),
        }
    }

    /// Sets the deadlines, and the counters by which the transport tells that bytes move. The
    /// counters go up with [`Up`].
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines, progress: Option<Progress>) -> Self {
        self.timers = Timers::new(deadlines, progress.clone());
        self.progress = progress;
        self
    }

    /// Replaces what goes up first: its extensions may say what the handshake answered.
    #[must_use]
    pub fn up(mut self, up: Up) -> Self {
        self.up = Some(up);
        self
    }
}

impl<S, M, W, E> Stream for Lift<S, M, W>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E>,
    E: Into<BoxError>,
    W: Wire<M>,
{
    type Item = Event<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.as_mut().project();
        // The look spares each poll a move of what is there only once.
        if this.up.is_some()
            && let Some(mut up) = this.up.take()
        {
            if let Some(progress) = this.progress {
                up.extensions.insert(progress.clone());
            }
            return Poll::Ready(Some(Event::Up(up)));
        }
        if let Some(event) = this.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if let Ending::Ended(down) = this.ending {
            return Poll::Ready(down.take().map(Event::Down));
        }
        let read = self.as_mut().poll_read(cx);
        if !matches!(read, Poll::Ready(None)) {
            return read;
        }
        // It has just ended: what that left behind comes first.
        self.poll_next(cx)
    }
}

impl<S, M, W, E> Lift<S, M, W>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E>,
    E: Into<BoxError>,
    W: Wire<M>,
{
    /// Reads one message; `None` once the connection has ended.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<M>>> {
        loop {
            if self.unlooked >= FAIR {
                let looked = self.as_mut().poll_idle(cx);
                if looked.is_ready() {
                    return looked;
                }
            }
            let this = self.as_mut().project();
            let Some(socket) = this.socket.as_pin_mut() else {
                return Poll::Ready(None);
            };
            match socket.poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    *this.received = true;
                    *this.unlooked += 1;
                    let Some(close) = this.wire.close(&message) else {
                        return Poll::Ready(Some(Event::Message(message)));
                    };
                    self.as_mut().closed_by_peer(Failure::closed(close));
                }
                Poll::Ready(Some(Err(error))) => {
                    let failure = this.wire.failure(error.into());
                    self.as_mut().protest(&failure);
                    self.as_mut().end(failure);
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => {
                    let failure = this.wire.ended();
                    self.as_mut().end(failure);
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.poll_idle(cx),
            }
        }
    }

    /// Moves what waits to be written, and looks at the clock: when there is nothing to read, and
    /// now and then when there always is something.
    fn poll_idle(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event<M>>> {
        let this = self.as_mut().project();
        *this.unlooked = 0;
        this.moment.pass();
        this.halves.park_reader(cx);
        this.timers.on_read_pending(std::mem::take(this.received));
        let both = this.halves.both().clone();
        let mut both = Context::from_waker(&both);
        if !this.outbox.is_empty() || this.blocked.ready || this.blocked.flush {
            let until = match this.outbox.is_empty() && !this.blocked.flush {
                true => Until::Ready,
                false => Until::Flushed,
            };
            if self.as_mut().poll_push(&mut both, until).is_ready() {
                self.as_mut().project().halves.wake_writer();
            }
            if let Some(event) = self.as_mut().project().events.pop_front() {
                return Poll::Ready(Some(event));
            }
        }
        let missed = ready!(self.as_mut().project().timers.poll_missed(&mut both));
        let (text, silent) = match missed {
            Missed::Write(limit) => (
                format!("the peer took no byte for {limit:?}: it has stopped reading, or the link is dead"),
                Duration::ZERO,
            ),
            Missed::Idle(limit) => (format!("nothing came in for {limit:?}"), limit),
            Missed::Close => ("the peer did not finish closing in time".to_owned(), Duration::ZERO),
        };
        self.as_mut().end(Failure::new(FailureKind::Timeout, text));
        if let Ending::Ended(Some(down)) = self.project().ending {
            down.silent = silent;
        }
        Poll::Ready(None)
    }

    fn drop_message(self: Pin<&mut Self>, item: Outgoing<M>, reason: DropReason) {
        let this = self.project();
        this.events.push_back(Event::Dropped(item, reason));
        this.halves.wake_reader();
    }

    /// A write failed. Reading goes on for a while: the peer may have said why.
    fn broken(self: Pin<&mut Self>, failure: Failure) -> Closed {
        let this = self.project();
        if let Ending::Not = this.ending {
            *this.ending = Ending::Broken(failure);
        }
        // Or the reader would try again with each poll, and wake itself.
        *this.blocked = Blocked::default();
        for unsent in this.outbox.clear() {
            this.events.push_back(Event::Dropped(unsent, DropReason::Disconnected));
        }
        this.timers.write_done();
        this.timers.closing();
        this.halves.wake_reader();
        Closed
    }

    fn closed_by_peer(self: Pin<&mut Self>, cause: Failure) {
        let this = self.project();
        this.timers.peer_closed();
        if let Ending::Not | Ending::Broken(_) = this.ending {
            *this.ending = Ending::Closing {
                cause,
                farewell: Farewell::Said,
            };
            this.halves.wake_writer();
        }
    }

    /// Tells the peer why it is left, if the socket takes that at once.
    fn protest(self: Pin<&mut Self>, failure: &Failure) {
        let this = self.project();
        let (Ending::Not, None) = (&this.ending, &this.outbox.rest) else {
            return;
        };
        if let (Some(message), Some(mut socket)) = (this.wire.protest(failure), this.socket.as_pin_mut()) {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(Ok(())) = socket.as_mut().poll_ready(&mut cx)
                && socket.as_mut().start_send(message).is_ok()
            {
                // Whether it got through changes nothing: the connection is dropped now.
                let _ = socket.poll_flush(&mut cx);
            }
        }
    }

    /// The end: drops the socket, gives back what it had not taken, and leaves `Down` to be read.
    fn end(self: Pin<&mut Self>, found: Failure) {
        let mut this = self.project();
        this.socket.set(None);
        for unsent in this.outbox.clear() {
            this.events.push_back(Event::Dropped(unsent, DropReason::Disconnected));
        }
        let cause = match std::mem::replace(this.ending, Ending::Ended(None)) {
            Ending::Closing { cause, .. } | Ending::Broken(cause) => cause,
            Ending::Not | Ending::Ended(_) => found,
        };
        *this.ending = Ending::Ended(Some(Down::new(cause)));
        this.halves.wake_writer();
    }
}

impl<S: fmt::Debug, M, W: fmt::Debug> fmt::Debug for Lift<S, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lift")
            .field("socket", &self.socket)
            .field("wire", &self.wire)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}
