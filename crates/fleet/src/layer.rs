use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_core::future::BoxFuture;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection};
use tower_ws_spool::Tenure;

use crate::{connection::LeaseConnection, error::FleetError, lane::Lane, lease::Lease};

/// Dials only while this process owns a lane: a standby waits here. See [the crate
/// docs](crate#a-session-of-which-a-fleet-has-one).
///
/// It belongs below reconnect. Its clones, and all services and connections made by them, are one
/// owner. Once they are dropped the lane is handed over.
#[derive(Clone)]
pub struct LeaseLayer(Arc<Holder>);

struct Holder {
    lane: Lane,
    /// Waited for by one at a time.
    lease: tokio::sync::Mutex<Option<Arc<Lease>>>,
}

impl LeaseLayer {
    pub(crate) fn new(lane: Lane) -> Self {
        let lease = tokio::sync::Mutex::new(None);
        Self(Arc::new(Holder { lane, lease }))
    }
}

impl Holder {
    /// The lease that this process has, or the next one.
    async fn lease(&self) -> Result<Arc<Lease>, FleetError> {
        let mut held = self.lease.lock().await;
        if let Some(lease) = held.as_ref().filter(|lease| !lease.left().is_zero()) {
            return Ok(lease.clone());
        }
        *held = None;
        Ok(held.insert(self.lane.lease().await?).clone())
    }
}

impl<S> Layer<S> for LeaseLayer {
    type Service = LeaseService<S>;

    fn layer(&self, inner: S) -> LeaseService<S> {
        LeaseService {
            inner,
            holder: self.0.clone(),
            place: Place::Out,
        }
    }
}

/// The service of [`LeaseLayer`].
///
/// A dial waits for the lane in `poll_ready`, before the service below is readied. Dropping it gives
/// up the wait.
pub struct LeaseService<S> {
    inner: S,
    holder: Arc<Holder>,
    place: Place,
}

enum Place {
    Out,
    /// Polled by its owner alone; the lock makes it `Sync`.
    Waits(Mutex<BoxFuture<'static, Result<Arc<Lease>, FleetError>>>),
    In(Arc<Lease>),
}

impl<S> LeaseService<S> {
    fn poll_lease(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            self.place = match &mut self.place {
                Place::In(lease) if !lease.left().is_zero() => return Poll::Ready(Ok(())),
                Place::Out | Place::In(_) => {
                    let holder = self.holder.clone();
                    Place::Waits(Mutex::new(Box::pin(async move { holder.lease().await })))
                }
                Place::Waits(waits) => {
                    let waits = waits.get_mut().unwrap_or_else(PoisonError::into_inner);
                    match ready!(waits.as_mut().poll(cx)) {
                        Ok(lease) => Place::In(lease),
                        Err(error) => {
                            self.place = Place::Out;
                            return Poll::Ready(Err(error.into_failure().into()));
                        }
                    }
                }
            };
        }
    }
}

impl<S, T> Service<T> for LeaseService<S>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
{
    type Response = LeaseConnection<S::Response>;
    type Error = BoxError;
    type Future = LeaseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.poll_lease(cx))?;
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let place = std::mem::replace(&mut self.place, Place::Out);
        let inner = self.inner.call(target);
        LeaseFuture {
            inner,
            lease: match place {
                Place::In(lease) => Some(lease),
                // It was not readied, which the contract of `Service` forbids.
                Place::Out | Place::Waits(_) => None,
            },
        }
    }
}

impl<S: Clone> Clone for LeaseService<S> {
    fn clone(&self) -> Self {
        // A clone is not ready.
        Self {
            inner: self.inner.clone(),
            holder: self.holder.clone(),
            place: Place::Out,
        }
    }
}

/// The future of [`LeaseService`]. A dial that takes until the lane is lost fails, and may be tried
/// again.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct LeaseFuture<F> {
    #[pin]
    inner: F,
    lease: Option<Arc<Lease>>,
}

impl<F, C, E> Future for LeaseFuture<F>
where
    F: Future<Output = Result<C, E>>,
    C: Connection,
    E: Into<BoxError>,
{
    type Output = Result<LeaseConnection<C>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(lease) = this.lease.as_ref() else {
            return Poll::Ready(Err("called before it was ready".into()));
        };
        if let Poll::Ready(cause) = lease.poll_lost(cx) {
            return Poll::Ready(Err(cause.into()));
        }
        let dialled = ready!(this.inner.poll(cx)).map_err(Into::into)?;
        Poll::Ready(Ok(LeaseConnection::new(dialled, lease.clone())))
    }
}

impl fmt::Debug for LeaseLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaseLayer").field(&self.0.lane).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for LeaseService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseService")
            .field("inner", &self.inner)
            .field("lane", &self.holder.lane)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for LeaseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseFuture")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
