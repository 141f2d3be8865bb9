use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;
use tokio::time::Instant;
use tower_ws_core::{Closed, Connection, DropReason, Lane, Measure, Outgoing};

use super::{Held, RateLimitConnection};
use crate::{
    booking::{Due, Pass},
    layer::Excess,
    schedule::TooLarge,
    turns::NoTurn,
};

/// How many messages may come back before somebody reads: as many as the control lane has room for.
const ROOM: usize = Lane::CONTROL_ROOM;

/// Why a message that was refused was.
const REFUSED: DropReason = DropReason::Refused("more than the rate limit allows; send it later, or let it wait");

impl<C, Me, G> Sink<Outgoing<C::Message>> for RateLimitConnection<C, Me, G>
where
    C: Connection,
    Me: Measure<C::Message>,
{
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let ready = self.as_mut().poll_free();
        if ready.is_ready() {
            return ready;
        }
        // Whoever reads polls what is below too, and takes the place of a writer who waits. Parked
        // only if it has to wait, and asked again: the wake-up may have come in between.
        self.halves.park_writer(cx);
        self.poll_free()
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        let this = self.project();
        let inner = this.inner;
        if inner.is_severed() {
            // A sink that was ready does not fail while its end has not been read.
            if this.down.is_none() {
                return Err(Closed);
            }
            this.lost.push_back((item, DropReason::Disconnected));
            return Ok(());
        }
        let (Some(limit), Lane::Normal) = (&this.settings.outbound, item.lane) else {
            return inner.start_send(item);
        };
        let bytes = this.measure.bytes(&item.message);
        let now = this.moment.now();
        let reason = if let Some(reason) = item.drop_reason(now) {
            reason
        } else if *this.closing {
            DropReason::Closed
        } else if this.held.is_some() {
            DropReason::Refused("the sink was not ready for it")
        } else {
            let pass = match this.settings.excess {
                Excess::Wait => limit.pass(now, bytes as u64).map(Some),
                Excess::Refuse => limit.try_pass(now, bytes as u64),
            };
            match pass {
                Ok(Some(Pass::Now)) => return inner.start_send(item),
                Ok(Some(Pass::Later(booking))) => {
                    *this.held = Some(Held { item, booking });
                    // It looks at the clock for us.
                    this.halves.wake_reader();
                    return Ok(());
                }
                Ok(None) => REFUSED,
                Err(TooLarge(limit)) => too_large(bytes, limit),
            }
        };
        this.lost.push_back((item, reason));
        this.halves.wake_reader();
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.as_mut().project().moment.pass();
        let pushed = self.as_mut().poll_push();
        if pushed.is_ready() {
            return pushed;
        }
        self.halves.park_writer(cx);
        self.poll_push()
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.halves.park_writer(cx);
        if !std::mem::replace(self.as_mut().project().closing, true) {
            self.as_mut().give_up(DropReason::Closed);
            // It may be stopped, and reads on from here.
            self.halves.wake_reader();
        }
        let this = self.project();
        this.inner.poll_close(&mut Context::from_waker(this.halves.both()))
    }
}

impl<C: Connection, Me, G> RateLimitConnection<C, Me, G> {
    /// Ready when one more message may be sent. Whoever has to wait has to be parked.
    fn poll_free(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        if self.closing {
            return Poll::Ready(Err(Closed));
        }
        if self.lost.len() >= ROOM {
            return Poll::Pending;
        }
        ready!(self.as_mut().poll_release())?;
        let this = self.project();
        this.inner.poll_ready(&mut Context::from_waker(this.halves.both()))
    }

    /// Passes on what is held if its turn has come, and flushes below in any case.
    pub(super) fn poll_push(mut self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        let released = self.as_mut().poll_release()?;
        let this = self.project();
        ready!(this.inner.poll_flush(&mut Context::from_waker(this.halves.both())))?;
        *this.unflushed = false;
        released.map(Ok)
    }

    /// Passes on what is held. Ready once nothing is. Whoever calls it has parked.
    fn poll_release(self: Pin<&mut Self>) -> Poll<Result<(), Closed>> {
        let mut this = self.project();
        let mut cx = Context::from_waker(this.halves.both());
        while let Some(held) = this.held {
            let now = Instant::now();
            let deadline = held.item.deadline;
            if let Some(reason) = held.item.drop_reason(now) {
                this.lost.extend(this.held.take().map(|held| (held.item, reason)));
                // One has to tell of it, the other may go on.
                this.halves.both().wake_by_ref();
                break;
            }
            match held.booking.due(now, &mut cx) {
                Due::Missed => held.booking.book_again(),
                Due::At(at) => ready!(
                    this.turn
                        .poll(deadline.map_or(at, |deadline| deadline.min(at)), now, &mut cx)
                ),
                Due::Never(none) => {
                    let reason = match none {
                        NoTurn::TooLarge(limit) => too_large(held.booking.bytes(), limit),
                        NoTurn::Later => REFUSED,
                    };
                    this.lost.extend(this.held.take().map(|held| (held.item, reason)));
                    this.halves.both().wake_by_ref();
                    break;
                }
                // Woken when it is known. The deadline holds all the same.
                Due::Asked => match deadline {
                    Some(deadline) => ready!(this.turn.poll(deadline, now, &mut cx)),
                    None => return Poll::Pending,
                },
                Due::Now => {
                    if this.inner.as_mut().poll_ready(&mut cx)?.is_ready() {
                        if let Some(held) = this.held.take() {
                            held.booking.spend();
                            *this.unflushed = true;
                            // One has to flush it, the other may go on.
                            this.halves.both().wake_by_ref();
                            this.inner.as_mut().start_send(held.item)?;
                        }
                        break;
                    }
                    // It may never take it. The deadline holds all the same.
                    match deadline {
                        Some(deadline) => ready!(this.turn.poll(deadline, now, &mut cx)),
                        None => return Poll::Pending,
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn too_large(size: usize, limit: u64) -> DropReason {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    DropReason::TooLarge { size, limit }
}
