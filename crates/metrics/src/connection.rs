use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tower_ws_core::{Closed, Connection, Event, Length, Measure, Outgoing, forward_sink};

use crate::meter::Meter;

/// A connection that is measured. It changes nothing of what passes, but for its name in
/// [`Up`](tower_ws_core::Up).
///
/// Dropping it ends what was open: the gauges go down, and the time that it was up is recorded.
#[pin_project]
pub struct MetricsConnection<C, M = Length> {
    #[pin]
    inner: C,
    meter: Meter<M>,
    /// Events since it was last looked whether it is time to publish.
    unlooked: u8,
}

/// A peer that always has something to say puts that off by so many events at most (law 12).
const FAIR: u8 = 64;

impl<C, M> MetricsConnection<C, M> {
    pub(crate) fn new(inner: C, meter: Meter<M>) -> Self {
        Self {
            inner,
            meter,
            unlooked: 0,
        }
    }
}

impl<C, M> Stream for MetricsConnection<C, M>
where
    C: Connection,
    M: Measure<C::Message>,
{
    type Item = Event<C::Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let mut polled = this.inner.poll_next(cx);
        // In place: an event is large, and to move it costs more than to count it.
        match &mut polled {
            Poll::Ready(event) => {
                this.meter.saw(event.as_ref());
                if let Some(Event::Up(up)) = event {
                    up.layers.push(this.meter.watch.name());
                }
                *this.unlooked += 1;
                if *this.unlooked >= FAIR {
                    *this.unlooked = 0;
                    this.meter.publish(cx);
                }
            }
            Poll::Pending => this.meter.publish(cx),
        }
        polled
    }
}

impl<C, M> Sink<Outgoing<C::Message>> for MetricsConnection<C, M>
where
    C: Connection,
    M: Measure<C::Message>,
{
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        let this = self.project();
        let (lane, size) = (item.lane, this.meter.size(&item.message));
        this.inner.start_send(item)?;
        this.meter.sent(lane, size);
        Ok(())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let this = self.project();
        this.meter.watch.closing();
        this.inner.poll_close(cx)
    }

    forward_sink!(@ inner poll_ready);
    forward_sink!(@ inner poll_flush);
}

impl<C: fmt::Debug, M> fmt::Debug for MetricsConnection<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsConnection")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
