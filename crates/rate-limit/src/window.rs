//! The strict sliding window: at most so much in any window. No I/O: time is passed in.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// What has passed or will, in order, as long as it counts.
#[derive(Debug)]
pub(crate) struct Window {
    most: u64,
    /// With what a task may be late.
    length: Duration,
    taken: VecDeque<Entry>,
    sum: u64,
}

#[derive(Debug)]
struct Entry {
    first: Instant,
    last: Instant,
    cost: u64,
}

/// So many entries are kept exactly. Beyond that, neighbours within a thousandth of the window are
/// counted together, at the last one's time: so a window of four thousand million bytes costs 48
/// KiB, and is never too generous.
const EXACT: usize = 1024;

impl Window {
    pub(crate) fn new(most: NonZeroU32, length: Duration) -> Self {
        Self {
            most: u64::from(most.get()),
            length,
            taken: VecDeque::new(),
            sum: 0,
        }
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// The first moment from `now` on at which this much may pass. What is more than the window
    /// allows counts as all it allows.
    pub(crate) fn earliest(&self, now: Instant, cost: u64) -> Instant {
        let mut ahead = self.sum;
        let room = self.most - cost.min(self.most);
        // Nobody overtakes.
        let mut at = self.taken.back().map_or(now, |entry| now.max(entry.last));
        for entry in &self.taken {
            if ahead <= room {
                break;
            }
            ahead -= entry.cost;
            at = at.max(entry.last + self.length);
        }
        at
    }

    /// This much passes at this moment, which [`earliest`](Self::earliest) has allowed.
    pub(crate) fn take(&mut self, now: Instant, at: Instant, cost: u64) {
        self.forget(now);
        let cost = cost.min(self.most);
        self.sum += cost;
        let near = self.length / EXACT as u32;
        let full = self.taken.len() >= EXACT;
        match self.taken.back_mut() {
            Some(entry) if entry.first == at || full && at.saturating_duration_since(entry.first) < near => {
                entry.last = at;
                entry.cost += cost;
            }
            _ => self.taken.push_back(Entry {
                first: at,
                last: at,
                cost,
            }),
        }
    }

    /// What was booked for this moment has not passed and will not.
    pub(crate) fn untake(&mut self, at: Instant, cost: u64) {
        let mut entries = self.taken.iter_mut().rev();
        if let Some(entry) = entries.find(|entry| entry.first <= at && at <= entry.last) {
            let back = cost.min(self.most).min(entry.cost);
            entry.cost -= back;
            self.sum -= back;
        }
    }

    /// Nothing counts any more: no different from a new one.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.taken.back().is_none_or(|entry| entry.last + self.length <= now)
    }

    fn forget(&mut self, now: Instant) {
        while let Some(entry) = self.taken.front()
            && entry.last + self.length <= now
        {
            self.sum -= entry.cost;
            self.taken.pop_front();
        }
    }
}
