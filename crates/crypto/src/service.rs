use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{
    BoxError, Carry, Connection, Dialogue, Exchange, ExchangeFuture, Exchanged, MapConnection, Pack, Wrap,
};

use crate::{CryptoConnection, KeyRing, layer::Greet};

/// The service of [`CryptoLayer`](crate::CryptoLayer): the messages of each connection are encrypted. See the [crate
/// docs](crate).
#[derive(Clone)]
pub struct Encrypt<S, Z> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept here.
    inner: Exchange<S, Greet<Z>>,
    codec: Z,
    ring: KeyRing,
}

/// How a connection on which both sides have said hello becomes a [`CryptoConnection`].
#[derive(Debug)]
pub struct Secure<Z> {
    codec: Z,
    ring: KeyRing,
}

impl<S, Z> Encrypt<S, Z> {
    pub(crate) fn new(inner: Exchange<S, Greet<Z>>, codec: Z, ring: KeyRing) -> Self {
        Self { inner, codec, ring }
    }
}

impl<S, Z, T, C> Service<T> for Encrypt<S, Z>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    Z: Pack<C::Message> + Carry<C::Message> + Clone,
    Greet<Z>: Dialogue<C::Message> + 'static,
{
    type Response = CryptoConnection<Exchanged<C::Message>, Z>;
    type Error = BoxError;
    type Future = MapConnection<ExchangeFuture<C::Message>, Secure<Z>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let secure = Secure {
            codec: self.codec.clone(),
            ring: self.ring.clone(),
        };
        MapConnection::new(self.inner.call(target), secure)
    }
}

impl<C, Z> Wrap<C> for Secure<Z>
where
    C: Connection,
    Z: Pack<C::Message> + Carry<C::Message>,
{
    type Connection = CryptoConnection<C, Z>;

    fn wrap(self, inner: C) -> Self::Connection {
        CryptoConnection::new(inner, self.codec, self.ring)
    }
}

impl<S, Z> fmt::Debug for Encrypt<S, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypt")
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}
