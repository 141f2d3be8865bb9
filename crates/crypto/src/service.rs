use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{
    BoxError, Carry, Connection, Dialogue, MapConnection, Opening, OpeningConnection, OpeningFuture, Pack, Wrap,
};

use crate::{
    connection::CryptoConnection,
    hello::Nonces,
    layer::{CryptoLayer, HelloDialogue},
};

/// The service of [`CryptoLayer`](crate::CryptoLayer): the messages of each connection are
/// encrypted. See the [crate docs](crate).
#[derive(Clone)]
pub struct Crypto<S, Z> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept
    // here.
    inner: Opening<S, HelloDialogue<Z>>,
    layer: CryptoLayer<Z>,
}

impl<S, Z> Crypto<S, Z> {
    pub(crate) fn new(inner: Opening<S, HelloDialogue<Z>>, layer: CryptoLayer<Z>) -> Self {
        Self { inner, layer }
    }
}

impl<S, Z, T, C> Service<T> for Crypto<S, Z>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    Z: Pack<C::Message> + Carry<C::Message> + Clone,
    HelloDialogue<Z>: Dialogue<C::Message> + 'static,
{
    type Response = CryptoConnection<OpeningConnection<C::Message>, Z>;
    type Error = BoxError;
    type Future = MapConnection<OpeningFuture<C::Message>, CryptoLayer<Z>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<M, Z> Wrap<OpeningConnection<M>> for CryptoLayer<Z>
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

impl<S, Z> fmt::Debug for Crypto<S, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crypto")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}
