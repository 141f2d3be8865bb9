use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tower_ws_core::{BoxError, Carry, Closed, Connection, Down, DropReason, Event, Failure, Halves, Outgoing, Pack};

use crate::{
    error::CryptoError,
    hello::Nonces,
    keys::KeyRing,
    seal::{Opener, Sealer},
};

/// A connection whose messages are sealed.
///
/// What is data is sealed as it is handed over and opened as it comes in; what is not (a ping, a pong) passes. What comes
/// back unsent is given back as it was. A message that cannot be opened ends the connection: nothing of it goes up, and
/// whatever is below is dropped, so that the peer sees it end without a farewell.
#[pin_project]
pub struct CryptoConnection<C: Connection, Z> {
    #[pin]
    inner: Option<C>,
    codec: Z,
    ring: KeyRing,
    sealer: Sealer,
    opener: Opener,
    epoch: u64,
    /// Why it ends, and what has to be told before.
    failed: Option<CryptoError>,
    returned: Option<Outgoing<C::Message>>,
    halves: Halves,
}

impl<C, Z> CryptoConnection<C, Z>
where
    C: Connection,
    Z: Pack<C::Message> + Carry<C::Message>,
{
    /// It seals from the first message on, whether or not anybody has read `Up`.
    pub(crate) fn new(inner: C, codec: Z, ring: KeyRing, nonces: Nonces) -> Self {
        Self {
            inner: Some(inner),
            codec,
            sealer: Sealer::new(ring.clone(), nonces),
            opener: Opener::new(ring.clone(), nonces),
            ring,
            epoch: 1,
            failed: None,
            returned: None,
            halves: Halves::new(),
        }
    }

    /// Opens what came in; a message that is no data passes.
    fn open(self: Pin<&mut Self>, message: C::Message) -> Result<C::Message, CryptoError> {
        let this = self.project();
        let sealed = match this.codec.carried(message) {
            Ok(sealed) => sealed,
            Err(message) if this.codec.pack(&message).is_none() => return Ok(message),
            Err(_) => return Err(CryptoError::Plaintext),
        };
        let plain = this.opener.open(sealed.into())?;
        this.codec.unpack(plain.into()).ok_or(CryptoError::Format)
    }

    /// What came back, as it was before it was sealed.
    fn restore(self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Outgoing<C::Message> {
        let this = self.project();
        item.message = match this.codec.carried(item.message) {
            Ok(sealed) => {
                let plain = this.sealer.reopen(sealed.to_vec()).ok();
                let restored = plain.and_then(|plain| this.codec.unpack(plain.into()));
                // Its key may have been retired since: then it stays sealed.
                restored.unwrap_or_else(|| this.codec.carry(sealed))
            }
            Err(message) => message,
        };
        item
    }

    /// The end: what was refused is told, then why.
    fn end(self: Pin<&mut Self>) -> Option<Event<C::Message>> {
        let mut this = self.project();
        this.inner.set(None);
        this.halves.wake_writer();
        if let Some(item) = this.returned.take() {
            return Some(Event::Dropped(
                item,
                DropReason::Refused("no more messages can be sealed"),
            ));
        }
        let error = this.failed.take()?;
        tracing::warn!(%error, "the encrypted connection ends");
        let mut down = Down::new(Failure::from(error));
        down.epoch = *this.epoch;
        Some(Event::Down(down))
    }
}

impl<C, Z> Stream for CryptoConnection<C, Z>
where
    C: Connection,
    Z: Pack<C::Message> + Carry<C::Message>,
{
    type Item = C::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        // A writer may end it.
        self.halves.park_reader(cx);
        let this = self.as_mut().project();
        let inner = match this.inner.as_pin_mut() {
            Some(inner) if this.failed.is_none() => inner,
            _ => return Poll::Ready(self.end()),
        };
        let Poll::Ready(event) = inner.poll_next(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(match event {
            Some(Event::Message(message)) => match self.as_mut().open(message) {
                Ok(message) => Some(Event::Message(message)),
                Err(error) => {
                    *self.as_mut().project().failed = Some(error);
                    self.end()
                }
            },
            Some(Event::Up(up)) => {
                *self.project().epoch = up.epoch;
                Some(Event::Up(up))
            }
            Some(Event::Dropped(item, reason)) => Some(Event::Dropped(self.restore(item), reason)),
            Some(Event::Delivered(item)) => Some(Event::Delivered(self.restore(item))),
            other => other,
        })
    }
}

impl<C, Z> Sink<Outgoing<C::Message>> for CryptoConnection<C, Z>
where
    C: Connection,
    Z: Pack<C::Message> + Carry<C::Message>,
{
    type Error = BoxError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let this = self.project();
        this.halves.park_writer(cx);
        match this.inner.as_pin_mut() {
            Some(inner) if this.failed.is_none() => inner.poll_ready(cx),
            _ => Poll::Ready(Err(Closed.into())),
        }
    }

    fn start_send(self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Result<(), BoxError> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut().filter(|_| this.failed.is_none()) else {
            return Err(Closed.into());
        };
        if let Some(plain) = this.codec.pack(&item.message) {
            match this.sealer.seal(&plain) {
                Ok(sealed) => item.message = this.codec.carry(sealed.into()),
                Err(error) => {
                    *this.failed = Some(error);
                    *this.returned = Some(item);
                    this.halves.wake_reader();
                    return Ok(());
                }
            }
        }
        inner.start_send(item)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll_flush(cx),
            None => Poll::Ready(Err(Closed.into())),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll_close(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<C: Connection, Z> fmt::Debug for CryptoConnection<C, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoConnection")
            .field("ring", &self.ring)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
