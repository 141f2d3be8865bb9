use std::task::{Context, Poll};

use http::{Uri, uri::Authority};
use tower_service::Service;

/// Dials one address whatever the URL says, if there is one: [`Connect::address`](crate::Connect::address).
///
/// It stands above the guard, which judges the address that is dialled.
#[derive(Clone, Debug)]
pub struct Elsewhere<C> {
    inner: C,
    address: Option<Authority>,
}

impl<C> Elsewhere<C> {
    pub(crate) fn new(inner: C, address: Option<Authority>) -> Self {
        Self { inner, address }
    }
}

impl<C: Service<Uri>> Service<Uri> for Elsewhere<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> C::Future {
        let Some(address) = &self.address else {
            return self.inner.call(uri);
        };
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(address.clone());
        // What has a scheme and a path has them still.
        self.inner.call(Uri::from_parts(parts).unwrap_or(uri))
    }
}
