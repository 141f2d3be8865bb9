//! The sink half.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;
use tokio::time::Instant;
use tower_ws_core::{Closed, Connection, DropReason, Lane, Measure, Outgoing};

use super::{Link, REFUSED, SubscribeConnection, Turn};
use crate::{dialect::Dialect, standing::Learnt};

impl<C, D, M, Me> Sink<Outgoing<M>> for SubscribeConnection<C, D, M, Me>
where
    C: Connection<Message = M>,
    D: Dialect<M>,
    M: Clone + Send + 'static,
    Me: Measure<M>,
{
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.halves.park_writer(cx);
        if let Link::Over | Link::Ended = self.link {
            return Poll::Ready(Err(Closed));
        }
        if self.granted && !self.reserved {
            return Poll::Ready(Ok(()));
        }
        if self.refused.len() >= REFUSED {
            return Poll::Pending;
        }
        let first = match self.granted {
            true => Poll::Ready(Ok(())),
            false => self.as_mut().poll_first(),
        };
        let this = self.project();
        let waits = first.is_pending();
        if waits && !*this.writer_waits {
            // The reader looks at the clock.
            this.halves.wake_reader();
        }
        *this.writer_waits = waits;
        ready!(first)?;
        let ready = this.inner.poll_ready(&mut Context::from_waker(this.halves.both()));
        *this.writer_waits = ready.is_pending();
        ready!(ready)?;
        (*this.granted, *this.reserved) = (true, true);
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, mut item: Outgoing<M>) -> Result<(), Closed> {
        let this = self.as_mut().project();
        if item.lane == Lane::Control {
            return this.inner.start_send(item);
        }
        if *this.link == Link::Ended || (*this.link == Link::Over && this.down.is_none()) {
            return Err(Closed);
        }
        let granted = std::mem::take(this.granted);
        let reserved = std::mem::take(this.reserved);
        // Ready before a connection was lost is not ready.
        if !granted {
            this.refused.push_back((item, DropReason::Disconnected));
            this.halves.wake_reader();
            return Ok(());
        }
        let bytes = this.measure.bytes(&item.message);
        match this.standing.learn(this.moment.now(), this.dialect, &item, bytes) {
            Learnt::AsItIs => {}
            Learnt::Instead(other) => item.message = other,
            Learnt::Refused(why) => {
                this.refused.push_back((item, DropReason::Refused(why)));
                this.halves.wake_reader();
                return Ok(());
            }
        }
        *this.turn = Turn::Standing;
        if !reserved {
            // What stands has used it: this one is the next.
            *this.held = Some(item);
            this.halves.wake_reader();
            return Ok(());
        }
        let sent = this.inner.start_send(item);
        self.as_mut().publish();
        sent
    }

    /// Flushed is what the application has handed over. What stands goes out as it may.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.halves.park_writer(cx);
        self.as_mut().project().moment.pass();
        self.as_mut().send_held()?;
        let this = self.project();
        ready!(this.inner.poll_flush(&mut Context::from_waker(this.halves.both())))?;
        *this.dirty = false;
        match this.held.is_some() && *this.link == Link::Up {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.halves.park_writer(cx);
        // What becomes of it otherwise, the events say.
        let _ = self.as_mut().send_held();
        let this = self.project();
        *this.closing = true;
        this.inner.poll_close(&mut Context::from_waker(this.halves.both()))
    }
}

impl<C, D, M, Me> SubscribeConnection<C, D, M, Me>
where
    C: Connection<Message = M>,
    D: Dialect<M>,
    M: Clone + Send + 'static,
    Me: Measure<M>,
{
    /// Hands down the message that waits here, if the connection below takes it.
    fn send_held(mut self: Pin<&mut Self>) -> Result<(), Closed> {
        if self.held.is_none() || self.link != Link::Up {
            return Ok(());
        }
        let this = self.as_mut().project();
        match this.inner.poll_ready(&mut Context::from_waker(this.halves.both()))? {
            Poll::Ready(()) => self.say(Instant::now()),
            Poll::Pending => Ok(()),
        }
    }
}
