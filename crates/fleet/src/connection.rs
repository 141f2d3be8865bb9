use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tower_ws_core::{Closed, Connection, Down, DropReason, Event, Outgoing, Severable};
use tower_ws_spool::Tenure;

use crate::{handle::Handle, lease::Lease};

/// A connection that lives for as long as its process owns a lane.
///
/// Once it does not, the connection below is dropped without a farewell, and the stream tells of it
/// by a [`Down`]: a layer above that redials waits for the lane then. What was accepted after that
/// comes back as [`Disconnected`](DropReason::Disconnected); what the layers below still had goes
/// with them.
#[pin_project]
pub struct LeaseConnection<C: Connection> {
    #[pin]
    inner: Severable<C>,
    lease: Arc<Lease>,
    is_up: bool,
    /// What comes back, and then the end, until they are read.
    lost: VecDeque<Outgoing<C::Message>>,
    down: Option<Down>,
}

impl<C: Connection> LeaseConnection<C> {
    pub(crate) fn new(inner: C, lease: Arc<Lease>) -> Self {
        Self {
            inner: Severable::new(inner),
            lease,
            is_up: false,
            lost: VecDeque::new(),
            down: None,
        }
    }

    /// Looks at the clock, and cuts off what is not this process's to use any more.
    fn poll_lost(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        if *this.is_up
            && !this.inner.is_severed()
            && let Poll::Ready(cause) = this.lease.poll_lost(cx)
        {
            *this.down = Some(this.inner.as_mut().sever(cause));
        }
    }
}

impl<C: Connection> Stream for LeaseConnection<C> {
    type Item = C::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        self.as_mut().poll_lost(cx);
        let this = self.project();
        if let Some(item) = this.lost.pop_front() {
            return Poll::Ready(Some(Event::Dropped(item, DropReason::Disconnected)));
        }
        if let Some(down) = this.down.take() {
            return Poll::Ready(Some(Event::Down(down)));
        }
        let polled = this.inner.poll_next(cx);
        match polled {
            Poll::Ready(Some(Event::Up(mut up))) => {
                *this.is_up = true;
                let handle = Handle(this.lease.hub.clone());
                up.show(handle.0.source());
                up.extensions.insert(handle);
                Poll::Ready(Some(Event::Up(up.through("lease"))))
            }
            polled => polled,
        }
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for LeaseConnection<C> {
    type Error = Closed;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.project().inner.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        let mut this = self.project();
        // Asked right before each message, perhaps by a process that stood still until now.
        if *this.is_up
            && !this.inner.is_severed()
            && let Some(cause) = this.lease.lost()
        {
            *this.down = Some(this.inner.as_mut().sever(cause));
        }
        if !this.inner.is_severed() {
            return this.inner.start_send(item);
        }
        // A sink that was ready does not fail while its end has not been read.
        if this.down.is_none() {
            return Err(Closed);
        }
        this.lost.push_back(item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.project().inner.poll_close(cx)
    }
}

impl<C: Connection + fmt::Debug> fmt::Debug for LeaseConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseConnection")
            .field("inner", &self.inner)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
