use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower_ws_core::{Down, DropReason, Failure, Outgoing, Up};

/// Makes the [`Store`] of each session.
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no store for messages of type `{M}`",
    label = "no store",
    note = "use `MemoryStore`, or a `Spool` over the same type of message"
)]
pub trait MakeStore<M> {
    /// What holds the messages of one session.
    type Store: Store<M>;

    /// The store that a session begins with. It need not be empty: what it holds goes out first.
    /// Opening files, and failing at it, belongs before this.
    fn make_store(&self) -> Self::Store;
}

/// Where a queue keeps what it holds: a list, first in, first out.
///
/// The queue decides what may enter and when something leaves; a store only keeps. It is used from
/// polls, so it must not block: one that writes to a disk hands its records to a thread of its own.
/// Wakers that it is given wake whoever reads and whoever writes.
///
/// # The life of a message, for a store that outlives the process
///
/// 1. It enters by [`push_back`](Self::push_back), where it gets its [number](Outgoing::record). If
///    the queue is empty and the connection ready it passes by instead, unless the store [writes
///    ahead](Self::writes_ahead).
/// 2. Whoever flushes learns that it was accepted once [`poll_kept`](Self::poll_kept) is ready. A
///    message that could not be recorded after all is [given up](Self::given_up), and comes back as
///    [`Dropped`](tower_ws_core::Event::Dropped).
/// 3. It leaves by [`poll_leave`](Self::poll_leave), and goes straight to the connection; or by
///    [`pop_front`](Self::pop_front) or [`take_if`](Self::take_if), because the queue gives it up.
///    Handed over is not acknowledged: its record must stay.
/// 4. [`settled`](Self::settled) says that it is acknowledged. Where the acknowledgement is a
///    reply, the reply passes [`heard`](Self::heard) instead, and the store's author knows which
///    message it answers. What awaits none is settled by [`flushed`](Self::flushed). Now the record
///    may go. [`dropped`](Self::dropped) says that it is given up, here or by a layer below.
/// 5. When the connection [goes down](Self::went_down) under it, the store may hold it again. When
///    the store [is lost](Self::poll_lost), the session ends.
///
/// A message that is neither settled nor answered when the process ends has been sent, or not:
/// whether it may be sent again is for its [`replay`](Outgoing::replay) to say. Tickets do not
/// outlive a process. A message whose ticket is cancelled after it has left is not told of.
#[diagnostic::on_unimplemented(
    message = "`{Self}` keeps no messages of type `{M}`",
    label = "no store",
    note = "`MemoryStore` makes one"
)]
pub trait Store<M> {
    /// Keeps a message behind all others.
    ///
    /// # Errors
    ///
    /// The message, and the reason it comes back with, such as [`DropReason::Refused`].
    fn push_back(&mut self, held: Held<M>) -> Result<(), (Held<M>, DropReason)>;

    /// The message that has been here longest.
    fn front(&self) -> Option<&Held<M>>;

    /// Takes out the message that has been here longest, to give it up.
    fn pop_front(&mut self) -> Option<Held<M>>;

    /// How many messages are here.
    fn len(&self) -> usize;

    /// True if there are none. Asked for each message, so it should cost nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out each message that is `wanted`, first to last, and keeps the order of the others.
    /// `wanted` is called once for each message, in order.
    fn take_if(&mut self, wanted: &mut dyn FnMut(&Held<M>) -> bool) -> Vec<Held<M>>;

    /// True if each message must enter, also one that could go straight to the connection; and if a
    /// flush is to wait for a message that waits for room. By default false.
    fn writes_ahead(&self) -> bool {
        false
    }

    /// Takes out the message that has been here longest, once it may be handed to the connection:
    /// it goes there in the same breath. Asked when the connection is ready for it. By default at
    /// once.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held<M>>> {
        let _ = cx;
        Poll::Ready(self.pop_front())
    }

    /// Ready once everything that has entered is kept as well as it ever will be, or is to be
    /// [given up](Self::given_up). A flush waits for it, in an outage too. By default at once.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Takes out the next message, of those that are here, that the store itself gives up, and says
    /// why: it could not be kept after all, or the store has brought it along and it must not be
    /// sent. By default none.
    fn given_up(&mut self) -> Option<(Held<M>, DropReason)> {
        None
    }

    /// Ready, with why, once what is held here is not this session's to send any more, for good: it
    /// belongs to another process by now. The session ends with that cause: the connection below is
    /// dropped without a farewell, so that nothing else is written, and what is held comes back as
    /// [`Closed`](DropReason::Closed). What the layers below have goes with them, without an event:
    /// whoever has the store now sends it or tells of it. Asked whenever somebody reads or
    /// flushes, once the first `Up` has been read. By default never.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let _ = cx;
        Poll::Pending
    }

    /// True if a message is out that [`flushed`](Self::flushed) would settle now. By default false:
    /// nobody looks out for it.
    fn awaits_flush(&self) -> bool {
        false
    }

    /// Everything that was handed to this connection has been flushed by it, and after that it had
    /// no end to tell of, or that it was closed by this side. By default nothing is done.
    fn flushed(&mut self) {}

    /// The peer has acknowledged this message. The store takes its [number](Outgoing::record) off.
    /// By default nothing is done.
    fn settled(&mut self, item: &mut Outgoing<M>) {
        let _ = item;
    }

    /// A message is given up for this reason, by the queue or by a layer below. Returns the reason
    /// that whoever reads is told next; `None` if nobody is told, because the store holds the
    /// message again, now or when the connection [goes down](Self::went_down). The store takes the
    /// message's [number](Outgoing::record) off, unless it keeps it for the next session. By
    /// default the reason is told.
    fn dropped(&mut self, item: &mut Outgoing<M>, reason: DropReason) -> Option<DropReason> {
        let _ = item;
        Some(reason)
    }

    /// The peer said this. By default nothing is done.
    fn heard(&mut self, message: &M) {
        let _ = message;
    }

    /// A connection has come up. The store may leave something in the extensions. By default
    /// nothing is done.
    fn came_up(&mut self, up: &mut Up) {
        let _ = up;
    }

    /// A connection has gone down. The store may take messages that were out on it back into its
    /// list. By default nothing is done.
    fn went_down(&mut self, down: &Down) {
        let _ = down;
    }
}

/// A message that a queue holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Held<M> {
    /// The message.
    pub item: Outgoing<M>,
    /// Its size, in bytes of payload.
    pub bytes: usize,
    /// When the queue accepted it.
    pub since: Instant,
}

impl<M> Held<M> {
    /// A message of so many bytes, accepted at this moment.
    pub fn new(item: Outgoing<M>, bytes: usize, since: Instant) -> Self {
        Self { item, bytes, since }
    }
}

/// Keeps messages in memory, for as long as the connection lives. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStore;

impl<M> MakeStore<M> for MemoryStore {
    type Store = VecDeque<Held<M>>;

    fn make_store(&self) -> Self::Store {
        VecDeque::new()
    }
}

impl<M> Store<M> for VecDeque<Held<M>> {
    fn push_back(&mut self, held: Held<M>) -> Result<(), (Held<M>, DropReason)> {
        self.push_back(held);
        Ok(())
    }

    fn front(&self) -> Option<&Held<M>> {
        self.front()
    }

    fn pop_front(&mut self) -> Option<Held<M>> {
        let held = self.pop_front();
        if self.is_empty() {
            // An outage may have made it large, and the next may be far.
            self.shrink_to(KEPT);
        }
        held
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn take_if(&mut self, wanted: &mut dyn FnMut(&Held<M>) -> bool) -> Vec<Held<M>> {
        let mut taken = Vec::new();
        for _ in 0..self.len() {
            let Some(held) = self.pop_front() else { break };
            match wanted(&held) {
                true => taken.push(held),
                false => self.push_back(held),
            }
        }
        taken
    }
}

/// How many messages an empty store in memory keeps room for.
const KEPT: usize = 64;
