use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tower_service::Service;
use tower_ws_core::{BoxError, Connection};
use tracing::instrument::Instrumented;

use crate::{backoff::Backoff, connection::ReconnectConnection, dialer::Dialer, error::ReconnectError, policy::Policy};

/// The future of [`Reconnect`](crate::Reconnect): dials the first connection, again and again if
/// the policy says so.
///
/// Resolves to a [`ReconnectError`] when the policy gives up. Dropping it cancels the dial and ends
/// the session.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReconnectFuture<S: Service<T>, T, P = Backoff> {
    dialer: Option<Dialer<S, T, P>>,
    #[pin]
    call: Option<Instrumented<S::Future>>,
}

impl<S: Service<T>, T, P> ReconnectFuture<S, T, P> {
    pub(crate) fn new(dialer: Dialer<S, T, P>) -> Self {
        Self {
            dialer: Some(dialer),
            call: None,
        }
    }
}

impl<S, T, P> Future for ReconnectFuture<S, T, P>
where
    S: Service<T, Response: Connection, Error: Into<BoxError>>,
    T: Clone,
    P: Policy,
{
    type Output = Result<ReconnectConnection<S, T, P>, ReconnectError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let dialer = this
            .dialer
            .as_mut()
            .expect("polled after it was ready, which futures forbid");
        let dialled = loop {
            let polled = dialer.poll_dial(this.call.as_mut(), cx);
            if polled.is_ready() || dialer.register_for_commands(cx) {
                break ready!(polled);
            }
        };
        let dialer = this.dialer.take().expect("it was there a moment ago");
        Poll::Ready(match dialled {
            Ok(inner) => Ok(ReconnectConnection::new(dialer, inner)),
            Err(cause) => Err(dialer.gave_up(cause)),
        })
    }
}

impl<S: Service<T>, T, P> fmt::Debug for ReconnectFuture<S, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectFuture").finish_non_exhaustive()
    }
}
