use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::future::BoxFuture;
use tower_service::Service;
use tower_ws_core::{
    BoxError, Connection, Event, Failure,
    jsonrpc::{Codec, Ids},
};
use tracing::Instrument;

use crate::{client::Client, layer::ClientLayer, mailbox::Inbound};

/// Makes clients: a service from a target to a [`Client`] and its [`Inbound`].
///
/// It waits until the first connection is up and spawns the driver on the runtime that polls it. If
/// the layers below stand in an [order that cannot work](tower_ws_core::Up::check_order) it fails
/// instead.
#[derive(Clone, Debug)]
pub struct MakeClient<S, K> {
    inner: S,
    layer: ClientLayer<K>,
}

impl<S, K> MakeClient<S, K> {
    pub(crate) fn new(inner: S, layer: ClientLayer<K>) -> Self {
        Self { inner, layer }
    }
}

impl<S, T, C, K> Service<T> for MakeClient<S, K>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send> + Send + 'static,
    K: Codec<C::Message> + Clone + Send + 'static,
{
    type Response = (Client, Inbound);
    type Error = BoxError;
    type Future = MakeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> MakeFuture {
        // What the layers below log belongs to this session, in whatever task it happens.
        let span = self.layer.span();
        let dial = span.in_scope(|| self.inner.call(target));
        let layer = self.layer.clone();
        let driving = span.clone();
        let make = async move {
            let mut connection = Box::pin(dial.await.map_err(Into::into)?);
            // The first event may bring the counter that an opening below has begun to use.
            let up = match poll_fn(|cx| connection.as_mut().poll_next(cx)).await {
                Some(Event::Up(up)) => up,
                Some(Event::Down(down)) => return Err(down.cause.into()),
                _ => return Err(Failure::of("the connection did not come up first").into()),
            };
            up.check_order().map_err(Failure::from)?;
            let ids = up.extensions.get::<Ids>().cloned().unwrap_or_default();
            let (client, inbound, driver) = layer.pair_with(connection, ids);
            let mut driver = Box::pin(driver);
            driver.as_mut().accept(Event::Up(up));
            tokio::spawn(driver.instrument(driving));
            Ok((client, inbound))
        };
        MakeFuture(Box::pin(make.instrument(span)))
    }
}

/// The future of [`MakeClient`]. Boxed, because the wait for the first event has no name; one
/// allocation for each session.
#[must_use = "futures do nothing unless polled"]
pub struct MakeFuture(BoxFuture<'static, Result<(Client, Inbound), BoxError>>);

impl Future for MakeFuture {
    type Output = Result<(Client, Inbound), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for MakeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeFuture")
    }
}
