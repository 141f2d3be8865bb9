use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{
    BoxError, Carry, Connection, Dialogue, MapConnection, Opening, OpeningConnection, OpeningFuture, Pack, Wrap,
};

use crate::{connection::CryptoConnection, hello::Nonces, keys::KeyRing, layer::Greet};

/// The service of [`CryptoLayer`](crate::CryptoLayer): the messages of each connection are encrypted. See the [crate
/// docs](crate).
#[derive(Clone)]
pub struct Encrypt<S, Z> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept here.
    inner: Opening<S, Greet<Z>>,
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
    pub(crate) fn new(inner: Opening<S, Greet<Z>>, codec: Z, ring: KeyRing) -> Self {
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
    type Response = CryptoConnection<OpeningConnection<C::Message>, Z>;
    type Error = BoxError;
    type Future = MapConnection<OpeningFuture<C::Message>, Secure<Z>>;

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

impl<M, Z> Wrap<OpeningConnection<M>> for Secure<Z>
where
    Z: Pack<M> + Carry<M>,
{
    type Connection = CryptoConnection<OpeningConnection<M>, Z>;

    fn wrap(self, mut inner: OpeningConnection<M>) -> Self::Connection {
        let nonces = inner.up_mut().and_then(|up| up.extensions.remove::<Nonces>());
        let nonces = nonces.expect("the dialogue leaves them, and nobody has read `Up` yet");
        CryptoConnection::new(inner, self.codec, self.ring, nonces)
    }
}

impl<S, Z> fmt::Debug for Encrypt<S, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypt")
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}
