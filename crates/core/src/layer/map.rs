use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

/// How a layer makes its connection out of the one below.
#[diagnostic::on_unimplemented(
    message = "`{Self}` wraps no connection of type `{C}`",
    label = "no wrap",
    note = "a layer that only wraps implements it: `fn wrap(self, inner: C) -> Self::Connection`"
)]
pub trait Wrap<C> {
    /// The wrapped connection.
    type Connection;

    /// Wraps a connection that has just come up.
    fn wrap(self, inner: C) -> Self::Connection;
}

/// The future of a layer that only wraps: resolves to the inner service's connection, wrapped.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct MapConnection<F, W> {
    #[pin]
    inner: F,
    wrap: Option<W>,
}

impl<F, W> MapConnection<F, W> {
    /// Wraps what `inner` resolves to.
    pub fn new(inner: F, wrap: W) -> Self {
        Self {
            inner,
            wrap: Some(wrap),
        }
    }
}

impl<F, C, E, W> Future for MapConnection<F, W>
where
    F: Future<Output = Result<C, E>>,
    W: Wrap<C>,
{
    type Output = Result<W::Connection, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let connection = ready!(this.inner.poll(cx))?;
        let wrap = this
            .wrap
            .take()
            .expect("polled after it was ready, which futures forbid");
        Poll::Ready(Ok(wrap.wrap(connection)))
    }
}
