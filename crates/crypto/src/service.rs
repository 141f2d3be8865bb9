use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::{
    BoxError, Carry, Connection, Dialogue, Length, MapConnection, Measure, Opening, OpeningConnection, OpeningFuture,
    Pack, Verbatim, Wrap,
};

use crate::{
    connection::CryptoConnection,
    hello::Nonces,
    layer::{CryptoLayer, HelloDialogue},
};

/// The service of [`CryptoLayer`](crate::CryptoLayer): the messages of each connection are
/// encrypted. See the [crate docs](crate).
#[derive(Clone)]
pub struct Crypto<S, P = Verbatim> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept
    // here.
    inner: Opening<S, HelloDialogue<P>>,
    layer: CryptoLayer<P>,
}

impl<S, P> Crypto<S, P> {
    pub(crate) fn new(inner: Opening<S, HelloDialogue<P>>, layer: CryptoLayer<P>) -> Self {
        Self { inner, layer }
    }
}

impl<S, P, T, C> Service<T> for Crypto<S, P>
where
    S: Service<T, Response = C, Error: Into<BoxError>, Future: Send + 'static>,
    C: Connection<Message: Send + 'static> + Send + 'static,
    Length: Measure<C::Message>,
    P: Pack<C::Message> + Carry<C::Message> + Clone,
    HelloDialogue<P>: Dialogue<C::Message> + 'static,
{
    type Response = CryptoConnection<OpeningConnection<C::Message>, P>;
    type Error = BoxError;
    type Future = MapConnection<OpeningFuture<C::Message>, CryptoLayer<P>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer.clone())
    }
}

impl<M, P> Wrap<OpeningConnection<M>> for CryptoLayer<P>
where
    P: Pack<M> + Carry<M>,
{
    type Connection = CryptoConnection<OpeningConnection<M>, P>;

    fn wrap(self, mut inner: OpeningConnection<M>) -> Self::Connection {
        let up = inner.up_mut();
        let nonces = up.and_then(|up| Arc::into_inner(up.extensions.remove::<Arc<Nonces>>()?));
        let nonces = nonces.expect("the dialogue leaves them, and nobody has read `Up` yet");
        CryptoConnection::new(inner, self.pack, self.ring, nonces)
    }
}

impl<S, P> fmt::Debug for Crypto<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crypto")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}
