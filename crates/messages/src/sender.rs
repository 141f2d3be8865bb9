use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tower_ws_core::later;

use crate::{error::SendError, outbox::Until, shared::Shared};

/// Sends messages: a cloneable handle. See the [crate docs](crate) for what each of its ways to send
/// promises.
///
/// Messages go out in the order in which they are accepted, whoever sends them. When the last sender
/// and the [`Events`](crate::Events) are dropped the session ends in order: what is under way may
/// finish for a [while](crate::MessagesLayer::close_grace), then the connection is closed.
pub struct Sender<M> {
    shared: Arc<Shared<M>>,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The stack has it.
    Taken,
    /// It has left this process: the network has it, or the system on its behalf. That the peer has
    /// read it, nobody knows.
    Written,
    /// The peer has acknowledged it, as the [`AckLayer`](https://docs.rs/tower-ws-ack) below
    /// understands that.
    Acknowledged,
}

impl<M> Sender<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>) -> Self {
        shared.sender_made();
        Self { shared }
    }

    /// Sends a message. Resolves when the stack has taken it, which is when it has room: a stack that
    /// holds messages through an outage takes it at once, one that does not takes it when there is a
    /// connection.
    ///
    /// Dropping the future before that takes the message back. What becomes of a message that was
    /// taken and then given up, an [`Undelivered`](crate::Event::Undelivered) tells.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message: it was not taken within the
    /// [time limit](crate::MessagesLayer::timeout), or the session has ended.
    pub async fn send(&self, message: impl Into<M>) -> Result<(), SendError<M>> {
        self.wait(message.into(), Until::Taken).await.map(drop)
    }

    /// Sends a message, and resolves with what became of it:
    /// [`Written`](Outcome::Written), or [`Acknowledged`](Outcome::Acknowledged) where that is
    /// [waited for](crate::MessagesLayer::acknowledged).
    ///
    /// Dropping the future takes the message back if it was not sent.
    ///
    /// # Errors
    ///
    /// [`SendError`]; its [`may_have_been_seen`](SendError::may_have_been_seen) says whether sending
    /// it again is safe. It has the message, unless that was sent or has stayed in a layer below,
    /// which drops it then.
    pub async fn send_confirmed(&self, message: impl Into<M>) -> Result<Outcome, SendError<M>> {
        self.wait(message.into(), Until::Settled).await
    }

    /// Accepts a message at once, if fewer than [so many](crate::MessagesLayer::room) wait. What
    /// becomes of it, nobody waits for: if it is given up, an
    /// [`Undelivered`](crate::Event::Undelivered) tells.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message: there is no room, or the session has ended.
    pub fn try_send(&self, message: impl Into<M>) -> Result<(), SendError<M>> {
        let message = message.into();
        let bytes = self.shared.config.bytes(&message);
        self.shared.push(message, bytes, Until::Nothing).map(drop)
    }

    /// Ends the session: accepts nothing more, waits until what is under way has ended or `grace` is
    /// over, closes the connection, and gives what was accepted by [`try_send`](Self::try_send) and
    /// not sent. Dropping this future does not undo it.
    ///
    /// Bounded by `grace` and the connection's own closing deadline.
    pub async fn close(&self, grace: Duration) -> Vec<M> {
        self.shared.drain(grace);
        self.shared.ended().await
    }

    async fn wait(&self, message: M, until: Until) -> Result<Outcome, SendError<M>> {
        let limit = self.shared.config.timeout;
        let deadline = later(Instant::now(), limit);
        let bytes = self.shared.config.bytes(&message);
        let serial = self.shared.push(message, bytes, until)?;
        let mut sending = Sending {
            shared: Some(&*self.shared),
            serial,
            until,
        };
        match timeout_at(deadline, &mut sending).await {
            Ok(outcome) => outcome,
            Err(_) => {
                sending.shared = None;
                self.shared.time_is_up(serial, until, limit)
            }
        }
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        self.shared.sender_dropped();
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// The wait of a sender. Dropped, it gives the message up.
struct Sending<'a, M> {
    /// `None` once nobody waits.
    shared: Option<&'a Shared<M>>,
    serial: u64,
    until: Until,
}

impl<M> Future for Sending<'_, M> {
    type Output = Result<Outcome, SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(shared) = self.shared else {
            return Poll::Pending;
        };
        let outcome = ready!(shared.lock().outbox.poll(self.serial, self.until, cx));
        self.shared = None;
        Poll::Ready(outcome)
    }
}

impl<M> Drop for Sending<'_, M> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.give_up(self.serial);
        }
    }
}
