mod sink;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_ws_core::{Alarm, Closed, Connection, Down, Event, Halves, Lane, Length, Moment, Outgoing, Progress, Up};

use crate::{handle::Session, layer::AckLayer, strategy::Strategy, window::Window};

/// A connection that keeps what was sent until it is acknowledged.
///
/// # When it is ready
///
/// When the connection below is, the window has room, and everything that is to be sent again has
/// been handed down. The control lane knows no window: it passes at once, and is never kept.
///
/// # What becomes of a message that awaits an acknowledgement
///
/// | what happens | not sent | sent, safe to send again | sent, not safe |
/// |---|---|---|---|
/// | it is acknowledged | cannot be | reply: the `Message` itself; bare: `Delivered` | the same |
/// | the connection goes down, with another to come | goes with the next | ticket *held*, goes with the next | `Dropped`, interrupted |
/// | the same, after a message that was too large (close 1009, or ours to take) | goes with the next | `Dropped`, interrupted | `Dropped`, interrupted |
/// | its deadline passes in an outage | `Dropped`, expired | `Dropped`, interrupted | |
/// | its time is over | `Dropped`, expired | `Dropped`, interrupted | `Dropped`, interrupted |
/// | its ticket is cancelled | `Dropped`, cancelled | let go without a word | let go without a word |
/// | the session ends | `Dropped`, closed | `Dropped`, interrupted | `Dropped`, interrupted |
///
/// What comes back comes back as the caller gave it, before the `Down` of the connection concerned.
///
/// Closing does not wait for acknowledgements. Dropping it drops what it keeps.
#[pin_project]
pub struct AckConnection<C, S, Me = Length>
where
    C: Connection,
    S: Strategy<C::Message>,
{
    #[pin]
    inner: C,
    strategy: S,
    measure: Me,
    window: Window<C::Message, S::Key>,
    link: Link,
    /// The connection's end, told once everything that it interrupted has been.
    down: Option<Down>,
    /// The sink said that it was ready, and nothing has come between.
    granted: bool,
    /// Something was handed down from here and not flushed.
    dirty: bool,
    /// A writer waits for room in the window.
    awaits_room: bool,
    /// Events read since the clock was looked at.
    unlooked: u8,
    /// The bytes that came in; where the transport does not tell, the messages.
    progress: Option<Progress>,
    messages: u64,
    /// For what is sent and acknowledged together.
    moment: Moment,
    alarm: Alarm,
    halves: Halves,
    session: Session,
}

/// A peer that always has something to say puts off the clock by so many events at most (law 12).
const FAIR: u8 = 64;

/// What a message from below is.
enum Heard<K> {
    /// The application's, as it is.
    Message,
    /// The application's, which asked under this key.
    Answer(K),
    /// Nothing for the application.
    Acknowledgement,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    /// Its `Up` has not been read.
    Fresh,
    Up,
    /// Another is to come.
    Down,
    /// None is to come.
    Over,
    /// The connection below has said `None`.
    Ended,
}

impl<C, S, Me> AckConnection<C, S, Me>
where
    C: Connection<Message: Clone>,
    S: Strategy<C::Message>,
{
    pub(crate) fn new(inner: C, layer: AckLayer<S, Me>) -> Self {
        let session = Session::begin(layer.hub.as_ref());
        Self {
            inner,
            strategy: layer.strategy,
            measure: layer.measure,
            window: Window::new(layer.limits).counting_from(session.counts()),
            link: Link::Fresh,
            down: None,
            granted: false,
            dirty: false,
            awaits_room: false,
            unlooked: 0,
            progress: None,
            messages: 0,
            moment: Moment::default(),
            alarm: Alarm::default(),
            halves: Halves::new(),
            session,
        }
    }

    /// Hands down what is due, as far as the connection below takes it. Ready once nothing is due.
    fn poll_drain(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        while self.window.has_due() {
            if self.link != Link::Up {
                return Poll::Pending;
            }
            let this = self.as_mut().project();
            ready!(this.inner.poll_ready(&mut Context::from_waker(this.halves.both())))?;
            self.as_mut().hand_down(Instant::now())?;
            *self.as_mut().project().dirty = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the window how much has come in.
    fn note_heard(self: Pin<&mut Self>) {
        let this = self.project();
        let heard = this.progress.as_ref().map_or(*this.messages, Progress::read);
        this.window.set_heard(heard);
    }

    /// Hands down the first of what is due to a connection that is ready for it.
    fn hand_down(mut self: Pin<&mut Self>, now: Instant) -> Result<(), Closed> {
        self.as_mut().note_heard();
        let this = self.as_mut().project();
        *this.granted = false;
        let next = this.window.next_due(now, this.strategy);
        self.send_below(next)
    }

    fn send_below(self: Pin<&mut Self>, next: Option<(u64, Outgoing<C::Message>)>) -> Result<(), Closed> {
        let this = self.project();
        if let Some((serial, item)) = next
            && let Err(error) = this.inner.start_send(item)
        {
            this.window.unsent(serial);
            return Err(error);
        }
        if this.window.has_events() {
            this.halves.wake_reader();
        }
        Ok(())
    }

    /// Ready when one more message may be sent. Whoever has to wait has to be parked.
    fn poll_grant(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        if let Link::Over | Link::Ended = self.link {
            return Poll::Ready(Err(Closed));
        }
        ready!(self.as_mut().poll_drain())?;
        let this = self.project();
        let mut both = Context::from_waker(this.halves.both());
        if this.window.is_full() {
            this.window.sweep(Instant::now());
            this.session.publish(this.window.stats());
        }
        let waits = this.window.is_full();
        if waits && !*this.awaits_room {
            // The reader looks at the clock.
            this.halves.wake_reader();
        }
        *this.awaits_room = waits;
        if waits {
            // What was never flushed is never acknowledged. Its outcome is told by the events.
            let _ = this.inner.poll_flush(&mut both);
            return Poll::Pending;
        }
        ready!(this.inner.poll_ready(&mut both))?;
        *this.granted = true;
        Poll::Ready(Ok(()))
    }

    /// Hands down what is due and flushes, until both are done or nothing moves.
    fn poll_move(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        let mut left = usize::MAX;
        loop {
            let drained = self.as_mut().poll_drain().is_ready();
            // Below is flushed in any case: what it has may be what makes room.
            let this = self.as_mut().project();
            ready!(this.inner.poll_flush(&mut Context::from_waker(this.halves.both())))?;
            *this.dirty = false;
            // In an outage nothing can be flushed, and nobody is held up by it.
            if drained || *this.link != Link::Up {
                return Poll::Ready(Ok(()));
            }
            let due = this.window.due();
            if due == left {
                return Poll::Pending;
            }
            left = due;
        }
    }

    /// Moves what goes again. Whoever reads does this too: the writer may have nothing more to say.
    fn drive(mut self: Pin<&mut Self>) {
        let before = self.window.due();
        if self.dirty || (before > 0 && self.link == Link::Up) {
            // Why it is closed, the events say.
            let _ = self.as_mut().poll_move();
        }
        // Only if something moved: whoever reads may be the same task, and would never rest.
        if self.window.due() != before {
            self.publish();
            self.halves.wake_writer();
        }
    }

    /// A message from below.
    fn hear(self: Pin<&mut Self>, message: &C::Message) -> Heard<S::Key> {
        let this = self.project();
        *this.messages += 1;
        let Some(ack) = this.strategy.acknowledges(message) else {
            return Heard::Message;
        };
        let full = this.window.is_full();
        let original = this.window.acknowledged(this.moment.now(), ack.keys, !ack.passes);
        if full || !ack.passes {
            this.halves.wake_writer();
        }
        match original {
            // The statistics follow once there is nothing more to read.
            None if ack.passes => Heard::Message,
            Some(original) if ack.passes => Heard::Answer(original),
            _ => {
                this.session.publish(this.window.stats());
                Heard::Acknowledgement
            }
        }
    }

    /// Another event from below, as it goes up. `None` if it does not, or not yet.
    fn translate(mut self: Pin<&mut Self>, event: Option<Event<C::Message>>) -> Option<Event<C::Message>> {
        let this = self.as_mut().project();
        let event = match event {
            Some(Event::Up(up)) => Some(Event::Up(self.as_mut().came_up(up))),
            Some(Event::Dropped(item, reason)) => {
                let key = match item.lane {
                    Lane::Normal => this.strategy.awaits(&item),
                    Lane::Control => None,
                };
                match key.is_some_and(|key| this.window.returned(&key, reason.clone())) {
                    true => None,
                    false => return Some(Event::Dropped(item, reason)),
                }
            }
            Some(Event::Down(down)) => {
                self.as_mut().went_down(down);
                None
            }
            Some(event) => return Some(event),
            None => {
                // The session may have ended between two connections.
                this.window.end(None);
                *this.link = Link::Ended;
                None
            }
        };
        self.publish();
        self.halves.wake_writer();
        event
    }

    fn came_up(self: Pin<&mut Self>, mut up: Up) -> Up {
        let this = self.project();
        *this.link = Link::Up;
        this.window.up();
        *this.progress = up.extensions.get().cloned();
        this.strategy.came_up(&mut up);
        up.show(this.session.handle().0.source());
        up.extensions.insert(this.session.handle());
        up.through("ack")
    }

    fn went_down(mut self: Pin<&mut Self>, down: Down) {
        self.as_mut().note_heard();
        let this = self.project();
        *this.granted = false;
        *this.dirty = false;
        if down.will_retry {
            *this.link = Link::Down;
            this.window.down(&down.cause, this.strategy);
        } else {
            *this.link = Link::Over;
            this.window.end(Some(&down.cause));
        }
        *this.down = Some(down);
    }

    /// Gives up what has waited too long. `Ready`: look again.
    fn poll_clock(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        *this.unlooked = 0;
        this.moment.pass();
        let look = this.awaits_room.then(|| this.window.next_look()).flatten();
        let Some(next) = this.window.next_timeout().into_iter().chain(look).min() else {
            return Poll::Pending;
        };
        let now = Instant::now();
        ready!(this.alarm.poll(next, now, cx));
        this.window.expire(now);
        if *this.awaits_room {
            this.window.sweep(now);
        }
        this.session.publish(this.window.stats());
        this.halves.wake_writer();
        Poll::Ready(())
    }

    fn publish(&self) {
        self.session.publish(self.window.stats());
    }
}

impl<C, S, Me> Stream for AckConnection<C, S, Me>
where
    C: Connection<Message: Clone>,
    S: Strategy<C::Message>,
{
    type Item = Event<C::Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.unlooked >= FAIR {
                self.halves.park_reader(cx);
                let _ = self.as_mut().poll_clock(cx);
            }
            let this = self.as_mut().project();
            // The first event is `Up`.
            if *this.link != Link::Fresh
                && let Some(event) = this.window.pop_event()
            {
                return Poll::Ready(Some(event));
            }
            if let Some(down) = this.down.take() {
                return Poll::Ready(Some(Event::Down(down)));
            }
            if *this.link == Link::Ended {
                return Poll::Ready(None);
            }
            if self.dirty || self.window.has_due() {
                // What is polled below wakes both halves: before that, this one has to be there.
                self.halves.park_reader(cx);
            }
            self.as_mut().drive();
            let polled = self.as_mut().project().inner.poll_next(cx);
            *self.as_mut().project().unlooked += u8::from(polled.is_ready());
            // In place: an event is large, and to move it costs more than to look at it.
            if let Poll::Ready(Some(Event::Message(message))) = &polled {
                match self.as_mut().hear(message) {
                    Heard::Message => return polled,
                    Heard::Acknowledgement => continue,
                    Heard::Answer(original) => {
                        let answer = self.strategy.translate(message.clone(), &original);
                        return Poll::Ready(Some(Event::Message(answer)));
                    }
                }
            }
            match polled {
                Poll::Ready(event) => {
                    if let Some(event) = self.as_mut().translate(event) {
                        return Poll::Ready(Some(event));
                    }
                }
                Poll::Pending => {
                    self.publish();
                    self.halves.park_reader(cx);
                    let looked = self.as_mut().poll_clock(cx);
                    if looked.is_pending() && (self.link == Link::Fresh || !self.window.has_events()) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<C, S, Me> fmt::Debug for AckConnection<C, S, Me>
where
    C: Connection + fmt::Debug,
    S: Strategy<C::Message>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckConnection")
            .field("inner", &self.inner)
            .field("link", &self.link)
            .field("stats", &self.session.handle().snapshot())
            .finish_non_exhaustive()
    }
}
