use std::{fmt, future::poll_fn, marker::PhantomData};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection};

use super::{
    below::{Below, Scripted},
    harness::Harness,
};
use crate::ready::MustBeReady;

/// The service that a layer under test wraps.
pub type Under<M> = MustBeReady<Below<M>>;

/// The harness of a layer: each connection is the layer's, over a scripted one.
pub struct Stack<L, M> {
    layer: L,
    message: PhantomData<fn() -> M>,
}

/// The harness of a transport.
#[derive(Debug)]
pub struct Transport<H>(pub(crate) H);

// === impl Stack ===

impl<L, M> Stack<L, M> {
    pub(crate) fn new(layer: L) -> Self {
        Self {
            layer,
            message: PhantomData,
        }
    }

    /// The layer over a fresh service below, which is not ready at once.
    pub(crate) fn service(&self) -> (L::Service, Under<M>, Scripted<M>)
    where
        L: Layer<Under<M>>,
    {
        let (below, peer) = Below::new();
        let below = MustBeReady::new(below).pending(2);
        (self.layer.layer(below.clone()), below, peer)
    }

    pub(crate) async fn dial<S>(service: &mut S) -> S::Response
    where
        S: Service<Request<()>>,
        S::Error: Into<BoxError>,
    {
        let refused = |error: S::Error| -> S::Response {
            panic!(
                "a connection was expected, the layer's service failed: {}",
                error.into()
            )
        };
        if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
            return refused(error);
        }
        service.call(Request::default()).await.unwrap_or_else(refused)
    }
}

impl<L, M> Harness for Stack<L, M>
where
    L: Layer<Under<M>>,
    L::Service: Service<Request<()>, Response: Connection<Message = M> + Send + 'static, Error: Into<BoxError>>,
    M: Clone + Send + 'static,
{
    type Message = M;
    type Connection = <L::Service as Service<Request<()>>>::Response;
    type Peer = Scripted<M>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let (mut service, _, peer) = self.service();
        (Self::dial(&mut service).await, peer)
    }
}

impl<L: fmt::Debug, M> fmt::Debug for Stack<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("layer", &self.layer).finish()
    }
}

// === impl Transport ===

impl<H: Harness> Harness for Transport<H> {
    type Message = H::Message;
    type Connection = H::Connection;
    type Peer = H::Peer;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        self.0.connect().await
    }
}
