use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;
use tower_ws_core::BoxError;

use super::{
    KeyedRateLimitFuture,
    keys::{Bounds, Keys},
};

/// The service of [`KeyedRateLimitLayer`](crate::KeyedRateLimitLayer). Clones share the limits.
pub struct KeyedRateLimit<S, K: Clone + Eq + Hash, F> {
    inner: S,
    key: F,
    bounds: Bounds,
    keys: Arc<Keys<K>>,
}

impl<S, K: Clone + Eq + Hash, F> KeyedRateLimit<S, K, F> {
    pub(super) fn new(inner: S, key: F, bounds: Bounds, keys: Arc<Keys<K>>) -> Self {
        Self {
            inner,
            key,
            bounds,
            keys,
        }
    }
}

impl<S, R, K, F> Service<R> for KeyedRateLimit<S, K, F>
where
    S: Service<R, Error: Into<BoxError>> + Clone,
    F: Fn(&R) -> K,
    K: Clone + Eq + Hash,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = KeyedRateLimitFuture<S, R, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.keys.enter((self.key)(&request), &self.bounds) {
            Ok(None) => KeyedRateLimitFuture::called(self.inner.call(request)),
            // The one that was readied stays here, ready for the next: nothing is held up while
            // this one waits. The clone is readied before it is called.
            Ok(Some(place)) => KeyedRateLimitFuture::waiting(place, self.inner.clone(), request),
            Err(error) => KeyedRateLimitFuture::refused(error),
        }
    }
}

impl<S: Clone, K: Clone + Eq + Hash, F: Clone> Clone for KeyedRateLimit<S, K, F> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.key.clone(), self.bounds, self.keys.clone())
    }
}

impl<S: fmt::Debug, K: Clone + Eq + Hash, F> fmt::Debug for KeyedRateLimit<S, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit")
            .field("inner", &self.inner)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
