use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tower_ws_core::{Closed, Connection, Event, Outgoing, forward_sink};

use crate::credentials::{Credentials, IssuedCredential};

/// A connection that was opened with a credential. Everything passes; should it end because the
/// credential is not good any more (close code 4401, say), the next one is opened with another.
#[pin_project]
pub struct AuthConnection<C> {
    #[pin]
    inner: C,
    credentials: Credentials,
    /// `None` before `Up`, if a dialogue below leaves it there.
    shown: Option<IssuedCredential>,
}

impl<C> AuthConnection<C> {
    pub(crate) fn new(inner: C, credentials: Credentials, shown: Option<IssuedCredential>) -> Self {
        Self {
            inner,
            credentials,
            shown,
        }
    }
}

impl<C: Connection> Stream for AuthConnection<C> {
    type Item = C::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        let this = self.project();
        let mut polled = this.inner.poll_next(cx);
        if let Poll::Ready(Some(event)) = &mut polled {
            match event {
                Event::Up(up) => {
                    match up.extensions.remove::<IssuedCredential>() {
                        // The dialogue has named itself.
                        Some(from_below) => *this.shown = Some(from_below),
                        None => up.layers.push("auth"),
                    }
                    if let Some(shown) = this.shown {
                        this.credentials.accepted(shown);
                    }
                }
                Event::Down(down) => {
                    if let Some(shown) = this.shown {
                        this.credentials.discard_if_refused(&down.cause, shown);
                    }
                }
                _ => {}
            }
        }
        polled
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for AuthConnection<C> {
    type Error = Closed;

    forward_sink!(inner);
}

impl<C: fmt::Debug> fmt::Debug for AuthConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConnection")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
