use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_sink::Sink;
use tower_ws_core::{Closed, Connection, DropReason, Lane, Measure, Outgoing};

use super::{AckConnection, Link};
use crate::strategy::Strategy;

impl<C, S, Me> Sink<Outgoing<C::Message>> for AckConnection<C, S, Me>
where
    C: Connection<Message: Clone>,
    S: Strategy<C::Message>,
    Me: Measure<C::Message>,
{
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let ready = self.as_mut().poll_grant();
        if ready.is_ready() {
            return ready;
        }
        // Parked only if it has to wait, and asked again: the wake-up may have come in between.
        self.halves.park_writer(cx);
        self.poll_grant()
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        let this = self.as_mut().project();
        if item.lane == Lane::Control {
            return this.inner.start_send(item);
        }
        if *this.link == Link::Ended || (*this.link == Link::Over && this.down.is_none()) {
            return Err(Closed);
        }
        // Ready before a connection was lost, or before something went again, is not ready.
        let granted = std::mem::take(this.granted);
        let Some(key) = this.strategy.awaits(&item) else {
            if granted {
                return this.inner.start_send(item);
            }
            this.window.refuse(item, DropReason::Disconnected);
            this.halves.wake_reader();
            return Ok(());
        };
        // What it was for is over.
        if *this.link != Link::Up && item.epoch.is_some() {
            this.window.refuse(item, DropReason::Disconnected);
            this.halves.wake_reader();
            return Ok(());
        }
        let (bytes, now) = (this.measure.bytes(&item.message), this.moment.now());
        let earliest = this.window.earliest();
        if granted && *this.link == Link::Up && !this.window.has_due() {
            // Nearly all of them: nothing stands before it.
            self.as_mut().note_heard();
            let this = self.as_mut().project();
            let next = this.window.accept_next(now, key, item, bytes, this.strategy);
            if this.window.earliest() != earliest || !this.alarm.is_set() {
                // Whoever reads sees to the clock.
                this.halves.wake_reader();
            }
            // If it fails the message is still kept, and comes back with the end of the session.
            let _ = self.as_mut().send_below(next);
            // The statistics follow with the flush.
            return Ok(());
        }
        this.window.accept(now, key, item, bytes);
        if *this.link == Link::Over {
            this.window.end(None);
        }
        // Whoever reads sees to what waits here, and to the clock.
        if !granted || this.window.earliest() != earliest || !this.alarm.is_set() {
            this.halves.wake_reader();
        }
        if granted {
            // If it fails the message is still kept, and comes back with the end of the session.
            let _ = self.as_mut().hand_down(now);
        }
        self.publish();
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.as_mut().project().moment.pass();
        self.publish();
        let moved = self.as_mut().poll_move();
        if moved.is_ready() {
            return moved;
        }
        self.halves.park_writer(cx);
        self.poll_move()
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.halves.park_writer(cx);
        let this = self.project();
        *this.granted = false;
        this.inner.poll_close(&mut Context::from_waker(this.halves.both()))
    }
}
