//! Parts of a stack whose types are not known: what the builder was given, as functions from one service of
//! connections to the next.

use http::Uri;
use hyper::rt::{Read, Write};
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};
use tower_ws_core::{BoxConnection, BoxError, Connection, boxed};
use tower_ws_transport::Message;

/// A service of WebSocket connections, whatever it is made of: what a layer that the
/// [builder](crate::Builder) is given stands on.
///
/// It costs a call through a pointer for each message, and an allocation for each connection.
pub type Dial<T = http::Request<()>> = BoxCloneService<T, BoxConnection<Message>, BoxError>;

/// A layer, of any type, in its place.
pub(crate) type Slot<T = http::Request<()>> = Box<dyn FnOnce(Dial<T>) -> Dial<T> + Send>;

/// A layer that gets a part of any type, in its place.
pub(crate) type Part<L, T = http::Request<()>> = Box<dyn FnOnce(L, Dial<T>) -> Dial<T> + Send>;

/// What dials for byte streams, whatever it is made of.
pub(crate) type BoxConnector = BoxCloneService<Uri, Box<dyn ByteStream>, BoxError>;

/// What a connector gives.
pub(crate) trait ByteStream: Read + Write + Send + Unpin {}

impl<S: Read + Write + Send + Unpin> ByteStream for S {}

pub(crate) fn erase<T, S>(service: S) -> Dial<T>
where
    T: 'static,
    S: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    S::Response: Connection<Message = Message> + Send + 'static,
{
    BoxCloneService::new(service.map_response(boxed).map_err(Into::into))
}

pub(crate) fn slot<T, L>(layer: L) -> Slot<T>
where
    T: 'static,
    L: Layer<Dial<T>> + Send + 'static,
    L::Service: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    <L::Service as Service<T>>::Response: Connection<Message = Message> + Send + 'static,
{
    Box::new(move |below| erase(layer.layer(below)))
}

pub(crate) fn erase_connector<C>(connector: C) -> BoxConnector
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    C::Response: Read + Write + Unpin + Send + 'static,
{
    let service = connector.map_response(|stream| Box::new(stream) as Box<dyn ByteStream>);
    BoxCloneService::new(service.map_err(Into::into))
}
