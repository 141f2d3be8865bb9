//! Who may pass when: a line in which each knows the moment of its turn. No I/O: time is passed in.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    meter::{GRACE, Meter},
    quota::Quota,
};

/// A count, bytes or both, and a pause.
///
/// A turn is booked when somebody comes, behind all who came before. So nobody has to be woken by
/// another: whoever sleeps, dies or is not polled holds up nobody, and a thousand who wait do not
/// wake at once to find one place.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    count: Option<Meter>,
    bytes: Option<Meter>,
    /// Turns that were given back, and how many at each moment. Each is worth one.
    returned: BTreeMap<Instant, u32>,
    paused_until: Option<Instant>,
}

/// It can never pass: it is more than this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLarge(pub(crate) u64);

/// What to do about a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// Wait until then.
    At(Instant),
    Now,
    /// It is over, or there is a pause: book another.
    Missed,
}

impl Schedule {
    pub(crate) fn new(count: Option<Quota>, bytes: Option<Quota>, now: Instant) -> Self {
        Self {
            count: count.map(|quota| Meter::new(quota, now)),
            bytes: bytes.map(|quota| Meter::new(quota, now)),
            returned: BTreeMap::new(),
            paused_until: None,
        }
    }

    /// When one of this size may pass who comes now.
    pub(crate) fn earliest(&self, now: Instant, bytes: u64) -> Result<Instant, TooLarge> {
        let mut at = now.max(self.paused_until.unwrap_or(now));
        if let Some(meter) = &self.bytes {
            if bytes > meter.limit() {
                return Err(TooLarge(meter.limit()));
            }
            at = at.max(meter.earliest(at, bytes));
        }
        if let Some(meter) = &self.count {
            let returned = self.returned.range(at..).next().map(|(at, _)| *at);
            let next = meter.earliest(at, 1);
            at = returned.map_or(next, |returned| returned.min(next));
        }
        Ok(at)
    }

    /// Books a turn: when.
    pub(crate) fn book(&mut self, now: Instant, bytes: u64) -> Result<Instant, TooLarge> {
        let at = self.earliest(now, bytes)?;
        // Rarely is there one: nearly everybody keeps the turn that he has.
        if !self.returned.is_empty() {
            self.returned = self.returned.split_off(&now);
            if let Some(places) = self.returned.get_mut(&at) {
                *places -= 1;
                if *places == 0 {
                    self.returned.remove(&at);
                }
                return Ok(at);
            }
        }
        if let Some(meter) = &mut self.bytes {
            meter.take(now, at, bytes);
        }
        if let Some(meter) = &mut self.count {
            meter.take(now, at, 1);
        }
        Ok(at)
    }

    /// Books a turn in place of one that was missed.
    pub(crate) fn book_again(&mut self, now: Instant, missed: Instant, bytes: u64) -> Result<Instant, TooLarge> {
        if let Some(meter) = &mut self.count {
            meter.untake(missed, 1);
        }
        if let Some(meter) = &mut self.bytes {
            meter.untake(missed, bytes);
        }
        self.book(now, bytes)
    }

    /// Gives a turn back that has not come. One who comes later may have it; those who wait keep
    /// theirs. Where bytes count, it is lost: what comes later has another size.
    pub(crate) fn give_back(&mut self, now: Instant, at: Instant) {
        if at > now && self.bytes.is_none() && self.count.is_some() {
            *self.returned.entry(at).or_default() += 1;
        }
    }

    pub(crate) fn turn(&self, now: Instant, at: Instant) -> Turn {
        let paused = self.paused_until.is_some_and(|until| at < until);
        if at > now && !paused {
            return Turn::At(at);
        }
        match now > at + self.grace() || paused {
            true => Turn::Missed,
            false => Turn::Now,
        }
    }

    /// Nobody passes for so long. True if a pause begins with it; one that goes on may become
    /// longer, never shorter.
    pub(crate) fn pause(&mut self, now: Instant, length: Duration) -> bool {
        let begins = self.paused_until(now).is_none() && length > Duration::ZERO;
        self.paused_until = self.paused_until.max(Some(now + length));
        begins
    }

    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Nobody would notice if this were a new one.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let idle = |meter: &Option<Meter>| meter.as_ref().is_none_or(|meter| meter.is_idle(now));
        idle(&self.count) && idle(&self.bytes) && self.paused_until(now).is_none()
    }

    fn grace(&self) -> Duration {
        let meters = [&self.count, &self.bytes];
        meters.into_iter().flatten().map(Meter::grace).min().unwrap_or(GRACE)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn messages_and_bytes_hold_both() {
        let now = Instant::now();
        let (count, bytes) = (Quota::per_second(n(10)), Quota::per_second(n(1_000)));
        let mut schedule = Schedule::new(Some(count), Some(bytes), now);
        assert_eq!(schedule.book(now, 1_000), Ok(now));
        assert_eq!(schedule.book(now, 500), Ok(now + SECOND / 2));
        // The count has had half a second to recover, which the burst does not exceed.
        assert_eq!(schedule.book(now, 0), Ok(now + SECOND / 2 + SECOND / 1_000));
    }

    #[test]
    fn a_turn_given_back_goes_to_the_next_who_comes() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Some(Quota::per_second(n(1))), None, now);
        let turns: Vec<_> = (0..4).map(|_| schedule.book(now, 0).unwrap()).collect();
        schedule.give_back(now, turns[2]);
        assert_eq!(schedule.book(now, 0), Ok(turns[2]));
        assert_eq!(schedule.book(now, 0), Ok(now + SECOND * 4));
        // One that has passed is worth nothing.
        schedule.give_back(now + SECOND * 2, turns[1]);
        assert_eq!(schedule.book(now + SECOND * 2, 0), Ok(now + SECOND * 5));
    }

    #[test]
    fn a_pause_puts_off_those_who_wait_and_those_who_come() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Some(Quota::per_second(n(1))), None, now);
        let first = schedule.book(now, 0).unwrap();
        assert_eq!(schedule.turn(now, first), Turn::Now);
        assert!(schedule.pause(now, SECOND * 50));
        assert!(!schedule.pause(now, SECOND * 60), "it goes on");
        assert!(!schedule.pause(now, SECOND * 30), "the longer one holds");
        assert_eq!(schedule.turn(now, first), Turn::Missed);
        let booked: Vec<_> = (0..3).map(|_| schedule.book(now, 0).unwrap() - now).collect();
        assert_eq!(booked, [60, 61, 62].map(|s| SECOND * s));
        assert_eq!(schedule.turn(now + SECOND * 60, now + SECOND * 60), Turn::Now);
    }

    #[test]
    fn one_who_is_always_late_passes_all_the_same() {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(Some(Quota::strict(n(1), SECOND).unwrap()), None, now);
        schedule.book(now, 0).unwrap();
        let turn = schedule.book(now, 0).unwrap();
        now = turn + SECOND / 2;
        assert_eq!(schedule.turn(now, turn), Turn::Missed);
        assert_eq!(schedule.book_again(now, turn, 0), Ok(now));
    }

    #[test]
    fn what_a_strict_window_can_never_pass_is_refused() {
        let now = Instant::now();
        let bytes = Quota::strict(n(100), SECOND).unwrap();
        let mut schedule = Schedule::new(None, Some(bytes), now);
        assert_eq!(schedule.book(now, 101), Err(TooLarge(100)));
        assert_eq!(schedule.book(now, 100), Ok(now));
    }

    proptest! {
        /// Turns are taken, missed, given back, in any order, with pauses: the window holds.
        #[test]
        fn whatever_becomes_of_turns_no_window_has_more(
            most in 1u32..8,
            steps in prop::collection::vec((0u64..600, 0u8..12), 1..200),
        ) {
            let start = Instant::now();
            let mut schedule = Schedule::new(Some(Quota::strict(n(most), SECOND).unwrap()), None, start);
            let (mut now, mut used, mut waiting) = (start, Vec::new(), Vec::new());
            for (gap, what) in steps {
                now += Duration::from_millis(gap);
                match what {
                    0 => drop(schedule.pause(now, Duration::from_millis(gap))),
                    1..3 if !waiting.is_empty() => {
                        let at = waiting.swap_remove(usize::from(what) % waiting.len());
                        schedule.give_back(now, at);
                    }
                    3..6 => {}
                    _ => waiting.push(schedule.book(now, 0).unwrap()),
                }
                let before = std::mem::take(&mut waiting);
                for at in before {
                    match schedule.turn(now, at) {
                        Turn::At(_) => waiting.push(at),
                        Turn::Now => used.push(now),
                        Turn::Missed => waiting.push(schedule.book_again(now, at, 0).unwrap()),
                    }
                }
            }
            let many = most as usize + 1;
            prop_assert!(used.windows(many).all(|some| some[many - 1] - some[0] >= SECOND), "{used:?}");
        }
    }
}
