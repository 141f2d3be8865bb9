use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;
use tower_ws_core::{
    Carry, Closed, Connection, DropReason, Event, Failure, Halves, Outgoing, Pack, Severable, Verbatim, forward_sink,
};

use crate::{
    error::CryptoError,
    hello::Nonces,
    keys::KeyRing,
    seal::{Opener, Sealer},
};

/// A connection whose messages are sealed.
///
/// What is data is sealed as it is handed over and opened as it comes in; what is not (a ping, a
/// pong) passes. What comes back unsent is given back as it was. A message that cannot be opened
/// ends the connection: nothing of it goes up, and whatever is below is dropped, so that the peer
/// sees it end without a farewell.
#[pin_project]
pub struct CryptoConnection<C: Connection, P = Verbatim> {
    #[pin]
    inner: Severable<C>,
    pack: P,
    ring: KeyRing,
    sealer: Sealer,
    opener: Opener,
    /// What the reader is still to be told once the connection below has been cut off.
    ending: VecDeque<Event<C::Message>>,
    halves: Halves,
}

impl<C, P> CryptoConnection<C, P>
where
    C: Connection,
    P: Pack<C::Message> + Carry<C::Message>,
{
    /// It seals from the first message on, whether or not anybody has read `Up`.
    pub(crate) fn new(inner: C, pack: P, ring: KeyRing, nonces: Nonces) -> Self {
        let (sealer, opener) = nonces.into_pair(ring.clone());
        Self {
            inner: Severable::new(inner),
            pack,
            sealer,
            opener,
            ring,
            ending: VecDeque::new(),
            halves: Halves::new(),
        }
    }

    /// Opens what came in; a message that is no data passes.
    fn open(self: Pin<&mut Self>, message: C::Message) -> Result<C::Message, CryptoError> {
        let this = self.project();
        let sealed = match this.pack.carried(message) {
            Ok(sealed) => sealed,
            Err(message) if this.pack.pack(&message).is_none() => return Ok(message),
            Err(_) => return Err(CryptoError::Plaintext),
        };
        let plain = this.opener.open(sealed.into())?;
        this.pack.unpack(plain.into()).ok_or(CryptoError::Format)
    }

    /// What came back, as it was before it was sealed.
    fn restore(self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Outgoing<C::Message> {
        let this = self.project();
        item.message = match this.pack.carried(item.message) {
            Ok(sealed) => {
                let plain = this.sealer.reopen(sealed.to_vec()).ok();
                let restored = plain.and_then(|plain| this.pack.unpack(plain.into()));
                // Its key may have been retired since: then it stays sealed.
                restored.unwrap_or_else(|| this.pack.carry(sealed))
            }
            Err(message) => message,
        };
        item
    }

    /// Cuts the connection off. The message that could not be sealed comes back first, then comes
    /// why.
    fn fail(self: Pin<&mut Self>, error: CryptoError, refused: Option<Outgoing<C::Message>>) {
        let this = self.project();
        tracing::warn!(%error, "the encrypted connection ends");
        let reason = DropReason::Refused("no more messages can be sealed");
        let down = this.inner.sever(Failure::from(error));
        this.ending.extend(refused.map(|item| Event::Dropped(item, reason)));
        this.ending.push_back(Event::Down(down));
        this.halves.wake_reader();
    }
}

impl<C, P> Stream for CryptoConnection<C, P>
where
    C: Connection,
    P: Pack<C::Message> + Carry<C::Message>,
{
    type Item = C::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        // A writer may end it.
        self.halves.park_reader(cx);
        loop {
            let this = self.as_mut().project();
            if let Some(event) = this.ending.pop_front() {
                return Poll::Ready(Some(event));
            }
            let event = match ready!(this.inner.poll_next(cx)) {
                Some(Event::Message(message)) => match self.as_mut().open(message) {
                    Ok(message) => Event::Message(message),
                    Err(error) => {
                        self.as_mut().fail(error, None);
                        continue;
                    }
                },
                Some(Event::Dropped(item, reason)) => Event::Dropped(self.restore(item), reason),
                Some(Event::Delivered(item)) => Event::Delivered(self.restore(item)),
                other => return Poll::Ready(other),
            };
            return Poll::Ready(Some(event));
        }
    }
}

impl<C, P> Sink<Outgoing<C::Message>> for CryptoConnection<C, P>
where
    C: Connection,
    P: Pack<C::Message> + Carry<C::Message>,
{
    type Error = Closed;

    fn start_send(mut self: Pin<&mut Self>, mut item: Outgoing<C::Message>) -> Result<(), Closed> {
        let this = self.as_mut().project();
        if this.inner.is_severed() {
            // A sink that was ready does not fail while its end has not been read.
            let Some(down) = this.ending.pop_back() else {
                return Err(Closed);
            };
            this.ending.push_back(Event::Dropped(item, DropReason::Disconnected));
            this.ending.push_back(down);
            return Ok(());
        }
        if let Some(plain) = this.pack.pack(&item.message) {
            match this.sealer.seal(&plain) {
                Ok(sealed) => item.message = this.pack.carry(sealed.into()),
                Err(error) => {
                    self.fail(error, Some(item));
                    return Ok(());
                }
            }
        }
        self.project().inner.start_send(item)
    }

    forward_sink!(polls inner);
}

impl<C: Connection, P> fmt::Debug for CryptoConnection<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoConnection")
            .field("ring", &self.ring)
            .field("severed", &self.inner.is_severed())
            .finish_non_exhaustive()
    }
}
