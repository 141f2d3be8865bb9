use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_ws_core::{Closed, Connection, Event, Failure, FailureKind, Outgoing, forward_sink};

use super::{attempt::Attempt, targets::EndpointIndex};

/// A connection to one of several endpoints: notes how the endpoint fared. See
/// [`FailoverLayer`](super::FailoverLayer).
///
/// Its `Up` names the layer `failover` and brings an [`EndpointIndex`]. Dropping it says nothing
/// about the endpoint.
#[pin_project]
pub struct FailoverConnection<C> {
    #[pin]
    inner: C,
    /// Until it is down.
    attempt: Option<Attempt>,
    endpoint: EndpointIndex,
    since: Option<Instant>,
    /// By this side: what follows is not the endpoint's fault.
    closed: bool,
}

impl<C> FailoverConnection<C> {
    pub(super) fn new(inner: C, attempt: Attempt) -> Self {
        Self {
            inner,
            endpoint: EndpointIndex(attempt.endpoint()),
            attempt: Some(attempt),
            since: None,
            closed: false,
        }
    }
}

impl<C: Connection> Stream for FailoverConnection<C> {
    type Item = C::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        let this = self.project();
        let event = ready!(this.inner.poll_next(cx));
        Poll::Ready(match event {
            Some(Event::Up(mut up)) => {
                if let Some(attempt) = this.attempt {
                    attempt.came_up();
                }
                *this.since = Some(Instant::now());
                up.extensions.insert(*this.endpoint);
                Some(Event::Up(up.through("failover")))
            }
            Some(Event::Down(mut down)) => {
                if let Some(attempt) = this.attempt.take_if(|_| !*this.closed) {
                    let uptime = this.since.map(|since| since.elapsed().saturating_sub(down.silent));
                    down.cause = attempt.lost(Instant::now(), uptime, &down.cause);
                }
                Some(Event::Down(down))
            }
            None => {
                // Without a word; reconnect takes it for a failure of the network, too.
                if let Some(attempt) = this.attempt.take_if(|_| !*this.closed) {
                    let cause = Failure::new(FailureKind::Network, "the connection ended without a word");
                    let uptime = this.since.map(|since| since.elapsed());
                    attempt.lost(Instant::now(), uptime, &cause);
                }
                None
            }
            event => event,
        })
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for FailoverConnection<C> {
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        self.project().inner.start_send(item)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let this = self.project();
        *this.closed = true;
        this.inner.poll_close(cx)
    }

    forward_sink!(@ inner poll_ready);
    forward_sink!(@ inner poll_flush);
}

impl<C> fmt::Debug for FailoverConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverConnection")
            .field("endpoint", &self.endpoint)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
