//! A transport without a network: sockets that are pairs of bounded channels.
//!
//! For tests, and for a peer in the same process. Nothing touches the system, so it runs under a
//! paused clock and does the same thing each time.
//!
//! [`channel`] gives the two sides of a connector: [`Memory`] dials, [`Listener`] accepts or
//! refuses. [`pair`] gives two connected [`Socket`]s and nothing else.
//!
//! ```
//! use futures_util::{SinkExt, StreamExt};
//! use tower::{Service, ServiceExt};
//! use tower_ws_core::Event;
//! use tower_ws_transport::memory;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let (memory, mut listener) = memory::channel::<String>(8);
//! tokio::spawn(async move {
//!     let mut peer = listener.accept().await.expect("somebody dials");
//!     while let Some(Ok(said)) = peer.next().await {
//!         peer.send(said).await.expect("the client still listens");
//!     }
//! });
//!
//! let mut connection = memory.oneshot(()).await?;
//! assert!(matches!(connection.next().await, Some(Event::Up(_))));
//! connection.send("hello".to_owned().into()).await?;
//! assert!(matches!(connection.next().await, Some(Event::Message(said)) if said == "hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! - There is no closing handshake: a peer that closes and one that vanishes look the same, an end
//!   of the stream, which the connection takes for a failure of the network.
//! - A message is delivered whole or not at all; there are no bytes, so nothing counts them.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use tower_service::Service;
use tower_ws_core::Lift;

/// The two sides of an in-memory connector. Each socket takes `capacity` messages that its peer has
/// not read; 0 counts as 1.
pub fn channel<M: Send + 'static>(capacity: usize) -> (Memory<M>, Listener<M>) {
    let (dials, incoming) = mpsc::unbounded_channel();
    (Memory { dials }, Listener { incoming, capacity })
}

/// Two connected sockets. Each takes `capacity` messages that the other has not read; 0 counts as 1.
pub fn pair<M: Send + 'static>(capacity: usize) -> (Socket<M>, Socket<M>) {
    let (near, from_near) = mpsc::channel(capacity.max(1));
    let (far, from_far) = mpsc::channel(capacity.max(1));
    (Socket::new(near, from_far), Socket::new(far, from_near))
}

/// The dialling side: a service whose response is a connection. The target is ignored.
///
/// # Errors
///
/// A dial that the [`Listener`] refuses, or that has no listener, fails with an [`io::Error`] of
/// the kind `ConnectionRefused`, which [`Failure::of`](tower_ws_core::Failure::of) classifies as
/// the network's.
///
/// # Cancellation
///
/// A dial whose future is dropped is never seen by the listener, unless it has been accepted
/// already: then the peer's socket ends.
pub struct Memory<M> {
    dials: mpsc::UnboundedSender<Answer<M>>,
}

/// The listening side. Dials wait until they are accepted or refused; dropping the listener refuses
/// all of them.
pub struct Listener<M> {
    incoming: mpsc::UnboundedReceiver<Answer<M>>,
    capacity: usize,
}

/// The future of a dial.
#[must_use = "futures do nothing unless polled"]
pub struct Dial<M> {
    answer: oneshot::Receiver<Socket<M>>,
}

/// One end of an in-memory socket.
///
/// A sink of messages and a stream of what the peer sent. Closing the sink ends the peer's stream
/// once the peer has read what was sent, and leaves this side's stream open. Dropping the socket
/// does the same, and makes the peer's sink fail.
///
/// A message counts as flushed once it is in the channel: flushing does not wait for the peer to
/// read. A message that is sent without readiness fails with an error, and is lost.
pub struct Socket<M> {
    sender: PollSender<M>,
    /// `PollSender` panics when it is used without a reservation.
    reserved: bool,
    receiver: mpsc::Receiver<M>,
}

type Answer<M> = oneshot::Sender<Socket<M>>;

// === impl Memory ===

impl<M: Send + 'static, T> Service<T> for Memory<M> {
    type Response = Lift<Socket<M>, M>;
    type Error = io::Error;
    type Future = Dial<M>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: T) -> Dial<M> {
        let (ask, answer) = oneshot::channel();
        // Without a listener `ask` is dropped here, and the dial refused.
        let _ = self.dials.send(ask);
        Dial { answer }
    }
}

impl<M> Clone for Memory<M> {
    fn clone(&self) -> Self {
        Self {
            dials: self.dials.clone(),
        }
    }
}

impl<M> fmt::Debug for Memory<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

// === impl Listener ===

impl<M: Send + 'static> Listener<M> {
    /// Accepts the next dial, and returns the peer's end of it. `None` once every [`Memory`] is
    /// dropped and every dial is answered.
    ///
    /// Cancel safe: no dial is lost.
    pub async fn accept(&mut self) -> Option<Socket<M>> {
        loop {
            let dial = self.incoming.recv().await?;
            let (near, far) = pair(self.capacity);
            // A dial that was given up is passed over.
            if dial.send(near).is_ok() {
                return Some(far);
            }
        }
    }

    /// Refuses the next dial. False once every [`Memory`] is dropped and every dial is answered.
    ///
    /// Cancel safe: no dial is lost.
    pub async fn refuse(&mut self) -> bool {
        while let Some(dial) = self.incoming.recv().await {
            if !dial.is_closed() {
                return true;
            }
        }
        false
    }
}

impl<M> fmt::Debug for Listener<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

// === impl Dial ===

impl<M> Future for Dial<M> {
    type Output = io::Result<Lift<Socket<M>, M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let dialled = ready!(Pin::new(&mut self.answer).poll(cx));
        let refused = |_| {
            io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "nobody listens, or the dial was refused",
            )
        };
        Poll::Ready(dialled.map(Lift::new).map_err(refused))
    }
}

impl<M> fmt::Debug for Dial<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

// === impl Socket ===

impl<M: Send + 'static> Socket<M> {
    fn new(sender: mpsc::Sender<M>, receiver: mpsc::Receiver<M>) -> Self {
        Self {
            sender: PollSender::new(sender),
            reserved: false,
            receiver,
        }
    }
}

impl<M> Stream for Socket<M> {
    type Item = io::Result<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl<M: Send + 'static> Sink<M> for Socket<M> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.sender.poll_reserve(cx)).map_err(|_| gone())?;
        self.reserved = true;
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: M) -> io::Result<()> {
        if !std::mem::take(&mut self.reserved) {
            return Err(io::Error::other("a message was sent on a socket that was not ready"));
        }
        self.sender.send_item(message).map_err(|_| gone())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A reservation keeps the channel open until it is given back.
        self.sender.abort_send();
        self.sender.close();
        self.reserved = false;
        Poll::Ready(Ok(()))
    }
}

impl<M> fmt::Debug for Socket<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the peer is gone, or this side has closed")
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, SinkExt, StreamExt};
    use tower_ws_core::{Event, Failure, FailureKind};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_socket_is_not_ready_until_the_peer_reads() {
        let (mut near, mut far) = pair(2);
        near.send(1).await.unwrap();
        near.send(2).await.unwrap();
        assert!(near.send(3).now_or_never().is_none());

        let writer = tokio::spawn(async move { near.send(3).await });
        for expected in 1..=3 {
            assert_eq!(far.next().await.unwrap().unwrap(), expected);
        }
        writer.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn closing_leaves_what_was_sent_and_the_other_direction() {
        let (mut near, mut far) = pair(2);
        near.feed(1).await.unwrap();
        near.close().await.unwrap();
        assert_eq!(far.next().await.unwrap().unwrap(), 1);
        assert!(far.next().await.is_none());
        far.send(2).await.unwrap();
        assert_eq!(near.next().await.unwrap().unwrap(), 2);
        assert_eq!(near.send(3).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_gives_back_a_reservation() {
        let (mut near, mut far) = pair::<u8>(1);
        std::future::poll_fn(|cx| near.poll_ready_unpin(cx)).await.unwrap();
        near.close().await.unwrap();
        assert!(far.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_ends_both_directions_and_wakes_a_writer() {
        let (mut near, mut far) = pair(1);
        far.send(7).await.unwrap();
        near.send(1).await.unwrap();
        let writer = tokio::spawn(async move { (near.send(2).await, near) });
        tokio::task::yield_now().await;
        drop(far);
        let (sent, mut near) = writer.await.unwrap();
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(near.next().await.unwrap().unwrap(), 7);
        assert!(near.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn sending_without_readiness_is_an_error() {
        let (mut near, _far) = pair(1);
        assert!(near.start_send_unpin(1).is_err());
        near.send(2).await.unwrap();
        assert!(near.start_send_unpin(3).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_is_accepted_or_refused() {
        let (mut memory, mut listener) = channel::<u8>(1);
        let (dialled, accepted) = tokio::join!(memory.call("anywhere"), listener.accept());
        let (mut connection, mut peer) = (dialled.unwrap(), accepted.unwrap());
        assert!(matches!(connection.next().await, Some(Event::Up(_))));
        connection.send(5.into()).await.unwrap();
        assert_eq!(peer.next().await.unwrap().unwrap(), 5);

        let (dialled, refused) = tokio::join!(memory.call(()), listener.refuse());
        assert!(refused);
        assert_eq!(Failure::of(dialled.unwrap_err()).kind(), FailureKind::Network);

        let waiting = memory.call(());
        drop(listener);
        assert_eq!(Failure::of(waiting.await.unwrap_err()).kind(), FailureKind::Network);
        assert!(memory.call(()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_that_was_given_up_is_not_accepted() {
        let (mut memory, mut listener) = channel::<u8>(1);
        drop(memory.call(()));
        drop(memory);
        assert!(listener.accept().await.is_none());
    }
}
