use std::{fmt, num::NonZeroU64};

use tokio::time::Instant;

use super::{event::DropReason, ticket::Ticket};

/// A message on its way out, and what the layers may know about it.
///
/// A bare message converts with `From` and has the defaults: the normal lane, no deadline, replay
/// left to the strategy of whoever asks, and nobody waiting for it.
///
/// ```
/// use tower_ws_core::{Lane, Outgoing, Replay};
///
/// let plain = Outgoing::from("hello");
/// assert_eq!(plain.lane, Lane::Normal);
///
/// let ping = Outgoing::new("ping").control().replay(Replay::Unsafe);
/// assert_eq!(ping.lane, Lane::Control);
/// ```
///
/// Its `Debug` leaves the message out: it may hold secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outgoing<M> {
    /// What goes to the peer.
    pub message: M,
    /// Which queue it stands in.
    pub lane: Lane,
    /// After this moment the message is not worth sending: a layer that still holds it drops it as
    /// [`Expired`](crate::DropReason::Expired).
    pub deadline: Option<Instant>,
    /// May it be sent again once the peer may have seen it?
    pub replay: Replay,
    /// Where the message is, for the one who waits for it. `None` when nobody waits: then it costs
    /// nothing.
    pub ticket: Option<Ticket>,
    /// The one epoch in which the message makes sense, as the answer to a request that came in
    /// then: on another connection it would answer somebody else's. A layer that holds it when that
    /// epoch ends drops it as [`Disconnected`](crate::DropReason::Disconnected), and no other
    /// connection gets it. Default `None`: any.
    pub epoch: Option<NonZeroU64>,
    /// The number under which a store above keeps it beyond the life of the process, so that it
    /// knows the message again when it comes back. `None` where nothing keeps it. Layers carry it
    /// along.
    ///
    /// A message that comes back with its number is still kept: the next session sends it.
    pub record: Option<NonZeroU64>,
}

impl<M> Outgoing<M> {
    /// A message with the defaults.
    pub fn new(message: M) -> Self {
        Self {
            message,
            lane: Lane::Normal,
            deadline: None,
            replay: Replay::Unknown,
            ticket: None,
            epoch: None,
            record: None,
        }
    }

    /// Moves the message to the [control lane](Lane::Control).
    #[must_use]
    pub fn control(mut self) -> Self {
        self.lane = Lane::Control;
        self
    }

    /// Sets the moment after which the message is not worth sending.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Declares whether the message may be sent twice.
    #[must_use]
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Attaches the ticket of whoever waits for the message.
    #[must_use]
    pub fn ticket(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
    }

    /// Binds the message to an epoch.
    #[must_use]
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = NonZeroU64::new(epoch);
        self
    }

    /// Is it bound to another epoch than this one?
    pub fn is_of_another(&self, epoch: u64) -> bool {
        self.epoch.is_some_and(|bound| bound.get() != epoch)
    }

    /// The same envelope around another message.
    pub fn map<N>(self, f: impl FnOnce(M) -> N) -> Outgoing<N> {
        Outgoing {
            message: f(self.message),
            lane: self.lane,
            deadline: self.deadline,
            replay: self.replay,
            ticket: self.ticket,
            epoch: self.epoch,
            record: self.record,
        }
    }

    /// Why the message must not be sent any more: its caller has given up, or its deadline has
    /// passed. The one question to ask before it is handed on; `None` if it may go.
    pub fn drop_reason(&self, now: Instant) -> Option<DropReason> {
        if self.ticket.as_ref().is_some_and(Ticket::is_abandoned) {
            return Some(DropReason::Cancelled);
        }
        let expired = self.deadline.is_some_and(|deadline| deadline <= now);
        expired.then_some(DropReason::Expired)
    }
}

impl<M> fmt::Debug for Outgoing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("lane", &self.lane)
            .field("replay", &self.replay)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

impl<M> From<M> for Outgoing<M> {
    fn from(message: M) -> Self {
        Self::new(message)
    }
}

/// Which queue an outgoing message stands in. This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Lane {
    /// In order, with backpressure.
    #[default]
    Normal,
    /// Short-lived and ahead of everything: a ping, a pong, a cancellation, the answer to a
    /// server's ping.
    ///
    /// A control message may be handed to a sink that is not ready, at most [`Lane::CONTROL_ROOM`]
    /// at a time, so that liveness never waits behind a full queue. While there is no connection it
    /// comes back as [`Dropped`](crate::Event::Dropped): it would be stale by the time there is
    /// one.
    Control,
}

impl Lane {
    /// How many control messages a connection keeps until its socket takes them: 16. One more comes
    /// back as [`Overflow`](crate::DropReason::Overflow).
    pub const CONTROL_ROOM: usize = 16;
}

/// May a message be sent again once the peer may have seen it? This list is complete.
///
/// What never reached the socket may always be sent, whatever stands here.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Replay {
    /// Nobody said. The strategy of the layer that asks decides, and unless it knows better the
    /// answer is no.
    #[default]
    Unknown,
    /// Seeing it twice does no harm: a read, an idempotent write.
    Safe,
    /// It must not be seen twice.
    Unsafe,
}
