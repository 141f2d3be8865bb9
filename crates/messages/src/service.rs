use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::future::BoxFuture;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection, Event, Failure};
use tracing::Instrument;

use crate::{events::Events, layer::MessagesLayer, sender::Sender};

/// Makes sessions: a service from a target to a [`Sender`] and its [`Events`].
///
/// It waits until the first connection is up and spawns the driver on the runtime that polls it. If
/// the layers below stand in an [order that cannot work](tower_ws_core::Up::check_order) it fails
/// instead.
pub struct MakeMessages<S, M> {
    inner: S,
    layer: MessagesLayer<M>,
}

impl<S, M> MakeMessages<S, M> {
    pub(crate) fn new(inner: S, layer: MessagesLayer<M>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, M> Clone for MakeMessages<S, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.layer.clone())
    }
}

impl<S, T, C> Service<T> for MakeMessages<S, C::Message>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send> + Send + 'static,
{
    type Response = (Sender<C::Message>, Events<C::Message>);
    type Error = BoxError;
    type Future = MakeFuture<C::Message>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        // What the layers below log belongs to this session, in whatever task it happens.
        let span = self.layer.span();
        let dial = span.in_scope(|| self.inner.call(target));
        let layer = self.layer.clone();
        let driving = span.clone();
        let make = async move {
            let mut connection = Box::pin(dial.await.map_err(Into::into)?);
            let up = match poll_fn(|cx| connection.as_mut().poll_next(cx)).await {
                Some(Event::Up(up)) => up,
                Some(Event::Down(down)) => return Err(down.cause.into()),
                _ => return Err(Failure::of("the connection did not come up first").into()),
            };
            up.check_order().map_err(Failure::from)?;
            let (sender, events, driver) = layer.pair(connection);
            let mut driver = Box::pin(driver);
            driver.as_mut().accept(Event::Up(up));
            tokio::spawn(driver.instrument(driving));
            Ok((sender, events))
        };
        MakeFuture(Box::pin(make.instrument(span)))
    }
}

impl<S, M> fmt::Debug for MakeMessages<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeMessages")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

/// The future of [`MakeMessages`]. Boxed, because the wait for the first event has no name; one
/// allocation for each session.
#[must_use = "futures do nothing unless polled"]
pub struct MakeFuture<M>(BoxFuture<'static, Result<(Sender<M>, Events<M>), BoxError>>);

impl<M> Future for MakeFuture<M> {
    type Output = Result<(Sender<M>, Events<M>), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<M> fmt::Debug for MakeFuture<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeFuture")
    }
}
