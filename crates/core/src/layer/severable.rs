use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;

use super::connection::{Closed, Connection};
use crate::{
    failure::Failure,
    message::{Down, Event, Outgoing},
};

/// A connection below that its layer can cut off: health does when the peer is dead, a limit when
/// it is passed.
///
/// Until then everything passes. [`sever`](Self::sever) drops the connection below, so that the
/// peer sees it end without a farewell, and wakes the writer; from there on the stream is at its
/// end, and the sink fails with [`Closed`].
///
/// The writer may be another task than the reader, and may wait in any of the sink's methods. The
/// connection below forgets its waker when it is dropped, so it is kept here as well. A layer that
/// takes turns with the writer at the sink below ([`Halves`](crate::Halves)) polls with a waker of
/// both.
#[pin_project]
pub struct Severable<C> {
    #[pin]
    inner: Option<C>,
    epoch: u64,
    writer: Option<Waker>,
}

impl<C> Severable<C> {
    /// Nothing is cut off.
    pub fn new(inner: C) -> Self {
        Self {
            inner: Some(inner),
            epoch: 1,
            writer: None,
        }
    }

    /// True once it has been cut off.
    pub fn is_severed(&self) -> bool {
        self.inner.is_none()
    }

    /// The epoch of the last [`Up`](crate::Up) that passed; 1 before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Cuts the connection off, and gives the [`Down`] that the layer has to pass up for it.
    pub fn sever(self: Pin<&mut Self>, cause: Failure) -> Down {
        let mut down = Down::new(cause);
        down.epoch = self.epoch;
        self.release();
        down
    }

    /// Lets go of the connection below once it has ended by itself, and has said why.
    pub fn release(mut self: Pin<&mut Self>) {
        self.as_mut().project().inner.set(None);
        self.wake_writer();
    }

    /// Wakes the writer, if one waits: after the reader has used the sink below, which wakes the
    /// one who polled it last.
    pub fn wake_writer(self: Pin<&mut Self>) {
        if let Some(writer) = self.project().writer.take() {
            writer.wake();
        }
    }

    /// Polls the sink below for the writer, and keeps its waker if it has to wait. Nothing can be
    /// cut off in between: whoever cuts it off needs the same `&mut self`.
    fn poll_sink(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
    ) -> Option<Poll<Result<(), Closed>>> {
        let this = self.project();
        let polled = poll(this.inner.as_pin_mut()?, cx);
        if polled.is_pending() {
            match this.writer {
                Some(writer) => writer.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        Some(polled)
    }
}

impl<C: Connection> Stream for Severable<C> {
    type Item = C::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = inner.poll_next(cx);
        if let Poll::Ready(Some(Event::Up(up))) = &polled {
            *this.epoch = up.epoch;
        }
        polled
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for Severable<C> {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_sink(cx, C::poll_ready).unwrap_or_else(closed)
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.start_send(item),
            None => Err(Closed),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_sink(cx, C::poll_flush).unwrap_or_else(closed)
    }

    /// What has been cut off is closed.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.poll_sink(cx, C::poll_close).unwrap_or(Poll::Ready(Ok(())))
    }
}

fn closed() -> Poll<Result<(), Closed>> {
    Poll::Ready(Err(Closed))
}

impl<C: fmt::Debug> fmt::Debug for Severable<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Severable").field(&self.inner).finish()
    }
}
