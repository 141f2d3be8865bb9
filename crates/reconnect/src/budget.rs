use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_core::later;

/// How many attempts the sessions of a process may begin in a time, all together. Clones share.
///
/// Jitter spreads a thousand clients that were dropped together over a second or two; that is still
/// a thousand dials. A budget spreads them as thin as the server, or the NAT on the way, can bear.
/// There is none unless one is [given](crate::ReconnectLayer::budget): what is right depends on the
/// server. Ten a second is a fair start.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use tower_ws_reconnect::{Budget, ReconnectLayer};
///
/// let ten = NonZeroU32::new(10).expect("is not zero");
/// let budget = Budget::new(ten, Duration::from_secs(1));
/// // Each client has a layer of its own, or a clone of one; the budget is the same.
/// let orders = ReconnectLayer::new().budget(budget.clone());
/// let prices = ReconnectLayer::new().budget(budget);
/// ```
///
/// # What it promises
///
/// - Time is cut into slots of `per / dials`, and each attempt takes one: the first that is free at
///   or after the time that it would begin without a budget. So in any window of `per` at most
///   `dials + 1` attempts begin, and however many dials were saved up, there is no burst. A session
///   that is read up to [250 ms](Self::GRACE) late still begins in its slot, so what falls into
///   that time may come on top; one that is read later gets another slot.
/// - An attempt that finds no free slot is put off, never refused: each session sleeps until its
///   own slot, nobody is woken in vain. With `n` sessions waiting, the wait is at most about `n`
///   slots longer than without a budget.
/// - It holds on every path: first dials, backoff, `Retry-After`, policies of your own,
///   [`Handle::reconnect_now`](crate::Handle::reconnect_now); and the
///   [spacing](crate::ReconnectLayer::min_spacing) of each session's own attempts holds besides.
/// - [`State::BackingOff`](crate::State::BackingOff), the transitions and the log tell the time of
///   the slot.
/// - A session that is dropped, closed or taken offline gives its slot back. Those who wait keep
///   theirs: nobody moves up.
///
/// # What it does not do
///
/// It counts where an attempt begins: a service that takes its time to become ready dials later.
/// What it adds to a delay is not part of [`History::last_delay`](crate::History::last_delay), and
/// a [`max_outage`](crate::Backoff::max_outage) does not foresee it. It knows nothing of other
/// processes.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<Slots>>);

impl Budget {
    /// How late a session may come for its slot: 250 ms, more than a busy runtime is late as a
    /// rule.
    pub const GRACE: Duration = Duration::from_millis(250);

    /// At most `dials` attempts `per` this time. If `per` is zero there is no limit.
    pub fn new(dials: NonZeroU32, per: Duration) -> Self {
        Self(Arc::new(Mutex::new(Slots::new(dials, per))))
    }

    /// Takes the first free slot at or after `wanted`, once the one held is free again.
    pub(crate) fn book(&self, now: Instant, wanted: Instant, instead_of: Option<Booking>) -> Booking {
        let mut slots = self.lock();
        if let Some(mut old) = instead_of
            && let Some(slot) = old.slot.take()
        {
            slots.release(slot);
        }
        let (slot, at) = slots.book(now, wanted);
        drop(slots);
        Booking {
            budget: self.clone(),
            slot: Some(slot),
            at,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that is held for one attempt. Dropped before the attempt begins, it is free again.
#[derive(Debug)]
pub(crate) struct Booking {
    budget: Budget,
    slot: Option<u128>,
    at: Instant,
}

impl Booking {
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// True if it is too late to begin.
    pub(crate) fn is_missed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > Budget::GRACE
    }

    /// The attempt begins.
    pub(crate) fn spend(mut self) {
        self.slot = None;
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.budget.lock().release(slot);
        }
    }
}

/// Which slots are taken. No I/O: time is passed in.
#[derive(Debug)]
struct Slots {
    /// The length of one, in nanoseconds.
    length: u128,
    /// When the first began.
    origin: Option<Instant>,
    /// Runs of slots that are taken: the first of each, and the first after it. They neither touch
    /// nor overlap.
    taken: BTreeMap<u128, u128>,
}

impl Slots {
    fn new(dials: NonZeroU32, per: Duration) -> Self {
        Self {
            length: per.as_nanos().div_ceil(u128::from(dials.get())).max(1),
            origin: None,
            taken: BTreeMap::new(),
        }
    }

    /// Takes a slot: which, and when the attempt may begin in it.
    fn book(&mut self, now: Instant, wanted: Instant) -> (u128, Instant) {
        let origin = *self.origin.get_or_insert(now);
        let wanted = wanted.max(now);
        let slot_of = |at: Instant| at.saturating_duration_since(origin).as_nanos() / self.length;
        let (present, mut slot) = (slot_of(now), slot_of(wanted));
        while let Some(past) = self.taken.first_entry()
            && *past.get() <= present
        {
            past.remove();
        }

        let mut first = slot;
        if let Some((&start, &end)) = self.taken.range(..=slot).next_back()
            && end >= slot
        {
            (first, slot) = (start, end);
        }
        let end = self.taken.remove(&(slot + 1)).unwrap_or(slot + 1);
        self.taken.insert(first, end);
        (slot, wanted.max(start_of(origin, slot, self.length)))
    }

    fn release(&mut self, slot: u128) {
        let Some((&start, &end)) = self.taken.range(..=slot).next_back() else {
            return; // It has passed.
        };
        if end <= slot {
            return;
        }
        self.taken.remove(&start);
        if start < slot {
            self.taken.insert(start, slot);
        }
        if slot + 1 < end {
            self.taken.insert(slot + 1, end);
        }
    }
}

/// Where that cannot be told, a year from the origin.
fn start_of(origin: Instant, slot: u128, length: u128) -> Instant {
    const SECOND: u128 = 1_000_000_000;
    let nanos = slot.saturating_mul(length);
    u64::try_from(nanos / SECOND)
        .ok()
        .and_then(|seconds| origin.checked_add(Duration::new(seconds, (nanos % SECOND) as u32)))
        .unwrap_or_else(|| later(origin, Duration::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn budget(dials: u32, per: Duration) -> Budget {
        Budget::new(NonZeroU32::new(dials).unwrap(), per)
    }

    #[test]
    fn a_stampede_stands_in_line() {
        let (now, budget) = (Instant::now(), budget(10, SECOND));
        let line: Vec<_> = (0..1_000).map(|_| budget.book(now, now, None)).collect();
        for (n, booking) in line.iter().enumerate() {
            assert_eq!(booking.at() - now, SECOND * n as u32 / 10);
        }
        assert_eq!(budget.lock().taken.len(), 1);
    }

    #[test]
    fn who_comes_alone_does_not_wait() {
        let (start, budget) = (Instant::now(), budget(1, SECOND * 60));
        for minutes in 0..10 {
            let now = start + SECOND * 61 * minutes;
            let booking = budget.book(now, now, None);
            assert_eq!(booking.at(), now);
            booking.spend();
        }
    }

    #[test]
    fn who_waits_for_long_is_in_nobodys_way() {
        let (now, budget) = (Instant::now(), budget(1, SECOND));
        let patient = budget.book(now, now + SECOND * 30, None);
        assert_eq!(patient.at(), now + SECOND * 30);
        assert_eq!(budget.book(now, now, None).at(), now);
    }

    #[test]
    fn a_slot_given_up_is_free_again_and_one_spent_is_not() {
        let (now, budget) = (Instant::now(), budget(1, SECOND));
        let first = budget.book(now, now, None);
        let second = budget.book(now, now, None);
        drop(budget.book(now, now, None));
        assert_eq!(budget.book(now, now, Some(second)).at(), now + SECOND);
        first.spend();
        assert_eq!(budget.book(now, now, None).at(), now + SECOND);
    }

    #[test]
    fn the_absurd_does_not_panic() {
        for per in [Duration::ZERO, Duration::MAX] {
            for dials in [1, u32::MAX] {
                let (now, budget) = (Instant::now(), budget(dials, per));
                let held: Vec<_> = (0..10)
                    .map(|_| budget.book(now, later(now, Duration::MAX), None))
                    .collect();
                assert!(held.iter().all(|booking| booking.at() >= now));
            }
        }
        let (now, budget) = (Instant::now() + SECOND, budget(1, SECOND));
        budget.book(now, now, None).spend();
        assert!(budget.book(now - SECOND, now - SECOND, None).at() <= now + SECOND);
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_share(
            dials in 1u32..20, per in 1u64..5_000,
            steps in prop::collection::vec((0u64..300, 0u64..3_000, 0u8..4), 1..200),
        ) {
            let (per, start) = (Duration::from_millis(per), Instant::now());
            let budget = budget(dials, per);
            let (mut now, mut begun, mut waiting) = (start, Vec::new(), Vec::<Booking>::new());
            for (gap, delay, what) in steps {
                now += Duration::from_millis(gap);
                waiting = waiting.into_iter().filter_map(|booking| match booking.at() <= now {
                    true => { begun.push(booking.at()); booking.spend(); None }
                    false => Some(booking),
                }).collect();
                let wanted = now + Duration::from_millis(delay);
                let old = match what {
                    0 if !waiting.is_empty() => { drop(waiting.swap_remove(0)); continue }
                    1 => waiting.pop(),
                    _ => None,
                };
                let booking = budget.book(now, wanted, old);
                prop_assert!(booking.at() >= wanted);
                // Whoever else waits takes one slot; those that began before take the present one.
                let most = (per / dials + Duration::from_nanos(1)) * (waiting.len() as u32 + 2);
                prop_assert!(booking.at() <= wanted + most, "{:?}", booking.at() - wanted);
                waiting.push(booking);
                let runs: Vec<_> = budget.lock().taken.iter().map(|(&start, &end)| (start, end)).collect();
                prop_assert!(runs.iter().all(|(start, end)| start < end));
                prop_assert!(runs.windows(2).all(|two| two[0].1 < two[1].0));
            }
            begun.extend(waiting.iter().map(Booking::at));
            begun.sort();
            let too_many = dials as usize + 2;
            prop_assert!(begun.windows(too_many).all(|many| many[too_many - 1] - many[0] >= per));
        }
    }
}
