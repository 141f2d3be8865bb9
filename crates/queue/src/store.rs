use std::collections::VecDeque;

use tokio::time::Instant;
use tower_ws_core::{DropReason, Outgoing};

/// Makes the [`Store`] of each session.
pub trait MakeStore<M> {
    /// What holds the messages of one session.
    type Store: Store<M>;

    /// The store that a session begins with. It need not be empty: what it holds goes out first. Opening files, and
    /// failing at it, belongs before this.
    fn make_store(&self) -> Self::Store;
}

/// Where a queue keeps what it holds: a list, first in, first out.
///
/// The queue decides what may enter and when something leaves; a store only keeps. It is used from polls, so it must
/// not block: one that writes to a disk hands its records to a thread of its own.
///
/// # The life of a message, for a store that outlives the process
///
/// 1. It enters by [`push_back`](Self::push_back). If the queue is empty and the connection ready, it does not enter:
///    [`pass`](Self::pass) is told instead. Either may fail; then the message comes back as
///    [`Dropped`](tower_ws_core::Event::Dropped) and nothing of it is sent.
/// 2. It leaves by [`pop_front`](Self::pop_front), right before it is handed to the connection, or by `pop_front` or
///    [`take_if`](Self::take_if) because the queue gives it up. Handed over is not acknowledged: its record must stay.
/// 3. [`settled`](Self::settled) says what became of it: acknowledged, or given up here or by a layer below. Where the
///    acknowledgement is a reply, the reply passes [`heard`](Self::heard) instead, and the store's author knows which
///    message it answers. Now the record may go.
///
/// A message that is neither settled nor answered when the process ends has been sent, or not: whether it may be sent
/// again is for its [`replay`](Outgoing::replay) to say. Tickets do not outlive a process. A message whose ticket is
/// cancelled after it has left is not told of.
pub trait Store<M> {
    /// Keeps a message behind all others.
    ///
    /// # Errors
    ///
    /// The message, and the reason it comes back with, such as [`DropReason::Refused`].
    fn push_back(&mut self, held: Held<M>) -> Result<(), (Held<M>, DropReason)>;

    /// The message that has been here longest.
    fn front(&self) -> Option<&Held<M>>;

    /// Takes out the message that has been here longest.
    fn pop_front(&mut self) -> Option<Held<M>>;

    /// How many messages are here.
    fn len(&self) -> usize;

    /// True if there are none. Asked for each message, so it should cost nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out each message that is `wanted`, first to last, and keeps the order of the others. `wanted` is called
    /// once for each message, in order.
    fn take_if(&mut self, wanted: &mut dyn FnMut(&Held<M>) -> bool) -> Vec<Held<M>>;

    /// A message is about to pass by without entering. By default nothing is done.
    ///
    /// # Errors
    ///
    /// The reason why it must not.
    fn pass(&mut self, item: &Outgoing<M>) -> Result<(), DropReason> {
        let _ = item;
        Ok(())
    }

    /// A message has come to its end: acknowledged by the peer if there is no reason, otherwise given up. By default
    /// nothing is done.
    fn settled(&mut self, item: &Outgoing<M>, dropped: Option<&DropReason>) {
        let _ = (item, dropped);
    }

    /// The peer said this. By default nothing is done.
    fn heard(&mut self, message: &M) {
        let _ = message;
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
