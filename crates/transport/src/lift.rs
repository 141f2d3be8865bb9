use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;
use http::Response;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Deadlines, Lift, MapConnection, Progress, Up, Wrap};

use crate::{handshake::Handshake, limits::Limits, message::Message, upgrade::Secrets, wire::WebSocketWire};

/// Layers [`LiftService`] over a service that opens WebSockets.
///
/// See the [crate docs](crate) for an example.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiftLayer {
    limits: Limits,
    deadlines: Deadlines,
}

/// Makes [connections](tower_ws_core::Connection) of the WebSockets that another service opens.
///
/// That service may be [`Upgrade`](crate::Upgrade) or any other whose answers hold a sink and a
/// stream of [`Message`]s, such as [`WebSocket`](crate::WebSocket); if it puts a [`Progress`] into their extensions, the write
/// deadline counts bytes. All extensions go up with [`Up`], and [`Handshake`] with them.
///
/// Closing the sink says 1000. For another code or a reason send a [close frame](Message::close) first, then
/// close the sink: that is what tells the layers above that the end is wanted. Codes that must
/// not be sent come back as [`Dropped`](tower_ws_core::Event::Dropped).
#[derive(Clone, Debug)]
pub struct LiftService<S> {
    inner: S,
    layer: LiftLayer,
}

// === impl LiftLayer ===

impl LiftLayer {
    /// The defaults of [`Limits`] and [`Deadlines`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits on outgoing messages. Those on what comes in are the codec's: give them to
    /// [`UpgradeLayer`](crate::UpgradeLayer) as well.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long a connection waits for its peer.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }
}

impl<S> Layer<S> for LiftLayer {
    type Service = LiftService<S>;

    fn layer(&self, inner: S) -> LiftService<S> {
        LiftService { inner, layer: *self }
    }
}

// === impl LiftService ===

impl<S, T, W> Service<T> for LiftService<S>
where
    S: Service<T, Response = Response<W>>,
    W: Stream<Item = Result<Message, BoxError>> + Sink<Message, Error = BoxError>,
{
    type Response = Lift<W, Message, WebSocketWire>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, LiftLayer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), self.layer)
    }
}

impl<W> Wrap<Response<W>> for LiftLayer {
    type Connection = Lift<W, Message, WebSocketWire>;

    fn wrap(self, answer: Response<W>) -> Self::Connection {
        let (mut head, socket) = answer.into_parts();
        let secrets = head.extensions.remove::<Secrets>().unwrap_or_default();
        let progress = head.extensions.get::<Progress>().cloned();
        let mut up = Up::new().through("transport");
        up.extensions = head.extensions;
        up.extensions.insert(Handshake::new(head.headers));
        Lift::with_wire(socket, WebSocketWire::new(&self.limits).without(secrets))
            .deadlines(self.deadlines, progress)
            .up(up)
    }
}
