use std::time::Duration;

use tokio::time::Instant;

/// How often a full store is looked through for what is not worth its place any more.
///
/// Nobody tells a layer that a message which it holds was cancelled, so it has to look, and each
/// look costs the more the more there is. So a store of 16 is looked through whenever somebody asks
/// for room, one of 160 each tenth time, which is a constant cost for each; and after 100 ms in any
/// case, or a second for each 100,000 that are held, so that one who waits learns of room that has
/// come free.
#[derive(Debug, Default)]
pub struct Pace {
    asked: usize,
    next: Option<Instant>,
}

impl Pace {
    const AT_ONCE: usize = 16;
    const LEAST: Duration = Duration::from_millis(100);
    const FOR_EACH: Duration = Duration::from_micros(10);

    /// Somebody asks for room among `held` messages: may they be looked through?
    pub fn may_look(&mut self, now: Instant, held: usize) -> bool {
        self.asked += 1;
        let may = self.asked * Self::AT_ONCE >= held || self.next.is_some_and(|next| next <= now);
        if may || self.next.is_none() {
            let held = u32::try_from(held).unwrap_or(u32::MAX);
            self.next = Some(now + Self::LEAST.max(Self::FOR_EACH * held));
        }
        if may {
            self.asked = 0;
        }
        may
    }

    /// When to look next for one who waits.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_costs_each_who_asks_the_same() {
        let now = Instant::now();
        for (held, looks) in [(10, 1_600), (160, 160), (16_000, 1)] {
            let mut pace = Pace::default();
            assert_eq!((0..1_600).filter(|_| pace.may_look(now, held)).count(), looks, "{held}");
        }
    }

    #[test]
    fn time_passes_for_one_who_waits() {
        let start = Instant::now();
        for (held, millis) in [(1_000, 100), (100_000, 1_000)] {
            let mut pace = Pace::default();
            assert!(!pace.may_look(start, held));
            assert_eq!(pace.next(), Some(start + Duration::from_millis(millis)));
            assert!(!pace.may_look(start, held));
            assert!(pace.may_look(start + Duration::from_millis(millis), held));
        }
    }
}
