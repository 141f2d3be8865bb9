//! A layer that holds eight messages.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tower::Service;
use tower_ws_core::{BoxError, Closed, Connection, DropReason, Event, Lane, Outgoing};

use super::{Fault, Target};

pub(crate) struct Queues<S> {
    pub(crate) inner: S,
    pub(crate) fault: Fault,
}

pub(crate) struct Queue<C: Connection> {
    inner: Pin<Box<C>>,
    fault: Fault,
    held: VecDeque<Outgoing<C::Message>>,
    events: VecDeque<Event<C::Message>>,
    writer: Option<Waker>,
    closing: bool,
}

impl<S, C> Service<Target> for Queues<S>
where
    S: Service<Target, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection + Send + 'static,
{
    type Response = Queue<C>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Queue<C>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let (call, fault) = (self.inner.call(target), self.fault);
        Box::pin(async move {
            let inner = Box::pin(call.await.map_err(Into::into)?);
            Ok(Queue {
                inner,
                fault,
                held: VecDeque::new(),
                events: VecDeque::new(),
                writer: None,
                closing: false,
            })
        })
    }
}

impl<C: Connection> Queue<C> {
    /// Passes on what goes. Ready once nothing is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        while !self.held.is_empty() {
            ready!(self.inner.poll_ready_unpin(cx))?;
            let item = self.held.pop_front().expect("it is not empty");
            self.inner.start_send_unpin(item)?;
            self.writer.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: Connection> Unpin for Queue<C> {}

impl<C: Connection> Stream for Queue<C> {
    type Item = Event<C::Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        // Reading drives everything, also when there always is something to read.
        if self.fault != Fault::WritesOnlyWhenAsked && !self.closing && self.poll_drain(cx).is_pending() {
            let _ = self.inner.poll_flush_unpin(cx);
        }
        let event = ready!(self.inner.poll_next_unpin(cx));
        self.writer.take().into_iter().for_each(Waker::wake);
        if let Some(Event::Down(down)) = &event
            && !down.will_retry
            && self.fault != Fault::ForgetsTheQueue
        {
            let held = std::mem::take(&mut self.held);
            self.events
                .extend(held.into_iter().map(|item| Event::Dropped(item, DropReason::Closed)));
            self.events.extend(event);
            return self.poll_next(cx);
        }
        if event.is_none() && !self.held.is_empty() && self.fault != Fault::ForgetsTheQueue {
            // The session ended while no connection was there.
            let held = std::mem::take(&mut self.held);
            self.events
                .extend(held.into_iter().map(|item| Event::Dropped(item, DropReason::Closed)));
            return self.poll_next(cx);
        }
        Poll::Ready(event)
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for Queue<C> {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.closing {
            return Poll::Ready(Err(Closed));
        }
        self.writer = Some(cx.waker().clone());
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        match self.held.len() {
            // The connection below may be closed, and must be asked.
            0 => match self.inner.poll_ready_unpin(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            },
            1..8 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        if item.lane == Lane::Control {
            return self.inner.start_send_unpin(item);
        }
        self.held.push_back(item);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.writer = Some(cx.waker().clone());
        let drained = self.poll_drain(cx)?;
        if drained.is_pending() && self.fault == Fault::StuckFlush {
            return Poll::Pending;
        }
        ready!(self.inner.poll_flush_unpin(cx))?;
        drained.map(Ok)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.closing = true;
        self.inner.poll_close_unpin(cx)
    }
}
