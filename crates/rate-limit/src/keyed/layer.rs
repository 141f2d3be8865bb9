use std::{fmt, hash::Hash, num::NonZeroUsize, sync::Arc};

use tower_layer::Layer;

use super::{
    KeyedRateLimit,
    keys::{Bounds, Keys},
};
use crate::{layer::Excess, quota::Quota};

/// Limits requests by a key: so many for each user, each tool, each method. A plain Tower layer for
/// the message plane, or for any service.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_ws_core::BoxError> {
/// use std::{convert::Infallible, num::NonZeroU32};
///
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_ws_rate_limit::{Excess, KeyedRateLimitLayer, Quota};
///
/// let two = Quota::per_second(NonZeroU32::new(2).expect("is not zero"));
/// let limit = KeyedRateLimitLayer::new(two, |call: &(String, u32)| call.0.clone()).excess(Excess::Refuse);
/// let service = ServiceBuilder::new()
///     .layer(limit)
///     .service(service_fn(|call: (String, u32)| async move { Ok::<_, Infallible>(call.1) }));
///
/// let call = |who: &str, n| service.clone().oneshot((who.to_owned(), n));
/// assert_eq!(call("ann", 1).await?, 1);
/// assert_eq!(call("ann", 2).await?, 2);
/// assert!(call("ann", 3).await.is_err());
/// assert_eq!(call("bob", 4).await?, 4);
/// # Ok(())
/// # }
/// ```
///
/// # How it differs from `tower::limit::RateLimit`
///
/// - It has a limit for each key, not one for all.
/// - Its clones share the limits. Tower's has no clones: it stands above a `Buffer`, or each
///   connection has its own.
/// - It counts by the [rate with a burst, or in strict windows](Quota). Tower's counts in fixed
///   windows, of which two adjacent ones can be emptied within a moment.
/// - It waits in the future of the call, not in `poll_ready`, where the key is not known. So it
///   bounds who [waits](Self::waiting), and a load shedder above it sheds nothing.
///
/// # What becomes of a request
///
/// It is called at once, or when its turn comes, in the order of coming for each key; or fails with
/// a [`KeyedLimitError`](crate::KeyedLimitError), and has not been called then. A future that is
/// dropped while it waits gives its turn back. Since the service below was readied for a request
/// that may have to wait, and its readiness may be scarce, one that waits does without: a clone of
/// the service is readied when its turn has come.
pub struct KeyedRateLimitLayer<K: Clone + Eq + Hash, F> {
    key: F,
    bounds: Bounds,
    keys: Arc<Keys<K>>,
}

impl<K: Clone + Eq + Hash, F> KeyedRateLimitLayer<K, F> {
    /// The default of [`keys`](Self::keys): 10,000, some 4 MiB for rates. A strict window takes 40
    /// bytes more for each request that it counts, at most 84 KB for each key.
    pub const KEYS: NonZeroUsize = NonZeroUsize::new(10_000).expect("is not zero");
    /// The default of [`waiting`](Self::waiting): 1,024.
    pub const WAITING: usize = 1024;

    /// Allows this quota to each key, which `key` finds in a request.
    pub fn new<R>(quota: Quota, key: F) -> Self
    where
        F: Fn(&R) -> K,
    {
        Self {
            key,
            bounds: Bounds {
                quota,
                excess: Excess::default(),
                keys: Self::KEYS.get(),
                waiting: Self::WAITING,
            },
            keys: Arc::new(Keys::new()),
        }
    }

    /// Sets what happens to a request that is too much for now: it waits, or fails. Default
    /// [`Excess::Wait`].
    #[must_use]
    pub fn excess(mut self, excess: Excess) -> Self {
        self.bounds.excess = excess;
        self
    }

    /// Sets how many keys may be in use. Default 10,000. A key is in use until its quota is whole
    /// again; a request with one more fails.
    #[must_use]
    pub fn keys(mut self, keys: NonZeroUsize) -> Self {
        self.bounds.keys = keys.get();
        self
    }

    /// Sets how many requests may wait, of all keys together. Default 1,024. One more fails.
    #[must_use]
    pub fn waiting(mut self, waiting: usize) -> Self {
        self.bounds.waiting = waiting;
        self
    }
}

impl<K: Clone + Eq + Hash, F: Clone> Clone for KeyedRateLimitLayer<K, F> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            bounds: self.bounds,
            keys: self.keys.clone(),
        }
    }
}

impl<S, K: Clone + Eq + Hash, F: Clone> Layer<S> for KeyedRateLimitLayer<K, F> {
    type Service = KeyedRateLimit<S, K, F>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedRateLimit::new(inner, self.key.clone(), self.bounds, self.keys.clone())
    }
}

impl<K: Clone + Eq + Hash, F> fmt::Debug for KeyedRateLimitLayer<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitLayer")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
