use std::task::{Context, Poll};

use http::{Uri, uri::Authority};
use tower_service::Service;
use tower_ws_core::BoxError;

use crate::guard::{Guarding, Profile};

/// Dials one address whatever the URL says, if there is one: [`Connect::address`](crate::Connect::address).
///
/// It stands above the guard, which judges the address that is dialled; a `ws` URL of this machine it
/// dials at no other ([plaintext](crate::guard#plaintext)).
#[derive(Clone, Debug)]
pub struct Elsewhere<C> {
    inner: C,
    address: Option<Authority>,
    profile: Profile,
}

impl<C> Elsewhere<C> {
    pub(crate) fn new(inner: C, address: Option<Authority>, profile: Profile) -> Self {
        Self {
            inner,
            address,
            profile,
        }
    }
}

impl<C> Service<Uri> for Elsewhere<C>
where
    C: Service<Uri, Error: Into<BoxError>>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Guarding<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(address) = &self.address else {
            return Guarding::dial(self.inner.call(uri));
        };
        if let Err(refused) = self.profile.check_elsewhere(&uri, address.host()) {
            return Guarding::refused(refused);
        }
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(address.clone());
        // What has a scheme and a path has them still.
        Guarding::dial(self.inner.call(Uri::from_parts(parts).unwrap_or(uri)))
    }
}
