use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::future::BoxFuture;
use http::{Request, Uri};
use tower_service::Service;
use tower_ws_core::{BoxError, Connection, Failure};

use crate::{
    connection::AuthConnection,
    error::SchemeError,
    layer::AuthLayer,
    scheme::{endpoint, is_private},
};

/// The service of [`AuthLayer`]: each handshake shows a credential. See the [crate docs](crate).
#[derive(Clone, Debug)]
pub struct Auth<S> {
    // A clone of `inner` is not ready, by the contract of `Service`; no other readiness is kept
    // here.
    inner: S,
    layer: AuthLayer,
}

impl<S> Auth<S> {
    pub(crate) fn new(inner: S, layer: AuthLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, C> Service<Request<()>> for Auth<S>
where
    S: Service<Request<()>, Response = C, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
    C: Connection + Send + 'static,
{
    type Response = AuthConnection<C>;
    type Error = BoxError;
    type Future = AuthFuture<C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        // The one that is ready goes with the call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let AuthLayer {
            credentials,
            scheme,
            plaintext,
        } = self.layer.clone();
        AuthFuture(Box::pin(async move {
            let check = |uri: &Uri| match plaintext || is_private(uri) {
                true => Ok(()),
                false => Err(Failure::from(SchemeError::Plaintext)),
            };
            check(request.uri())?;
            let shown = credentials.get_for(&endpoint(request.uri())).await?;
            scheme.apply(&mut request, shown.secret()).map_err(Failure::from)?;
            // A signer returns what it likes.
            check(request.uri())?;
            match inner.call(request).await {
                Ok(connection) => Ok(AuthConnection::new(connection, credentials, Some(shown))),
                Err(error) => {
                    let failure = Failure::of(error);
                    credentials.discard_if_refused(&failure, &shown);
                    Err(failure.into())
                }
            }
        }))
    }
}

/// The future of [`Auth`]. Boxed, because the wait for a credential has no name; one allocation for
/// each dial.
#[must_use = "futures do nothing unless polled"]
pub struct AuthFuture<C>(BoxFuture<'static, Result<AuthConnection<C>, BoxError>>);

impl<C> Future for AuthFuture<C> {
    type Output = Result<AuthConnection<C>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<C> fmt::Debug for AuthFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthFuture")
    }
}
