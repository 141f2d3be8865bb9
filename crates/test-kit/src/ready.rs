use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tower_service::Service;

/// A service that panics if it is called without being ready.
///
/// It holds a middleware to the contract of [`Service`]: each `call` takes up one `poll_ready` that
/// returned `Ready`, of this very instance. A clone is never ready, so a middleware that readies
/// one instance and calls a fresh clone of it panics here; over services like `Buffer` or
/// `ConcurrencyLimit` it would fail under load only.
///
/// # Example
///
/// ```should_panic
/// use std::convert::Infallible;
///
/// use tower::{Service, ServiceExt, service_fn};
/// use tower_ws_test_kit::MustBeReady;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let mut service = MustBeReady::new(service_fn(async |n: u32| Ok::<_, Infallible>(n + 1)));
/// assert_eq!(service.ready().await?.call(1).await?, 2);
/// service.call(2).await?; // panics
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MustBeReady<S> {
    inner: S,
    ready: bool,
    pending: usize,
    pending_left: usize,
    calls: Arc<AtomicUsize>,
}

impl<S> MustBeReady<S> {
    /// Wraps a service.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            ready: false,
            pending: 0,
            pending_left: 0,
            calls: Arc::default(),
        }
    }

    /// Makes `poll_ready` return `Pending` so many times before each call. Each wakes the task at
    /// once.
    #[must_use]
    pub fn pending(mut self, times: usize) -> Self {
        self.pending = times;
        self.pending_left = times;
        self
    }

    /// Calls so far, of this instance and all its clones.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<S: Clone> Clone for MustBeReady<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            // Readiness belongs to the instance that was polled.
            ready: false,
            pending: self.pending,
            pending_left: self.pending,
            calls: self.calls.clone(),
        }
    }
}

impl<S, T> Service<T> for MustBeReady<S>
where
    S: Service<T>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.pending_left > 0 {
            self.pending_left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.inner.poll_ready(cx))?;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: T) -> Self::Future {
        assert!(
            self.ready,
            "called without `poll_ready` having returned `Ready` on this very instance"
        );
        self.ready = false;
        self.pending_left = self.pending;
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}
