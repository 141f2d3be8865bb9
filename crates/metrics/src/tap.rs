//! A look at each message that passes.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{Closed, Connection, Event, Length, MapConnection, Measure, Outgoing, Wrap, forward_sink};

/// Shows each message that passes to a closure, with its size and its time: for figures of your own,
/// or to write down what was said. It changes nothing of what passes.
///
/// ```
/// use tower_ws_metrics::{Seen, TapLayer, Way};
///
/// let tap = TapLayer::new(|seen: &Seen, message: &String| {
///     let arrow = if seen.way == Way::Out { "->" } else { "<-" };
///     println!("{:8.3} {arrow} {} bytes: {message:.40}", seen.after.as_secs_f64(), seen.bytes);
/// });
/// # drop(tap);
/// ```
///
/// It sees what passes its place: above a queue a message when it is accepted, below it when it is
/// handed to what writes; right above the transport what the socket gets and gives. It does not see
/// when the socket has written a message, nor what becomes of it: tickets and events say that.
///
/// The closure is called for each message, by whoever reads or writes: it must not wait. Beside it
/// that costs a reading of the clock.
#[derive(Clone)]
pub struct TapLayer<F, M = Length> {
    show: F,
    measure: M,
}

/// The service of [`TapLayer`].
#[derive(Clone)]
pub struct Tap<S, F, M = Length> {
    inner: S,
    layer: TapLayer<F, M>,
}

/// A connection whose messages are shown.
#[pin_project]
pub struct Tapped<C, F, M = Length> {
    #[pin]
    inner: C,
    layer: TapLayer<F, M>,
    up: Instant,
    epoch: u64,
}

/// A message that passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Seen {
    /// Which way it goes.
    pub way: Way,
    /// Its size, in bytes of payload.
    pub bytes: usize,
    /// How long after the connection came up; at first, after it was made.
    pub after: Duration,
    /// The epoch of that connection ([`Up`](tower_ws_core::Up)).
    pub epoch: u64,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

impl<F> TapLayer<F> {
    /// Shows messages of bytes and texts, and those of the transport.
    pub fn new(show: F) -> Self {
        Self { show, measure: Length }
    }
}

impl<F, M> TapLayer<F, M> {
    /// Sets what knows the size of a message. Default [`Length`].
    #[must_use]
    pub fn measure<N>(self, measure: N) -> TapLayer<F, N> {
        TapLayer {
            show: self.show,
            measure,
        }
    }
}

impl<S, F: Clone, M: Clone> Layer<S> for TapLayer<F, M> {
    type Service = Tap<S, F, M>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        Tap { inner, layer }
    }
}

impl<S, T, F, M> Service<T> for Tap<S, F, M>
where
    S: Service<T, Response: Connection>,
    F: Fn(&Seen, &<S::Response as Connection>::Message) + Clone,
    M: Measure<<S::Response as Connection>::Message> + Clone,
{
    type Response = Tapped<S::Response, F, M>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, TapLayer<F, M>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<C, F, M> Wrap<C> for TapLayer<F, M> {
    type Connection = Tapped<C, F, M>;

    fn wrap(self, inner: C) -> Self::Connection {
        Tapped {
            inner,
            layer: self,
            up: Instant::now(),
            epoch: 0,
        }
    }
}

impl<C, F, M> Tapped<C, F, M>
where
    C: Connection,
    F: Fn(&Seen, &C::Message),
    M: Measure<C::Message>,
{
    fn show(&self, way: Way, message: &C::Message) {
        let seen = Seen {
            way,
            bytes: self.layer.measure.bytes(message),
            after: self.up.elapsed(),
            epoch: self.epoch,
        };
        (self.layer.show)(&seen, message);
    }
}

impl<C, F, M> Stream for Tapped<C, F, M>
where
    C: Connection,
    F: Fn(&Seen, &C::Message),
    M: Measure<C::Message>,
{
    type Item = Event<C::Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // In place: an event is large, and to move it costs more than to look at it.
        let mut polled = self.as_mut().project().inner.poll_next(cx);
        match &mut polled {
            Poll::Ready(Some(Event::Up(up))) => {
                up.layers.push("tap");
                let this = self.project();
                (*this.up, *this.epoch) = (Instant::now(), up.epoch);
            }
            Poll::Ready(Some(Event::Message(message))) => self.show(Way::In, message),
            _ => {}
        }
        polled
    }
}

impl<C, F, M> Sink<Outgoing<C::Message>> for Tapped<C, F, M>
where
    C: Connection,
    F: Fn(&Seen, &C::Message),
    M: Measure<C::Message>,
{
    type Error = Closed;

    fn start_send(self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        self.show(Way::Out, &item.message);
        self.project().inner.start_send(item)
    }

    forward_sink!(polls inner);
}

impl<F, M> fmt::Debug for TapLayer<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, F, M> fmt::Debug for Tap<S, F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<C: fmt::Debug, F, M> fmt::Debug for Tapped<C, F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tapped")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
