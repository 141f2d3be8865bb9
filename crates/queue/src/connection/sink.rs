use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_sink::Sink;
use tokio::time::Instant;
use tower_ws_core::{Closed, Connection, DropReason, Lane, Measure, Outgoing};

use super::{Closing, Link, QueueConnection, Stage};
use crate::store::Store;

impl<C, Me, S> Sink<Outgoing<C::Message>> for QueueConnection<C, Me, S>
where
    C: Connection,
    Me: Measure<C::Message>,
    S: Store<C::Message>,
{
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.is_closed() {
            return Poll::Ready(Err(Closed));
        }
        // Whether the connection below is ready too, `start_send` asks.
        if self.buffer.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.halves.park_writer(cx);
        // What becomes of it shows in the fields.
        let _ = self.as_mut().poll_push();
        let this = self.as_mut().project();
        if !this.buffer.has_room() {
            this.buffer.make_room(Instant::now());
        }
        let waits = !this.buffer.has_room();
        if waits && !*this.awaits_room {
            // The reader looks at the clock.
            this.halves.wake_reader();
        }
        *this.awaits_room = waits;
        self.wake_reader_of_given_back();
        match (self.is_closed(), self.buffer.has_room()) {
            (true, _) => Poll::Ready(Err(Closed)),
            (false, true) => Poll::Ready(Ok(())),
            (false, false) => Poll::Pending,
        }
    }

    fn start_send(self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Result<(), Closed> {
        let this = self.project();
        if item.lane == Lane::Control {
            return this.inner.start_send(item);
        }
        let refused = match (&this.stage, &this.closing) {
            (Stage::Ended, _) => return Err(Closed),
            (Stage::Ending(_), _) | (_, Closing::Below | Closing::Done) => Some(DropReason::Closed),
            // What it was for is over.
            _ if *this.link == Link::Down && item.epoch.is_some() => Some(DropReason::Disconnected),
            _ => None,
        };
        // One that came back and is sent anew is another message.
        item.record = None;
        if refused.is_none() && this.buffer.is_empty() && !*this.below_closed && !this.buffer.store().writes_ahead() {
            let mut inner = this.inner;
            // Both are woken, should it have to wait: this is not the task's own poll, and the
            // message will be held.
            match inner.as_mut().poll_ready(&mut Context::from_waker(this.halves.both())) {
                Poll::Ready(Ok(())) => return inner.start_send(item),
                Poll::Ready(Err(_)) => *this.below_closed = true,
                Poll::Pending => {}
            }
        }
        let (bytes, now) = (this.measure.bytes(&item.message), Instant::now());
        let expiry = this.buffer.next_expiry();
        let was_empty = this.buffer.is_empty();
        match refused {
            Some(reason) => this.buffer.reject(item, bytes, reason, now),
            None => this.buffer.push(item, bytes, now),
        }
        // Whoever reads has to move it, tell of it, or look at the clock earlier.
        if was_empty || this.buffer.has_given_back() || this.buffer.next_expiry() != expiry {
            this.halves.wake_reader();
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut flushed = self.as_mut().poll_push();
        if flushed.is_pending() {
            // Parked only if it has to wait, and asked again: the wake-up may have come in between.
            self.halves.park_writer(cx);
            flushed = self.as_mut().poll_push();
        }
        self.wake_reader_of_given_back();
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.halves.park_writer(cx);
        let this = self.as_mut().project();
        if *this.closing == Closing::Not {
            *this.closing = Closing::Draining(Instant::now().checked_add(*this.drain));
            // Whoever reads goes on with it.
            this.halves.wake_reader();
        }
        self.as_mut().poll_alarm();
        let left = self.as_mut().poll_leave();
        self.wake_reader_of_given_back();
        left.map(Ok)
    }
}

impl<C, Me, S> QueueConnection<C, Me, S>
where
    C: Connection,
    S: Store<C::Message>,
{
    fn is_closed(&self) -> bool {
        self.below_closed || self.closing != Closing::Not
    }

    /// What the task that writes gave up, the one that reads has to tell.
    fn wake_reader_of_given_back(&self) {
        if self.buffer.has_given_back() {
            self.halves.wake_reader();
        }
    }
}
