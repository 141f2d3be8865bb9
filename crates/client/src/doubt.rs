use tokio::time::Instant;
use tower_ws_core::Suspicion;

/// Notices a peer that answers nothing. No I/O, no clock of its own.
///
/// It is one connection's: calls ran to their limits in a row, and nothing has been answered since
/// the first of them was made.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// `None`: there is no layer below that would hear of it.
    suspicion: Option<Suspicion>,
    /// When the last answer came in, whoever waited for it.
    answered: Instant,
    /// Calls that were made since and have run to their limits.
    timed_out: u32,
    /// When the first of them was made.
    since: Option<Instant>,
    /// When there were enough of them.
    ripe: Option<Instant>,
    raised: bool,
}

impl Doubt {
    /// How many calls in a row: one may have been slow by itself.
    const CALLS: u32 = 2;

    pub(crate) fn new(suspicion: Option<Suspicion>, up: Instant) -> Self {
        Self {
            suspicion,
            answered: up,
            timed_out: 0,
            since: None,
            ripe: None,
            raised: false,
        }
    }

    /// An answer came in, not before this moment.
    pub(crate) fn answered(&mut self, at: Instant) {
        self.answered = at;
        if self.timed_out > 0 || self.raised {
            let suspicion = self.suspicion.take();
            if let (Some(suspicion), true) = (&suspicion, self.raised) {
                suspicion.withdraw();
            }
            *self = Self::new(suspicion, at);
        }
    }

    /// What a layer below has heard of is as good as an answer.
    fn look_for_progress(&mut self) {
        let progress = self.suspicion.as_ref().and_then(Suspicion::last_progress);
        if let Some(at) = progress.filter(|at| *at > self.answered) {
            self.answered(at);
        }
    }

    /// A call that the peer may have seen ran to its limit.
    pub(crate) fn timed_out(&mut self, made: Instant, now: Instant) {
        self.look_for_progress();
        if made < self.answered {
            return;
        }
        self.timed_out += 1;
        self.since = Some(self.since.map_or(made, |since| since.min(made)));
        if self.timed_out >= Self::CALLS {
            self.ripe.get_or_insert(now);
        }
    }

    /// Whether it is time to [say so](Self::raise), but for other calls.
    pub(crate) fn is_ripe(&self) -> bool {
        self.ripe.is_some() && self.suspicion.is_some()
    }

    /// Says so. Not while a call is within its limit that was made before there were enough others:
    /// the peer may be at work on it. `oldest`: when the oldest of those that may still be answered
    /// was made.
    pub(crate) fn raise(&mut self, oldest: Option<Instant>) {
        self.look_for_progress();
        let (Some(suspicion), Some(since), Some(ripe)) = (&self.suspicion, self.since, self.ripe) else {
            return;
        };
        if oldest.is_none_or(|made| made > ripe) {
            suspicion.raise(since);
            self.raised = true;
            // If the peer is found to hear, it takes as many again.
            self.timed_out = 0;
            self.ripe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Waker},
        time::Duration,
    };

    use super::*;

    struct World {
        doubt: Doubt,
        suspicion: Suspicion,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            let (suspicion, start) = (Suspicion::new(), Instant::now());
            Self {
                doubt: Doubt::new(Some(suspicion.clone()), start),
                suspicion,
                start,
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn timed_out(&mut self, made: u64, now: u64) {
            let (made, now) = (self.at(made), self.at(now));
            self.doubt.timed_out(made, now);
        }

        /// What is held against the peer, with the oldest open call made then.
        fn raised(&mut self, oldest: Option<u64>) -> Option<Instant> {
            let oldest = oldest.map(|second| self.at(second));
            if self.doubt.is_ripe() {
                self.doubt.raise(oldest);
            }
            self.suspicion.look(&Context::from_waker(Waker::noop()))
        }
    }

    #[test]
    fn two_calls_in_a_row_and_not_one() {
        let mut world = World::new();
        world.timed_out(1, 31);
        assert_eq!(world.raised(None), None);
        world.timed_out(31, 61);
        assert_eq!(world.raised(None), Some(world.at(1)));
    }

    #[test]
    fn an_answer_in_between_begins_anew() {
        let mut world = World::new();
        world.timed_out(1, 31);
        world.doubt.answered(world.at(40));
        world.timed_out(31, 61);
        world.timed_out(41, 71);
        assert_eq!(world.raised(None), None, "the first was made before the answer");
        world.timed_out(61, 91);
        assert_eq!(world.raised(None), Some(world.at(41)));
        world.doubt.answered(world.at(95));
        assert_eq!(world.raised(None), None, "withdrawn");
    }

    #[test]
    fn progress_is_as_good_as_an_answer() {
        let mut world = World::new();
        world.timed_out(1, 31);
        world.suspicion.progress(world.at(35));
        world.timed_out(31, 61);
        world.timed_out(41, 71);
        assert_eq!(world.raised(None), None, "the first two were made before it");
        world.timed_out(61, 91);
        assert_eq!(world.raised(None), Some(world.at(41)));
        world.suspicion.progress(world.at(95));
        assert_eq!(world.raised(None), None, "withdrawn");
    }

    #[test]
    fn not_while_the_peer_may_be_at_work() {
        let mut world = World::new();
        world.timed_out(1, 31);
        world.timed_out(2, 32);
        assert_eq!(world.raised(Some(30)), None, "made before");
        assert_eq!(
            world.raised(Some(33)),
            Some(world.at(1)),
            "made when it was in doubt already"
        );
    }
}
