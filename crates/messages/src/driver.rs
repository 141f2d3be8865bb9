use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;
use tower_ws_core::{
    Alarm, Connection, Down, DropReason, EndCause, Event as Told, Failure, FailureKind, Lane, OutageCause, Outgoing,
    Phase, Ticket,
    drive::{Drive, Put, Rounds},
};

use crate::{
    error::{Reason, SendError},
    events::{Event, EventInbox, Weighed},
    sender::Outcome,
    shared::{Shared, Stage, wake},
};

/// Drives a connection: writes what is ready, reads always, looks at the clock in between. Nothing
/// moves unless it is polled.
///
/// It resolves when the session has ended. Dropping it aborts the connection and settles every
/// send.
#[pin_project(PinnedDrop)]
#[must_use = "nothing moves unless the driver is polled: spawn it"]
pub struct Driver<C: Connection> {
    #[pin]
    connection: C,
    shared: Arc<Shared<C::Message>>,
    inbox: EventInbox<C::Message>,
    /// A message for which there was no room in an inbox that waits for it.
    held: Option<C::Message>,
    /// Handed to the connection and not flushed. It survives a flush that has to wait.
    dirty: bool,
    epoch: u64,
    /// Why the last connection went down.
    cause: Option<Failure>,
    end_cause: EndCause,
    /// There is no connection, and a layer below tries to have one.
    down: bool,
    closing: bool,
    /// Why this side ends the session, if nobody asked it to.
    own_cause: Option<Failure>,
    /// What came of the last event took the last room in the inbox.
    inbox_filled: bool,
    rounds: Rounds,
    alarm: Alarm,
}

impl<C: Connection> Driver<C> {
    pub(crate) fn new(connection: C, shared: Arc<Shared<C::Message>>, inbox: EventInbox<C::Message>) -> Self {
        Self {
            connection,
            shared,
            inbox,
            held: None,
            dirty: false,
            epoch: 0,
            cause: None,
            end_cause: EndCause::new(),
            down: false,
            closing: false,
            own_cause: None,
            inbox_filled: false,
            rounds: Rounds::new(),
            alarm: Alarm::default(),
        }
    }

    /// Deals with one event.
    pub(crate) fn accept(mut self: Pin<&mut Self>, event: Told<C::Message>) {
        let this = self.as_mut().project();
        match event {
            Told::Message(message) => self.push_message(message),
            Told::Up(up) => {
                if let Err(wrong) = up.check_order() {
                    tracing::error!(%wrong, "the session cannot work");
                    this.own_cause.get_or_insert(wrong.into());
                    *this.closing = true;
                }
                *this.epoch = up.epoch;
                *this.down = false;
                *this.cause = None;
                *this.end_cause = up.extensions.get::<EndCause>().cloned().unwrap_or_default();
                let outage_cause = up.extensions.get::<OutageCause>().cloned();
                this.shared.lock().outage_cause = outage_cause.unwrap_or_default();
                self.push(Event::Up(up));
            }
            Told::Down(mut down) => {
                if let (Some(cause), false) = (&this.own_cause, down.will_retry) {
                    down.cause = cause.clone();
                }
                *this.dirty = false;
                *this.cause = Some(down.cause.clone());
                *this.down = down.will_retry;
                // Of the last connection's the end takes care.
                if down.will_retry {
                    let wakers = this.shared.lock().outbox.settle_where(|ticket| {
                        let lost = matches!(ticket.phase(), Phase::Sent(epoch) if epoch <= down.epoch);
                        lost.then(|| Reason::Interrupted(Some(down.cause.clone())))
                    });
                    wakers.into_iter().for_each(Waker::wake);
                }
                self.push(Event::Down(down));
            }
            Told::Delivered(outgoing) => {
                if let Some(ticket) = &outgoing.ticket {
                    let waker = this
                        .shared
                        .lock()
                        .outbox
                        .settle(ticket.tag(), Ok(Outcome::Acknowledged));
                    wake(waker);
                }
            }
            Told::Dropped(outgoing, reason) => self.dropped(outgoing, reason),
            _ => {}
        }
    }

    /// A layer below gave up on a message.
    fn dropped(self: Pin<&mut Self>, outgoing: Outgoing<C::Message>, reason: DropReason) {
        // One in the control lane was worth sending then or not at all, and is none of ours.
        if outgoing.lane == Lane::Control {
            return;
        }
        let ticket = outgoing.ticket.as_ref();
        let serial = ticket.map_or(0, Ticket::tag);
        let mut state = self.shared.lock();
        if state.outbox.is_awaited(serial) {
            let reason = match reason {
                DropReason::Closed => Reason::Closed(self.cause.clone()),
                DropReason::Interrupted(cause) => Reason::Interrupted(cause.or_else(|| self.cause.clone())),
                other => Reason::Dropped(other),
            };
            let waker = state
                .outbox
                .settle(serial, Err(SendError::new(Some(outgoing.message), reason)));
            drop(state);
            return wake(waker);
        }
        // Its sender has given up.
        if ticket.is_some() {
            return;
        }
        let is_asked_for = matches!(state.stage, Stage::Draining(_));
        // What a store keeps, it sends in the next session: nobody else should.
        if reason == DropReason::Closed && is_asked_for {
            return state
                .leftovers
                .extend(outgoing.record.is_none().then_some(outgoing.message));
        }
        drop(state);
        let message = outgoing.message;
        self.push(Event::Undelivered { message, reason });
    }

    fn push_message(self: Pin<&mut Self>, message: C::Message) {
        let is_meant = self.shared.config.only.as_ref().is_none_or(|only| only(&message));
        if is_meant {
            self.push(Event::Message(message));
        }
    }

    fn push(self: Pin<&mut Self>, event: Event<C::Message>) {
        let this = self.project();
        let bytes = match &event {
            Event::Message(message) | Event::Undelivered { message, .. } => this.shared.config.bytes(message),
            _ => 0,
        };
        match this.inbox.put(Weighed { event, bytes }) {
            Put::Kept { last } => *this.inbox_filled = last,
            Put::Evicted(_) => *this.inbox_filled = true,
            Put::Unread(_) => {}
            // It ends already.
            Put::Overrun if *this.closing => {}
            Put::Overrun => {
                let text = "the application did not read what came in fast enough, and asked to end then";
                tracing::error!("{text}");
                this.own_cause
                    .get_or_insert_with(|| Failure::new(FailureKind::Policy, text));
                *this.closing = true;
            }
        }
    }

    /// Hands over what waits, in order, as long as the connection takes it.
    fn feed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut most = self.shared.lock().outbox.waiting();
        while most > 0 && matches!(self.as_mut().project().connection.poll_ready(cx), Poll::Ready(Ok(()))) {
            most -= 1;
            let this = self.as_mut().project();
            // Its sender may have taken it back.
            let popped = this.shared.lock().outbox.pop(!this.shared.config.acknowledged);
            let Some((message, slip)) = popped else { return };
            let mut outgoing = Outgoing::new(message);
            outgoing.ticket = slip.ticket.clone();
            let is_taken = this.connection.start_send(outgoing).is_ok();
            *this.dirty |= is_taken;
            let waker = this.shared.lock().outbox.taken(slip, is_taken);
            wake(waker);
        }
    }
}

impl<C: Connection> Drive for Driver<C> {
    fn poll_clock(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let state = this.shared.lock();
        let Stage::Draining(until) = state.stage else {
            return Poll::Pending;
        };
        let idle = state.outbox.is_idle() && !*this.dirty;
        drop(state);
        if *this.closing {
            return Poll::Pending;
        }
        if !idle {
            ready!(this.alarm.poll(until, Instant::now(), cx));
        }
        *this.closing = true;
        Poll::Ready(())
    }

    fn write(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        if self.closing {
            // Its outcome is read from the stream.
            let _ = self.project().connection.poll_close(cx);
            return;
        }
        // The first event is `Up`, and it may say that this session cannot work.
        if self.epoch == 0 {
            return;
        }
        self.as_mut().feed(cx);
        let this = self.project();
        // A layer that holds messages sends them while it is read from.
        let has_unwritten = this.shared.lock().outbox.has_unwritten();
        if !*this.dirty && !has_unwritten {
            return;
        }
        if this.connection.poll_flush(cx).is_pending() {
            return;
        }
        *this.dirty = false;
        if has_unwritten {
            let wakers = this.shared.lock().outbox.written();
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn poll_event(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<bool>> {
        *self.as_mut().project().inbox_filled = false;
        if self.held.is_some() && !self.closing {
            ready!(self.inbox.poll_room(cx));
        }
        if let Some(message) = self.as_mut().project().held.take() {
            self.as_mut().push_message(message);
            return Poll::Ready(Some(self.inbox_filled));
        }
        let Some(event) = ready!(self.as_mut().project().connection.poll_next(cx)) else {
            return Poll::Ready(None);
        };
        match event {
            // Only messages wait for room: what else comes tells what became of what was sent.
            Told::Message(message) if !self.closing && self.inbox.poll_room(cx).is_pending() => {
                *self.project().held = Some(message);
                Poll::Pending
            }
            event => {
                self.as_mut().accept(event);
                Poll::Ready(Some(self.inbox_filled))
            }
        }
    }

    fn is_full(&self) -> bool {
        !self.closing && self.inbox.is_full()
    }

    fn end(mut self: Pin<&mut Self>) {
        let known = self.own_cause.as_ref().or(self.end_cause.get());
        let cause = match known {
            // Closed between two connections: why the last one went down is another story.
            None if self.closing && self.down => Some(Failure::closed_locally()),
            known => known.or(self.cause.as_ref()).cloned(),
        };
        // The application was told that there might be another connection.
        if let (true, Some(cause)) = (self.down, &cause) {
            let mut down = Down::new(cause.clone());
            down.epoch = self.epoch;
            self.as_mut().push(Event::Down(down));
        }
        for message in self.shared.end(cause.as_ref()) {
            let reason = DropReason::Closed;
            self.as_mut().push(Event::Undelivered { message, reason });
        }
        self.inbox.end();
    }
}

impl<C: Connection> Future for Driver<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Before anything is looked at: what another thread adds meanwhile wakes this task again.
        self.shared.lock().park_driver(cx);
        let mut rounds = std::mem::take(self.as_mut().project().rounds);
        let moved = rounds.poll(self.as_mut(), cx);
        *self.project().rounds = rounds;
        moved
    }
}

#[pinned_drop]
impl<C: Connection> PinnedDrop for Driver<C> {
    fn drop(mut self: Pin<&mut Self>) {
        // After the session's end this says nothing new.
        let cause = Failure::new(FailureKind::Local, "the driver of the session was dropped");
        for message in self.shared.end(Some(&cause)) {
            let reason = DropReason::Closed;
            self.as_mut().push(Event::Undelivered { message, reason });
        }
        self.inbox.end();
    }
}

impl<C: Connection> fmt::Debug for Driver<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("epoch", &self.epoch)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}
