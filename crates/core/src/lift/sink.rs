//! The half that writes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::time::Instant;

use super::{Blocked, Ending, Farewell, Lift, Until, outbox::claim_for_sending, wire::Wire};
use crate::{
    failure::{BoxError, Failure},
    layer::Closed,
    message::{DropReason, Lane, Outgoing},
};

impl<S, M, W, E> Sink<Outgoing<M>> for Lift<S, M, W>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E>,
    E: Into<BoxError>,
    W: Wire<M>,
{
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_write(cx, Until::Ready)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing<M>) -> Result<(), Closed> {
        let this = self.as_mut().project();
        match this.ending {
            Ending::Not => {}
            Ending::Ended(None) => return Err(Closed),
            _ => {
                self.drop_message(item, DropReason::Disconnected);
                return Ok(());
            }
        }
        if let Err(reason) = this.wire.admit(&item.message) {
            self.drop_message(item, reason);
        } else if item.lane == Lane::Control {
            match this.outbox.control.len() {
                0..Lane::CONTROL_ROOM => this.outbox.control.push_back(item),
                _ => self.drop_message(item, DropReason::Overflow),
            }
        } else if this.outbox.rest.is_some() || this.outbox.waiting.is_some() {
            self.drop_message(item, DropReason::Refused("the sink was not ready for it"));
        } else {
            self.write(item);
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.as_mut().project().moment.pass();
        self.poll_write(cx, Until::Flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let this = self.as_mut().project();
        if let Ending::Not = this.ending {
            *this.ending = Ending::Closing {
                cause: Failure::closed_locally(),
                farewell: Farewell::Due,
            };
            this.timers.closing();
            // Whoever reads must hear of the deadline that has just begun.
            this.halves.wake_reader();
        }
        if let Poll::Ready(done) = self.as_mut().poll_farewell(cx) {
            return Poll::Ready(done);
        }
        let halves = self.as_mut().project().halves;
        halves.park_writer(cx);
        let both = halves.both().clone();
        self.poll_farewell(&mut Context::from_waker(&both))
    }
}

impl<S, M, W, E> Lift<S, M, W>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E>,
    E: Into<BoxError>,
    W: Wire<M>,
{
    /// One poll of the half that writes. Its waker is parked only when it has to wait.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, until: Until) -> Poll<Result<(), Closed>> {
        if !matches!(self.ending, Ending::Not) {
            return Poll::Ready(Err(Closed));
        }
        if let Poll::Ready(done) = self.as_mut().poll_push(cx, until) {
            return Poll::Ready(done);
        }
        let halves = self.as_mut().project().halves;
        halves.park_writer(cx);
        let both = halves.both().clone();
        self.poll_push(&mut Context::from_waker(&both), until)
    }

    /// Moves what was accepted into the socket: control first, then the pieces of a large message.
    pub(super) fn poll_push(mut self: Pin<&mut Self>, cx: &mut Context<'_>, until: Until) -> Poll<Result<(), Closed>> {
        loop {
            let this = self.as_mut().project();
            let Some(mut socket) = this.socket.as_pin_mut() else {
                return Poll::Ready(Err(Closed));
            };
            let idle = this.outbox.is_empty();
            let flushes = this.pieces.are_due() || idle && matches!(until, Until::Flushed);
            let polled = match flushes {
                true => socket.as_mut().poll_flush(cx),
                false => socket.as_mut().poll_ready(cx).map_ok(|()| *this.socket_ready = true),
            };
            match polled {
                Poll::Ready(Ok(())) if flushes => {
                    this.pieces.flushed(!this.blocked.flush);
                    *this.blocked = Blocked::default();
                    this.timers.write_done();
                    if !idle || matches!(until, Until::Ready) {
                        continue;
                    }
                }
                Poll::Ready(Ok(())) => {
                    // That there is room again shows that something has moved; that there was some
                    // all the time does not.
                    if std::mem::take(&mut this.blocked.ready) {
                        this.timers.write_done();
                        if this.blocked.flush {
                            this.timers.write_blocked();
                        }
                    }
                }
                Poll::Ready(Err(error)) => {
                    let failure = this.wire.failure(error.into());
                    return Poll::Ready(Err(self.broken(failure)));
                }
                Poll::Pending => {
                    match flushes {
                        true => this.blocked.flush = true,
                        false => this.blocked.ready = true,
                    }
                    this.pieces.blocked();
                    this.timers.write_blocked();
                    if this.timers.poll_alarm(Instant::now(), cx).is_ready() {
                        this.halves.wake_reader();
                    }
                    return Poll::Pending;
                }
            }
            if idle {
                return Poll::Ready(Ok(()));
            }
            match this.outbox.next(this.wire, this.moment) {
                Ok(message) => {
                    *this.socket_ready = false;
                    if this.outbox.rest.is_some() {
                        this.pieces.handed();
                    }
                    if let Err(error) = socket.start_send(message) {
                        let failure = this.wire.failure(error.into());
                        return Poll::Ready(Err(self.broken(failure)));
                    }
                }
                Err((item, reason)) => self.as_mut().drop_message(item, reason),
            }
        }
    }

    /// Hands a message to the socket; to the outbox, if a control message has gone ahead since the
    /// sink was ready.
    fn write(mut self: Pin<&mut Self>, item: Outgoing<M>) {
        let this = self.as_mut().project();
        let Some(socket) = this.socket.as_pin_mut() else {
            return;
        };
        if !*this.socket_ready {
            this.outbox.waiting = Some(item);
            return;
        }
        if let Err(reason) = claim_for_sending(&item, this.moment) {
            return self.drop_message(item, reason);
        }
        *this.socket_ready = false;
        let mut message = item.message;
        let sent = match this.wire.split(&mut message) {
            None => socket.start_send(message),
            Some(piece) => {
                this.outbox.rest = Some(message);
                this.pieces.handed();
                socket.start_send(piece)
            }
        };
        if let Err(error) = sent {
            let failure = this.wire.failure(error.into());
            self.broken(failure);
        }
    }

    fn poll_farewell(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        loop {
            let Ending::Closing { farewell, .. } = self.ending else {
                return Poll::Ready(Ok(()));
            };
            if farewell == Farewell::Due {
                ready!(self.as_mut().poll_push(cx, Until::Ready))?;
            }
            let this = self.as_mut().project();
            let (Some(mut socket), Ending::Closing { farewell, .. }) = (this.socket.as_pin_mut(), this.ending) else {
                return Poll::Ready(Ok(()));
            };
            let polled = match farewell {
                Farewell::Due => {
                    let said = match this.wire.farewell() {
                        Some(message) => {
                            *farewell = Farewell::Said;
                            socket.as_mut().start_send(message)
                        }
                        None => {
                            *farewell = Farewell::Socket;
                            Ok(())
                        }
                    };
                    if said.is_ok() {
                        continue;
                    }
                    said
                }
                Farewell::Said => ready!(socket.poll_flush(cx)),
                Farewell::Socket => ready!(socket.poll_close(cx)),
            };
            return Poll::Ready(polled.map_err(|_| Closed));
        }
    }
}
