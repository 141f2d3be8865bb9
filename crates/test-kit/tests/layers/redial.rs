//! A layer that redials after a second, for ever.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Sleep, sleep};
use tower::{Layer, Service};
use tower_ws_core::{BoxError, Closed, Connection, DropReason, Event, Outgoing};

use super::{Fault, Target};

#[derive(Clone)]
pub(crate) struct RedialLayer(pub(crate) Fault);

pub(crate) struct Redials<S> {
    inner: S,
    fault: Fault,
}

pub(crate) struct Redialled<S, C: Connection> {
    service: S,
    fault: Fault,
    state: State<C>,
    up: bool,
    epoch: u64,
    closing: bool,
    events: VecDeque<Event<C::Message>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

pub(crate) type Dial<C> = Pin<Box<dyn Future<Output = Result<C, BoxError>> + Send>>;

pub(crate) enum State<C> {
    Open(Pin<Box<C>>),
    Waiting(Pin<Box<Sleep>>),
    Dialling(Dial<C>),
    Over,
}

impl<S> Layer<S> for RedialLayer {
    type Service = Redials<S>;

    fn layer(&self, inner: S) -> Redials<S> {
        Redials { inner, fault: self.0 }
    }
}

impl<S, C> Service<Target> for Redials<S>
where
    S: Service<Target, Response = C, Error: Into<BoxError>, Future: Send + 'static> + Clone + Unpin + Send + 'static,
    C: Connection + Send + 'static,
{
    type Response = Redialled<S, C>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let clone = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, clone);
        let fault = self.fault;
        Box::pin(async move {
            let connection = service.call(target).await.map_err(Into::into)?;
            Ok(Redialled {
                service,
                fault,
                state: State::Open(Box::pin(connection)),
                up: false,
                epoch: 0,
                closing: false,
                events: VecDeque::new(),
                reader: None,
                writer: None,
            })
        })
    }
}

impl<S, C> Redialled<S, C>
where
    S: Service<Target, Response = C, Error: Into<BoxError>, Future: Send + 'static> + Clone + Unpin + Send + 'static,
    C: Connection + Send + 'static,
{
    fn poll_redial(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.state = match &mut self.state {
                State::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    if self.fault != Fault::DialsWithAClone {
                        assert!(ready!(self.service.poll_ready(cx)).is_ok());
                    }
                    let dial = self.service.call(Target::default());
                    State::Dialling(Box::pin(async { dial.await.map_err(Into::into) }))
                }
                State::Dialling(dial) => {
                    let connection = ready!(dial.as_mut().poll(cx)).expect("the suite accepts each dial");
                    State::Open(Box::pin(connection))
                }
                State::Open(_) | State::Over => return Poll::Ready(()),
            };
        }
    }
}

impl<S, C: Connection> Unpin for Redialled<S, C> {}

impl<S, C> Stream for Redialled<S, C>
where
    S: Service<Target, Response = C, Error: Into<BoxError>, Future: Send + 'static> + Clone + Unpin + Send + 'static,
    C: Connection + Send + 'static,
{
    type Item = Event<C::Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            this.reader = Some(cx.waker().clone());
            if let Some(event) = this.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            if !matches!(this.state, State::Open(_)) && this.closing {
                this.state = State::Over;
            }
            let State::Open(inner) = &mut this.state else {
                if let State::Over = this.state {
                    return Poll::Ready(None);
                }
                ready!(this.poll_redial(cx));
                continue;
            };
            let mut event = ready!(inner.poll_next_unpin(cx)).expect("`Down` comes before `None`");
            match &mut event {
                Event::Up(up) => {
                    if this.epoch == 0 || this.fault != Fault::KeepsTheEpoch {
                        this.epoch += 1;
                    }
                    up.epoch = this.epoch;
                    this.up = true;
                }
                Event::Down(down) => {
                    down.epoch = this.epoch;
                    down.will_retry = !this.closing;
                    this.up = false;
                    this.state = State::Waiting(Box::pin(sleep(Duration::from_secs(1))));
                }
                _ => return Poll::Ready(Some(event)),
            }
            if this.fault != Fault::ForgetsTheWriter {
                this.writer.take().into_iter().for_each(Waker::wake);
            }
            return Poll::Ready(Some(event));
        }
    }
}

impl<S, C> Sink<Outgoing<C::Message>> for Redialled<S, C>
where
    S: Service<Target, Response = C, Error: Into<BoxError>, Future: Send + 'static> + Clone + Unpin + Send + 'static,
    C: Connection + Send + 'static,
{
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.closing {
            return Poll::Ready(Err(Closed));
        }
        self.writer = Some(cx.waker().clone());
        if self.fault == Fault::DialsFromTheSink && !self.up {
            let _ = self.poll_redial(cx);
        }
        if self.fault == Fault::ReadyBeforeUp && !self.up {
            return Poll::Ready(Ok(()));
        }
        match &mut self.state {
            State::Open(inner) => match ready!(inner.poll_ready_unpin(cx)) {
                Ok(()) if self.up => Poll::Ready(Ok(())),
                // It has ended, or is new: whoever reads learns of it, and wakes this side.
                _ => Poll::Pending,
            },
            _ => Poll::Pending,
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: Outgoing<C::Message>) -> Result<(), Closed> {
        let of_another = item.is_of_another(self.epoch) && self.fault != Fault::IgnoresEpochs;
        if let State::Open(inner) = &mut self.state
            && !of_another
        {
            return inner.start_send_unpin(item);
        }
        if let State::Over = self.state {
            return Err(Closed);
        }
        if self.fault != Fault::LosesControl {
            self.events.push_back(Event::Dropped(item, DropReason::Disconnected));
            self.reader.take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        match &mut self.state {
            State::Open(inner) => inner.poll_flush_unpin(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.closing = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        match &mut self.state {
            State::Open(inner) => inner.poll_close_unpin(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}
