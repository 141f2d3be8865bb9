mod sink;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_ws_core::{
    Alarm, Closed, Connection, Down, DropReason, Event, FailureKind, Halves, Lease, Length, Severable, Up,
};

use crate::{buffer::Buffer, handle::Hub, layer::Settings, store::Store};

/// A connection with a queue before its sink.
///
/// # The sink
///
/// It is ready while there is room, whether or not there is a connection below. It fails, with
/// [`Closed`], once the session has ended or is being closed.
///
/// - If nothing is held and the connection below is ready, a message goes straight to it. Otherwise
///   it is held behind all others, and moves on as soon as the connection below takes it, driven by
///   whoever reads or flushes.
/// - A [control](tower_ws_core::Lane::Control) message goes straight to the connection below, ahead
///   of what is held.
/// - A flush is done once nothing is held and the connection below is flushed. While the link is
///   down it is done at once: what is held then goes out, and is flushed, when a connection is up
///   again, without another flush. So a driver that flushes is never held up by an outage. A
///   [store](crate::Store::poll_kept) that outlives the process is waited for in any case: what is
///   flushed is recorded. *Flushed* does not mean *written*: a [ticket](tower_ws_core::Ticket) says
///   that.
/// - Closing takes nothing new, and waits for what is held to go out, [5
///   s](crate::QueueLayer::drain) at most. What is left comes back as
///   [`Closed`](DropReason::Closed), then the connection below is closed. While the link is down
///   nothing is waited for, since no redial is sure to succeed: everything comes back at once.
///   Whoever has begun to close need not stay: reading goes on with it, up to the closing of the
///   connection below, which it begins.
///
/// # What comes back
///
/// What the queue gives up comes back as [`Dropped`](Event::Dropped), in an outage too. If as many
/// of these wait to be read as the queue may hold, the sink is not ready until some have been read.
/// When the session ends, whatever is held comes back before its last `Down`. It ends as well once
/// its [store is lost](crate::Store::poll_lost).
///
/// Dropping the connection drops what it holds.
#[pin_project]
pub struct QueueConnection<C: Connection, Me = Length, S = crate::MemoryStore> {
    #[pin]
    inner: Severable<C>,
    measure: Me,
    buffer: Buffer<C::Message, S>,
    stage: Stage,
    link: Link,
    /// The sink below has said that it is closed.
    below_closed: bool,
    /// Something that was held has been passed on since the last flush.
    unflushed: bool,
    /// The connection below says that it is flushed. One that broke says so too, so the store hears
    /// of it once whoever reads has found that nothing else is to be told.
    flushed: bool,
    /// A writer waits for room.
    awaits_room: bool,
    drain: Duration,
    closing: Closing,
    alarm: Alarm,
    halves: Halves,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    /// Its first `Up` has not been read.
    Fresh,
    Up,
    Down,
}

#[derive(Debug)]
enum Stage {
    Open,
    /// The session has ended. What was held is told first, then this.
    Ending(Option<Down>),
    /// Nothing is left to tell but what the connection below still says.
    Ended,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Closing {
    Not,
    /// What is held may go out until then; `None`: for ever.
    Draining(Option<Instant>),
    /// The connection below is being closed, by whoever closes: each poll of that may wake whoever
    /// reads.
    Below,
    Done,
}

impl<C: Connection, Me, S: Store<C::Message>> QueueConnection<C, Me, S> {
    pub(crate) fn new(inner: C, measure: Me, store: S, settings: &Settings) -> Self {
        Self {
            inner: Severable::new(inner),
            measure,
            buffer: Buffer::new(settings.bounds, store, Lease::of(settings.hub.as_ref(), Hub::new)),
            link: Link::Fresh,
            stage: Stage::Open,
            below_closed: false,
            unflushed: false,
            flushed: false,
            awaits_room: false,
            drain: settings.drain,
            closing: Closing::Not,
            alarm: Alarm::default(),
            halves: Halves::new(),
        }
    }

    fn came_up(self: Pin<&mut Self>, mut up: Up) -> Up {
        let this = self.project();
        *this.link = Link::Up;
        this.buffer.store().came_up(&mut up);
        let handle = this.buffer.handle();
        up.show(handle.0.source());
        up.extensions.insert(handle);
        up.through("queue")
    }

    /// The session is over: what is held goes back before this is told.
    fn end(self: Pin<&mut Self>, down: Option<Down>) {
        let this = self.project();
        if let Some(down) = &down {
            // Closed by us, after a flush, and not broken before that: it was one.
            let closed = matches!(this.closing, Closing::Below | Closing::Done);
            if *this.flushed && closed && down.cause.kind() == FailureKind::Local {
                this.buffer.store().flushed();
            }
            this.buffer.store().went_down(down);
            this.buffer.count();
        }
        this.buffer.give_up(&DropReason::Closed);
        *this.link = Link::Down;
        *this.below_closed = true;
        *this.stage = Stage::Ending(down);
        this.halves.wake_writer();
    }

    /// Ends the session if the store is not its own any more. Nothing else is written.
    fn poll_lost(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.as_mut().project();
        if let (Link::Fresh, _) | (_, Stage::Ending(_) | Stage::Ended) = (&this.link, &this.stage) {
            return;
        }
        if let Poll::Ready(cause) = this.buffer.store().poll_lost(cx) {
            // What went out before that is not known to have been flushed.
            *this.flushed = false;
            let down = this.inner.sever(cause);
            self.end(Some(down));
        }
    }

    fn next_given_back(self: Pin<&mut Self>) -> Option<Event<C::Message>> {
        let this = self.project();
        if let (Link::Fresh, Stage::Open) = (&this.link, &this.stage) {
            return None; // The first event is `Up`.
        }
        let had_room = this.buffer.has_room();
        let (item, reason) = this.buffer.next_given_back()?;
        if !had_room && this.buffer.has_room() {
            this.halves.wake_writer();
        }
        Some(Event::Dropped(item, reason))
    }

    /// The reader's other duties: moves what is held, gives up what is too old, goes on closing.
    fn poll_work(mut self: Pin<&mut Self>) {
        let before = self.progress();
        self.as_mut().poll_alarm();
        // What becomes of it shows in the fields.
        let _ = match self.closing {
            Closing::Draining(_) => self.as_mut().poll_leave().map(Ok),
            _ => self.as_mut().poll_push(),
        };
        // Only when something has changed, or a task that does both would wake itself for ever.
        if self.progress() != before {
            self.halves.wake_writer();
        }
    }

    /// What a writer may wait for.
    fn progress(&self) -> impl PartialEq + use<C, Me, S> {
        let flushed = self.buffer.is_empty() && !self.unflushed;
        let inside = !self.buffer.has_waiting();
        (self.buffer.has_room(), inside, flushed, self.below_closed, self.closing)
    }

    /// Gives up what is too old, and sees to it that this is called again in time.
    fn poll_alarm(self: Pin<&mut Self>) {
        let this = self.project();
        let mut cx = Context::from_waker(this.halves.both());
        loop {
            let late = match this.closing {
                Closing::Draining(until) => *until,
                _ => None,
            };
            let now = Instant::now();
            if late.is_some_and(|late| late <= now) {
                return; // The next step of closing sees it.
            }
            let look = this.awaits_room.then(|| this.buffer.next_look()).flatten();
            let Some(next) = [this.buffer.next_expiry(), late, look].into_iter().flatten().min() else {
                return;
            };
            if this.alarm.poll(next, now, &mut cx).is_pending() {
                return;
            }
            this.buffer.expire(now);
            if *this.awaits_room {
                this.buffer.make_room(now);
                *this.awaits_room = !this.buffer.has_room();
            }
        }
    }

    /// Passes on what goes, in order. Ready once nothing is held.
    fn poll_drain(self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        let mut this = self.project();
        if this.buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut cx = Context::from_waker(this.halves.both());
        let now = Instant::now();
        while this.buffer.has_next(now) {
            if ready!(this.inner.as_mut().poll_ready(&mut cx)).is_err() {
                *this.below_closed = true;
                return Poll::Ready(Err(Closed));
            }
            let Some(item) = ready!(this.buffer.poll_leave(&mut cx)) else {
                break;
            };
            // From here on a flush that was done before means nothing.
            (*this.unflushed, *this.flushed) = (true, false);
            if this.inner.as_mut().start_send(item).is_err() {
                *this.below_closed = true;
                return Poll::Ready(Err(Closed));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what goes, and flushes below in any case. Ready once nothing is held and
    /// everything is flushed, or if there is no connection to wait for; and not before the store
    /// has kept what it got.
    fn poll_push(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        if self.below_closed {
            return Poll::Ready(Err(Closed));
        }
        let this = self.as_mut().project();
        let mut cx = Context::from_waker(this.halves.both());
        if *this.link != Link::Fresh && this.buffer.store().poll_lost(&mut cx).is_ready() {
            // Not even what the layers below have taken is written. Whoever reads ends the session.
            this.halves.wake_reader();
            return Poll::Pending;
        }
        let kept = this.buffer.poll_kept(&mut Context::from_waker(this.halves.both()));
        let drained = self.as_mut().poll_drain()?;
        let this = self.project();
        let mut cx = Context::from_waker(this.halves.both());
        if ready!(this.inner.poll_flush(&mut cx)).is_err() {
            *this.below_closed = true;
            return Poll::Ready(Err(Closed));
        }
        *this.unflushed = false;
        if *this.link == Link::Up {
            if !*this.flushed && this.buffer.store().awaits_flush() {
                *this.flushed = true;
                this.halves.wake_reader();
            }
            ready!(drained);
        }
        kept.map(Ok)
    }

    /// One step of closing, by whoever closes or reads.
    fn poll_leave(mut self: Pin<&mut Self>) -> Poll<()> {
        if let Closing::Draining(until) = self.closing {
            // Flushed, so that nothing is left in the hands of the layers below either.
            let pushed = self.as_mut().poll_push();
            let this = self.as_mut().project();
            let late = until.is_some_and(|until| until <= Instant::now());
            // Without a connection there is nothing to wait for that is sure to come.
            let waits = !late && *this.link == Link::Up && !*this.below_closed;
            if waits && pushed.is_pending() {
                return Poll::Pending;
            }
            this.buffer.give_up(&DropReason::Closed);
            *this.closing = Closing::Below;
        }
        let this = self.project();
        if let Closing::Below = this.closing {
            let mut cx = Context::from_waker(this.halves.both());
            // Whether it could say goodbye, the events tell.
            let _ = ready!(this.inner.poll_close(&mut cx));
            *this.closing = Closing::Done;
        }
        Poll::Ready(())
    }
}

impl<C: Connection, Me, S: Store<C::Message>> Stream for QueueConnection<C, Me, S> {
    type Item = C::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        self.as_mut().poll_lost(cx);
        let leaving = matches!(self.closing, Closing::Draining(_));
        if !self.buffer.is_empty() || self.unflushed || leaving {
            self.halves.park_reader(cx);
            self.as_mut().poll_work();
        }
        loop {
            if let Some(event) = self.as_mut().next_given_back() {
                return Poll::Ready(Some(event));
            }
            let this = self.as_mut().project();
            if let Stage::Ending(down) = this.stage {
                let down = down.take();
                *this.stage = Stage::Ended;
                if let Some(down) = down {
                    return Poll::Ready(Some(Event::Down(down)));
                }
            }
            let polled = this.inner.poll_next(cx);
            // Nearly all of them, in place: an event is large.
            if let (Poll::Ready(Some(Event::Message(message))), Stage::Open) = (&polled, &this.stage) {
                this.buffer.store().heard(message);
                return polled;
            }
            let Poll::Ready(event) = polled else {
                if std::mem::take(this.flushed) {
                    this.buffer.store().flushed();
                }
                break;
            };
            if let Stage::Ended = this.stage {
                return Poll::Ready(event);
            }
            match event {
                Some(Event::Up(up)) => return Poll::Ready(Some(Event::Up(self.came_up(up)))),
                Some(Event::Down(down)) if down.will_retry => {
                    *this.link = Link::Down;
                    (*this.unflushed, *this.flushed) = (false, false);
                    this.buffer.store().went_down(&down);
                    this.buffer.count();
                    this.buffer.give_up_bound();
                    // A flush does not wait for another connection.
                    this.halves.wake_writer();
                    return Poll::Ready(Some(Event::Down(down)));
                }
                Some(Event::Down(down)) => self.as_mut().end(Some(down)),
                None => self.as_mut().end(None),
                Some(Event::Dropped(mut item, reason)) => match this.buffer.store().dropped(&mut item, reason) {
                    Some(reason) => return Poll::Ready(Some(Event::Dropped(item, reason))),
                    // While the link is up, the `Down` that follows sees to it.
                    None if *this.link == Link::Up => {}
                    None => this.buffer.count(),
                },
                Some(mut event) => {
                    if let Event::Delivered(item) = &mut event {
                        this.buffer.store().settled(item);
                    }
                    return Poll::Ready(Some(event));
                }
            }
        }
        // Whoever sends wakes it when there is something to do.
        self.halves.park_reader(cx);
        Poll::Pending
    }
}

impl<C, Me, S> fmt::Debug for QueueConnection<C, Me, S>
where
    C: Connection + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueConnection")
            .field("inner", &self.inner)
            .field("link", &self.link)
            .field("closing", &self.closing)
            .field("handle", &self.buffer.handle())
            .finish_non_exhaustive()
    }
}
