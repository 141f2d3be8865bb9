//! What is held, within its bounds. Time is passed in.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::{DropReason, Lease, Outgoing, Pace};

use crate::{
    handle::{Handle, Hub},
    overflow::Overflow,
    store::{Held, Store},
};

/// How much may be held, and what happens to what does not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
    pub(crate) overflow: Overflow,
}

impl Bounds {
    /// Why a message that is held must not go out any more.
    fn drop_reason<M>(&self, held: &Held<M>, now: Instant) -> Option<DropReason> {
        let too_old = held.item.deadline.is_none() && now.saturating_duration_since(held.since) >= self.age;
        held.item.drop_reason(now).or(too_old.then_some(DropReason::Expired))
    }

    /// Until when a message may be held; `None`: for ever.
    fn until<M>(&self, held: &Held<M>) -> Option<Instant> {
        held.item.deadline.or_else(|| held.since.checked_add(self.age))
    }
}

/// The messages that are held, and those that were given up and not told yet.
pub(crate) struct Buffer<M, S> {
    bounds: Bounds,
    store: S,
    bytes: usize,
    /// Under [`Overflow::Wait`], a message that was accepted before its size was known, and does
    /// not fit yet.
    waiting_for_room: Option<Held<M>>,
    /// No message that is held may be held less long than this. It may be out of date, never too
    /// late.
    earliest_deadline: Option<Instant>,
    pace: Pace,
    given_back: VecDeque<(Held<M>, DropReason)>,
    given_back_bytes: usize,
    hub: Lease<Hub>,
}

impl<M, S: Store<M>> Buffer<M, S> {
    pub(crate) fn new(bounds: Bounds, store: S, hub: Lease<Hub>) -> Self {
        let mut buffer = Self {
            bounds,
            store,
            bytes: 0,
            waiting_for_room: None,
            earliest_deadline: None,
            pace: Pace::default(),
            given_back: VecDeque::new(),
            given_back_bytes: 0,
            hub,
        };
        buffer.count();
        buffer
    }

    /// The store may have brought messages along, or taken some back: counts what is there.
    pub(crate) fn count(&mut self) {
        let Self {
            bounds,
            store,
            bytes,
            earliest_deadline,
            ..
        } = self;
        *bytes = 0;
        *earliest_deadline = None;
        let mut count = |held: &Held<M>| {
            *bytes += held.bytes;
            *earliest_deadline = earlier(*earliest_deadline, bounds.until(held));
            false
        };
        store.take_if(&mut count);
        if let Some(held) = &self.waiting_for_room {
            self.earliest_deadline = earlier(self.earliest_deadline, self.bounds.until(held));
        }
        // Before anything else is found wrong with them: a store knows what may have been sent.
        self.give_back_what_the_store_gave_up();
        self.report();
    }

    /// The store, to tell it what passes by.
    pub(crate) fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// True if nothing is held. A message waits for room only while others are held.
    pub(crate) fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// May one more message be accepted? Its size is not known yet.
    pub(crate) fn has_room(&self) -> bool {
        // Whoever never reads what came back must not make it grow without bound.
        let unread = self.given_back.len() >= self.bounds.messages || self.given_back_bytes >= self.bounds.bytes;
        let full = self.bounds.overflow == Overflow::Wait
            && (self.waiting_for_room.is_some()
                || self.store.len() >= self.bounds.messages
                || self.bytes >= self.bounds.bytes);
        !unread && !full
    }

    /// Accepts a message: it is held, or given up.
    pub(crate) fn push(&mut self, item: Outgoing<M>, bytes: usize, now: Instant) {
        let held = Held::new(item, bytes, now);
        if !self.fits(bytes) {
            self.make_room(now);
        }
        // Nothing overtakes a message that waits for room.
        if self.waiting_for_room.is_none() && self.fits(bytes) {
            self.enter(held);
        } else {
            match self.bounds.overflow {
                Overflow::Wait if self.waiting_for_room.is_none() => {
                    self.earliest_deadline = earlier(self.earliest_deadline, self.bounds.until(&held));
                    self.waiting_for_room = Some(held);
                }
                Overflow::DropOldest if bytes <= self.bounds.bytes => {
                    while !self.fits(bytes) {
                        self.give_back_front(DropReason::Overflow);
                    }
                    self.enter(held);
                }
                _ => self.give_back(held, DropReason::Overflow),
            }
        }
        self.report();
    }

    /// True if there is a message that may go next. Gives up those before it that may not.
    pub(crate) fn has_next(&mut self, now: Instant) -> bool {
        while let Some(front) = self.store.front() {
            let Some(reason) = self.bounds.drop_reason(front, now) else {
                return true;
            };
            self.give_back_front(reason);
            self.report();
        }
        false
    }

    /// Tells what the store gives up, and asks whether the rest is kept as well as it will be.
    pub(crate) fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let kept = self.store.poll_kept(cx);
        self.give_back_what_the_store_gave_up();
        // A message that waits for room is accepted, but the store has never seen it.
        match self.store.writes_ahead() && self.waiting_for_room.is_some() {
            true => Poll::Pending,
            false => kept,
        }
    }

    /// True if a message waits for room.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting_for_room.is_some()
    }

    /// Takes out the message that has been held longest, once the store lets it go.
    pub(crate) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outgoing<M>>> {
        let left = self.store.poll_leave(cx).map(|held| self.left(held));
        self.report();
        left.map(|held| held.map(|held| held.item))
    }

    /// Gives up what has been held too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(front) = self.store.front()
            && let Some(reason) = self.bounds.drop_reason(front, now)
        {
            self.give_back_front(reason);
        }
        if self
            .earliest_deadline
            .is_some_and(|earliest_deadline| earliest_deadline <= now)
        {
            self.sweep(now);
        }
        self.report();
    }

    /// Gives up whatever is not worth its place, if it has not just been looked for.
    pub(crate) fn make_room(&mut self, now: Instant) {
        if self.pace.may_look(now, self.store.len()) {
            self.sweep(now);
            self.report();
        }
    }

    /// When [`make_room`](Self::make_room) looks next.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.pace.next()
    }

    /// The connection is gone: gives up what made sense on that one only.
    pub(crate) fn give_up_bound(&mut self) {
        let mut bound = |held: &Held<M>| held.item.epoch.is_some();
        let mut taken = self.store.take_if(&mut bound);
        for held in &taken {
            self.bytes -= held.bytes;
        }
        taken.extend(self.waiting_for_room.take_if(|held| bound(held)));
        for held in taken {
            self.give_back(held, DropReason::Disconnected);
        }
        self.admit_waiting();
        self.report();
    }

    /// Gives up everything.
    pub(crate) fn give_up(&mut self, reason: &DropReason) {
        while !self.store.is_empty() {
            self.give_back_front(reason.clone());
        }
        self.report();
    }

    /// Gives up a message that was never held.
    pub(crate) fn reject(&mut self, item: Outgoing<M>, bytes: usize, reason: DropReason, now: Instant) {
        self.give_back(Held::new(item, bytes, now), reason);
    }

    /// The next message given up, and why.
    pub(crate) fn next_given_back(&mut self) -> Option<(Outgoing<M>, DropReason)> {
        loop {
            let (mut held, reason) = self.given_back.pop_front()?;
            self.given_back_bytes -= held.bytes;
            // Not before it is told: nothing may vanish in between.
            if let Some(reason) = self.store.dropped(&mut held.item, reason) {
                return Some((held.item, reason));
            }
        }
    }

    /// True if some of what was given up has not been told.
    pub(crate) fn has_given_back(&self) -> bool {
        !self.given_back.is_empty()
    }

    /// When to call [`expire`](Self::expire) next, at the latest.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.earliest_deadline
    }

    /// A message that is larger than the bound fits only where nothing else is.
    fn fits(&self, bytes: usize) -> bool {
        self.store.is_empty()
            || (self.store.len() < self.bounds.messages && bytes <= self.bounds.bytes.saturating_sub(self.bytes))
    }

    fn enter(&mut self, held: Held<M>) {
        let (bytes, until) = (held.bytes, self.bounds.until(&held));
        match self.store.push_back(held) {
            Ok(()) => {
                self.bytes += bytes;
                self.earliest_deadline = earlier(self.earliest_deadline, until);
            }
            Err((held, reason)) => self.give_back(held, reason),
        }
    }

    fn take_front(&mut self) -> Option<Held<M>> {
        let held = self.store.pop_front();
        self.left(held)
    }

    /// This one has left the store.
    fn left(&mut self, held: Option<Held<M>>) -> Option<Held<M>> {
        let held = held?;
        self.bytes -= held.bytes;
        self.admit_waiting();
        if self.store.is_empty() {
            self.earliest_deadline = None;
        }
        Some(held)
    }

    fn admit_waiting(&mut self) {
        if let Some(held) = self.waiting_for_room.take() {
            match self.fits(held.bytes) {
                true => self.enter(held),
                false => self.waiting_for_room = Some(held),
            }
        }
    }

    /// Looks at each message.
    fn sweep(&mut self, now: Instant) {
        let bounds = self.bounds;
        let mut earliest_deadline = None;
        let mut useless = |held: &Held<M>| {
            let useless = bounds.drop_reason(held, now).is_some();
            if !useless {
                earliest_deadline = earlier(earliest_deadline, bounds.until(held));
            }
            useless
        };
        let mut taken = self.store.take_if(&mut useless);
        for held in &taken {
            self.bytes -= held.bytes;
        }
        taken.extend(self.waiting_for_room.take_if(|held| useless(held)));
        self.earliest_deadline = earliest_deadline;
        for held in taken {
            // A ticket that is void stays so, and no time runs back.
            let reason = bounds.drop_reason(&held, now).unwrap_or(DropReason::Expired);
            self.give_back(held, reason);
        }
        self.admit_waiting();
    }

    fn give_back_front(&mut self, reason: DropReason) {
        if let Some(held) = self.take_front() {
            self.give_back(held, reason);
        }
    }

    fn give_back_what_the_store_gave_up(&mut self) {
        while let Some((held, reason)) = self.store.given_up() {
            self.bytes -= held.bytes;
            self.give_back(held, reason);
            self.admit_waiting();
            self.report();
        }
    }

    fn give_back(&mut self, held: Held<M>, reason: DropReason) {
        self.hub.count(&reason);
        self.given_back_bytes += held.bytes;
        self.given_back.push_back((held, reason));
    }

    fn report(&self) {
        let (waiting, bytes) = self.waiting_for_room.as_ref().map_or((0, 0), |held| (1, held.bytes));
        let oldest = self.store.front().map(|front| front.since);
        self.hub.hold(self.store.len() + waiting, self.bytes + bytes, oldest);
    }
}

impl<M, S> Buffer<M, S> {
    pub(crate) fn handle(&self) -> Handle {
        Handle(self.hub.shared())
    }
}

impl<M, S> Drop for Buffer<M, S> {
    fn drop(&mut self) {
        // Whatever it held has gone with it.
        self.hub.hold(0, 0, None);
    }
}

/// The earlier of two moments, where `None` is never.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, none) => one.or(none),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower_ws_core::Ticket;

    use std::task::Waker;

    use super::*;

    fn leave<M>(buffer: &mut Buffer<M, VecDeque<Held<M>>>) -> Option<Outgoing<M>> {
        match buffer.poll_leave(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => item,
            Poll::Pending => unreachable!("memory does not wait"),
        }
    }
    use crate::{
        handle::Handle,
        store::{MakeStore, MemoryStore},
    };

    #[derive(Clone, Debug)]
    enum Op {
        Push {
            bytes: usize,
            deadline: Option<u64>,
            cancelled: bool,
        },
        Pop,
        Tell,
        Expire,
        MakeRoom,
        Wait(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let push = (0..60usize, prop::option::of(0..30u64), prop::bool::weighted(0.1));
        let op = prop_oneof![
            6 => push.prop_map(|(bytes, deadline, cancelled)| Op::Push { bytes, deadline, cancelled }),
            3 => Just(Op::Pop),
            2 => Just(Op::Tell),
            1 => Just(Op::Expire),
            1 => Just(Op::MakeRoom),
            1 => (0..20u64).prop_map(Op::Wait),
        ];
        prop::collection::vec(op, 0..200)
    }

    proptest! {
        #[test]
        fn bounded_in_order_and_nothing_is_lost(
            ops in ops(),
            overflow in prop::sample::select(vec![Overflow::Wait, Overflow::Refuse, Overflow::DropOldest]),
        ) {
            let bounds = Bounds { messages: 5, bytes: 100, age: Duration::from_secs(10), overflow };
            let hub = tower_ws_core::Shared::new(Hub::new());
            let mut buffer = Buffer::new(bounds, MemoryStore.make_store(), Lease::of(Some(&hub), Hub::new));
            let (mut now, mut pushed, mut told) = (Instant::now(), 0u64, 0);
            let mut popped = Vec::new();
            for op in ops {
                match op {
                    Op::Push { bytes, deadline, cancelled } => {
                        if !buffer.has_room() {
                            continue;
                        }
                        let ticket = Ticket::new();
                        if cancelled {
                            let _ = ticket.cancel();
                        }
                        let mut item = Outgoing::new(pushed).ticket(ticket);
                        item.deadline = deadline.map(|after| now + Duration::from_secs(after));
                        buffer.push(item, bytes, now);
                        pushed += 1;
                    }
                    Op::Pop if buffer.has_next(now) => {
                        let item = leave(&mut buffer).expect("it has one");
                        prop_assert!(item.drop_reason(now).is_none());
                        popped.push(item.message);
                    }
                    Op::Pop => prop_assert!(buffer.is_empty()),
                    Op::Tell => told += u64::from(buffer.next_given_back().is_some()),
                    Op::Expire => {
                        buffer.expire(now);
                        prop_assert!(buffer.next_expiry().is_none_or(|next| next > now));
                    }
                    Op::MakeRoom => buffer.make_room(now),
                    Op::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                prop_assert!(buffer.store.len() <= 5);
                prop_assert!(buffer.bytes <= 100 || buffer.store.len() == 1);
                prop_assert!(!buffer.is_empty() || buffer.waiting_for_room.is_none());
                prop_assert_eq!(buffer.bytes, buffer.store.iter().map(|held| held.bytes).sum::<usize>());
                prop_assert_eq!(buffer.given_back_bytes, buffer.given_back.iter().map(|(held, _)| held.bytes).sum::<usize>());
                let held = (buffer.store.len() + usize::from(buffer.waiting_for_room.is_some())) as u64;
                prop_assert_eq!(Handle(hub.clone()).snapshot().depth, held);
                prop_assert_eq!(pushed, popped.len() as u64 + told + buffer.given_back.len() as u64 + held);
            }
            prop_assert!(popped.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn what_a_store_brings_along_goes_out_first() {
        let now = Instant::now();
        let mut store: VecDeque<Held<&str>> = MemoryStore.make_store();
        store.push_back(Held::new(Outgoing::new("old").deadline(now), 3, now));
        store.push_back(Held::new(Outgoing::new("older"), 5, now));
        let bounds = Bounds {
            messages: 9,
            bytes: 100,
            age: Duration::MAX,
            overflow: Overflow::Refuse,
        };
        let mut buffer = Buffer::new(bounds, store, Lease::of(None, Hub::new));
        assert_eq!((buffer.bytes, buffer.next_expiry()), (8, Some(now)));
        buffer.push(Outgoing::new("new"), 3, now);
        buffer.expire(now);
        assert_eq!(leave(&mut buffer).map(|item| item.message), Some("older"));
        assert_eq!(leave(&mut buffer).map(|item| item.message), Some("new"));
        assert!(matches!(buffer.next_given_back(), Some((_, DropReason::Expired))));
    }

    fn buffer(overflow: Overflow) -> Buffer<u64, VecDeque<Held<u64>>> {
        let bounds = Bounds {
            messages: 5,
            bytes: 100,
            age: Duration::from_secs(10),
            overflow,
        };
        Buffer::new(bounds, MemoryStore.make_store(), Lease::of(None, Hub::new))
    }

    #[test]
    fn one_message_waits_at_the_door_until_there_is_room() {
        let (mut buffer, now) = (buffer(Overflow::Wait), Instant::now());
        buffer.push(Outgoing::new(1), 80, now);
        assert!(!buffer.has_waiting() && buffer.has_room());
        buffer.push(Outgoing::new(2), 80, now);
        assert!(buffer.has_waiting() && !buffer.has_room());
        assert_eq!(leave(&mut buffer).unwrap().message, 1);
        assert!(!buffer.has_waiting());
        assert_eq!(leave(&mut buffer).unwrap().message, 2);
    }

    #[test]
    fn what_nobody_waits_for_makes_room_before_anybody_is_refused() {
        let (mut buffer, now) = (buffer(Overflow::Refuse), Instant::now());
        let ticket = Ticket::new();
        buffer.push(Outgoing::new(1).ticket(ticket.clone()), 80, now);
        let _ = ticket.cancel();
        buffer.push(Outgoing::new(2), 80, now);
        assert_eq!(leave(&mut buffer).unwrap().message, 2);
    }

    #[test]
    fn what_was_for_one_connection_leaves_its_room_with_it() {
        let (mut buffer, now) = (buffer(Overflow::Wait), Instant::now());
        buffer.push(Outgoing::new(1).epoch(7), 60, now);
        buffer.push(Outgoing::new(2), 30, now);
        buffer.give_up_bound();
        assert_eq!(buffer.bytes, 30);
        buffer.push(Outgoing::new(3), 70, now);
        assert!(!buffer.has_waiting(), "all of it fits");
        assert_eq!(
            (leave(&mut buffer).unwrap().message, leave(&mut buffer).unwrap().message),
            (2, 3)
        );
    }
}
