use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::timeout;

use crate::{
    feed::{Feed, Heard},
    handle::Handle,
    update::{Ended, Update},
};

/// What comes in under one subscription, and what becomes of it, in order: a stream that lives
/// across redials, and ends with the reason as its last item.
///
/// Made by [`Handle::subscribe`]. Dropping it takes the subscription back.
#[must_use = "a subscription that is dropped is taken back"]
pub struct Subscription<M> {
    handle: Handle<M>,
    feed: Feed<M>,
}

impl<M> Subscription<M> {
    pub(crate) fn new(handle: Handle<M>, feed: Feed<M>) -> Self {
        Self { handle, feed }
    }

    /// The next item; `None` after the last. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard<M>> {
        poll_fn(|cx| self.feed.poll_next(cx)).await
    }

    /// Waits until the server has the subscription for the first time. Call it before the first
    /// item is read.
    ///
    /// # Errors
    ///
    /// Why there is none: [`Ended::TimedOut`], or what the stream would end with. Dropping the
    /// future loses nothing.
    pub async fn active(&mut self, limit: Duration) -> Result<(), Ended> {
        match timeout(limit, self.next()).await {
            Ok(Some(Heard::Update(Update::Ended(why)))) => Err(why),
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Ended::Closed(None)),
            Err(_) => Err(Ended::TimedOut),
        }
    }
}

impl<M> Stream for Subscription<M> {
    type Item = Heard<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Heard<M>>> {
        self.feed.poll_next(cx)
    }
}

impl<M> Drop for Subscription<M> {
    fn drop(&mut self) {
        self.handle.let_go(&self.feed);
    }
}

impl<M> fmt::Debug for Subscription<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.feed).finish()
    }
}
