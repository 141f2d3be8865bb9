use std::net::SocketAddr;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;
use tower_ws_core::BoxError;

/// Any resolver in the manner of hyper-util; it is implemented for each.
pub trait Resolve:
    Service<
        Name,
        Response = <Self as Resolve>::Addresses,
        Error = <Self as Resolve>::Failed,
        Future = <Self as Resolve>::Resolving,
    > + Clone
    + Send
    + 'static
{
    /// What a name stands for.
    type Addresses: Iterator<Item = SocketAddr>;
    /// Why it could not be told.
    type Failed: Into<BoxError>;
    /// Its future.
    type Resolving: Future<Output = Result<Self::Addresses, Self::Failed>> + Send;
}

impl<S> Resolve for S
where
    S: Service<Name> + Clone + Send + 'static,
    S::Response: Iterator<Item = SocketAddr>,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Addresses = S::Response;
    type Failed = S::Error;
    type Resolving = S::Future;
}
