//! Echoes over a sink and stream: takes all replies that are there, feeds what the window allows,
//! flushes once.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

use crate::BoxError;
use crate::kind::Target;
use crate::meter::Meter;

/// How one client wraps a payload into its message, and finds the payload in what it yields; `None`
/// is skipped.
pub(crate) trait Codec<S: Stream> {
    type Message;

    fn wrap(&self, payload: Bytes) -> Self::Message;
    fn unwrap(&self, item: S::Item) -> Result<Option<Bytes>, BoxError>;
}

/// Echoes over `inner` until it is dropped or a reply is wrong.
pub(crate) async fn batched<S, C>(inner: S, codec: C, target: Target, meter: Meter) -> Result<Infallible, BoxError>
where
    C: Codec<S>,
    S: Sink<C::Message, Error: Into<BoxError>> + Stream + Unpin,
{
    let mut echo = Echo {
        inner,
        codec,
        target,
        meter,
        sent: 0,
        received: 0,
        unflushed: false,
    };
    poll_fn(|cx| echo.poll(cx)).await
}

struct Echo<S, C> {
    inner: S,
    codec: C,
    target: Target,
    meter: Meter,
    sent: u64,
    received: u64,
    unflushed: bool,
}

impl<S, C> Echo<S, C>
where
    C: Codec<S>,
    S: Sink<C::Message, Error: Into<BoxError>> + Stream + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Infallible, BoxError>> {
        loop {
            let before = self.received;
            let replies = self.poll_replies(cx);
            self.meter.add(self.received - before);
            let waiting = match replies {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            if waiting {
                return Poll::Pending;
            }
        }
    }

    /// Ready once nothing is in flight.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while self.received < self.sent {
            let item = ready!(Pin::new(&mut self.inner).poll_next(cx)).ok_or("the connection ended")?;
            if let Some(payload) = self.codec.unwrap(item)? {
                self.target.payloads.check(self.received, &payload)?;
                self.received += 1;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while self.sent - self.received < self.target.window {
            ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(Into::into)?;
            let message = self.codec.wrap(self.target.payloads.bytes(self.sent));
            Pin::new(&mut self.inner).start_send(message).map_err(Into::into)?;
            self.sent += 1;
            self.unflushed = true;
        }
        // Also when nothing is new: an earlier flush may not have come to its end.
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(cx)).map_err(Into::into)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
