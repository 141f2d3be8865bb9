//! When to ask, and when to give up. No I/O, no clock, no timer: time is passed in.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How much more wall time than monotonic time between two looks means that the machine slept, and
/// how late a look may be before it says more about this side than about the peer: 5 s. Longer than
/// a busy process stalls and a clock is slewed, shorter than anything worth calling a suspend.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

/// Judges one connection by its silence.
#[derive(Debug)]
pub(crate) struct Pulse {
    rhythm: Rhythm,
    /// When something last came in, as far as we know.
    life: Instant,
    /// How long a silence lasts until the next probe; drawn anew for each.
    wait: Duration,
    /// When the outstanding probe was due; `None`: none is outstanding.
    probe_due: Option<Instant>,
    /// A late look has been forgiven in this silence.
    forgiven: bool,
    /// The machine was suspended: a probe is due now, whatever the interval says.
    probe_now: bool,
    looked: (Instant, SystemTime),
}

/// How often to ask.
#[derive(Debug)]
pub(crate) struct Rhythm {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// By how much of itself the interval may be shortened, from 0 to 1.
    pub(crate) jitter: f64,
    pub(crate) rng: fastrand::Rng,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// Nothing before this time.
    Wait(Instant),
    /// Ask the peer.
    Probe,
    /// The time is up, since this moment. If a read now finds nothing, the peer is dead.
    Judge(Instant),
}

impl Pulse {
    pub(crate) fn new(mut rhythm: Rhythm, now: Instant, wall: SystemTime) -> Self {
        Self {
            wait: rhythm.wait(),
            rhythm,
            life: now,
            probe_due: None,
            forgiven: false,
            probe_now: false,
            looked: (now, wall),
        }
    }

    /// A look, after everything that there was to read has been read: did anything come in since
    /// the last one?
    pub(crate) fn look(&mut self, now: Instant, wall: SystemTime, heard: bool) {
        if heard {
            self.life = now;
            self.probe_due = None;
            self.forgiven = false;
        }
        let (then, wall_then) = std::mem::replace(&mut self.looked, (now, wall));
        // A clock that was set back is no suspend.
        let passed = wall.duration_since(wall_then).unwrap_or_default();
        self.probe_now |= passed > now.saturating_duration_since(then) + SLACK;
    }

    /// What is to be done now. [`Act::Probe`] is said once for each question.
    pub(crate) fn act(&mut self, now: Instant) -> Act {
        if self.probe_now {
            return self.ask(now);
        }
        match self.probe_due {
            None => match self.life + self.wait {
                due if now < due => Act::Wait(due),
                // Nobody looked when it was due: it is asked now, and has its full time.
                due if now > due + SLACK => self.ask(now),
                due => self.ask(due),
            },
            Some(due) => match due + self.rhythm.timeout {
                deadline if now < deadline => Act::Wait(deadline),
                // Once: a reader who is always late would otherwise never judge.
                deadline if now > deadline + SLACK && !self.forgiven => {
                    self.forgiven = true;
                    self.ask(now)
                }
                deadline => Act::Judge(deadline),
            },
        }
    }

    /// A question that was due at this moment begins.
    fn ask(&mut self, due: Instant) -> Act {
        self.probe_now = false;
        self.probe_due = Some(due);
        self.wait = self.rhythm.wait();
        Act::Probe
    }

    /// Somebody asks out of turn. The peer's time runs from the first question of a silence.
    pub(crate) fn asked_out_of_turn(&mut self, now: Instant) {
        self.probe_due.get_or_insert(now);
    }

    /// How long nothing has come in, and how long ago the question was due.
    pub(crate) fn silence(&self, now: Instant) -> (Duration, Duration) {
        let since = |then| now.saturating_duration_since(then);
        (since(self.life), self.probe_due.map_or(Duration::ZERO, since))
    }
}

impl Rhythm {
    fn wait(&mut self) -> Duration {
        let share = self.jitter * self.rng.f64();
        self.interval.saturating_sub(self.interval.mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(20);
    const TIMEOUT: Duration = Duration::from_secs(20);

    struct World {
        pulse: Pulse,
        start: Instant,
        wall: SystemTime,
        now: Instant,
    }

    impl World {
        fn new(jitter: f64, seed: u64) -> Self {
            let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
            let rhythm = Rhythm {
                interval: INTERVAL,
                timeout: TIMEOUT,
                jitter,
                rng: fastrand::Rng::with_seed(seed),
            };
            Self {
                pulse: Pulse::new(rhythm, start, wall),
                start,
                wall,
                now: start,
            }
        }

        /// So much later: a look, and what it says.
        fn after(&mut self, passed: Duration, heard: bool) -> Act {
            self.now += passed;
            self.wall += passed;
            self.pulse.look(self.now, self.wall, heard);
            self.pulse.act(self.now)
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_questioned_then_judged() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(5), false), Act::Wait(world.at(20)));
        assert_eq!(world.after(secs(15), false), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(40)));
        assert_eq!(world.after(secs(20), false), Act::Judge(world.at(40)));
    }

    #[test]
    fn the_time_to_answer_runs_from_when_the_question_was_due() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(23), false), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(40)));
    }

    #[test]
    fn after_a_pause_of_this_side_the_peer_has_its_full_time() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(300), false), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(320)));
        assert_eq!(world.after(secs(600), false), Act::Probe, "a late look is forgiven");
        assert_eq!(
            world.after(secs(600), false),
            Act::Judge(world.at(920)),
            "but not for ever"
        );
    }

    #[test]
    fn a_suspend_is_a_question_not_a_verdict() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(1), true), Act::Wait(world.at(21)));
        world.wall += secs(3600);
        assert_eq!(world.after(secs(1), false), Act::Probe);
        assert_eq!(world.after(secs(1), false), Act::Wait(world.at(22)));
        world.wall += secs(3600);
        assert_eq!(
            world.after(secs(30), false),
            Act::Probe,
            "in the middle of a question too"
        );
        world.wall -= secs(7200);
        assert_eq!(world.after(secs(1), false), Act::Wait(world.at(53)), "set back");
    }

    proptest! {
        #[test]
        fn jitter_only_shortens(jitter in 0.0..=1.0_f64, seed: u64) {
            let mut world = World::new(jitter, seed);
            let Act::Wait(until) = world.after(secs(0), true) else { return Err(TestCaseError::fail("too early")) };
            let wait = until - world.now;
            prop_assert!(wait <= INTERVAL);
            prop_assert!(wait.as_secs_f64() >= INTERVAL.as_secs_f64() * (1.0 - jitter) - 0.001);
        }

        /// Whatever comes in and whenever somebody looks: nobody is judged who was heard within the
        /// timeout, or who was not asked first. And silence that is looked at comes to its end.
        #[test]
        fn verdicts_are_right_and_in_time(
            steps in prop::collection::vec((0..12_000_u64, prop::bool::weighted(0.1), prop::bool::weighted(0.02)), 0..200),
            jitter in 0.0..=1.0_f64,
            seed: u64,
        ) {
            let mut world = World::new(jitter, seed);
            let (mut heard_at, mut asked) = (world.now, false);
            let (mut longest, mut pauses) = (Duration::ZERO, Duration::ZERO);
            for (passed, heard, pause) in steps {
                let passed = Duration::from_millis(if pause { passed * 20 } else { passed });
                let act = world.after(passed, heard);
                if heard {
                    (heard_at, asked) = (world.now, false);
                    (longest, pauses) = (Duration::ZERO, Duration::ZERO);
                } else {
                    longest = longest.max(passed);
                    // A look that was late may have given the peer its time anew.
                    pauses += if passed > SLACK { passed + TIMEOUT } else { Duration::ZERO };
                }
                let silent = world.now - heard_at;
                match act {
                    Act::Probe => asked = true,
                    Act::Judge(_) => {
                        prop_assert!(silent >= TIMEOUT && asked, "judged after {silent:?}, asked: {asked}");
                        (heard_at, asked) = (world.now, false);
                        (longest, pauses) = (Duration::ZERO, Duration::ZERO);
                        world.after(Duration::ZERO, true);
                    }
                    Act::Wait(until) => {
                        prop_assert!(until > world.now);
                        prop_assert!(silent < INTERVAL + TIMEOUT + longest + pauses, "{silent:?} without a verdict");
                    }
                }
            }
        }

        /// Looked at often enough, silence ends after the interval and the timeout, and one look.
        #[test]
        fn silence_ends_in_time(steps in prop::collection::vec(0..4_000_u64, 40..60), jitter in 0.0..=1.0_f64, seed: u64) {
            let mut world = World::new(jitter, seed);
            let mut judged = None;
            for step in steps {
                if let Act::Judge(_) = world.after(Duration::from_millis(step), false) {
                    judged = Some(world.now - world.start);
                    break;
                }
            }
            if let Some(after) = judged {
                prop_assert!(after <= INTERVAL + TIMEOUT + Duration::from_secs(4));
            } else {
                prop_assert!(world.now - world.start < INTERVAL + TIMEOUT);
            }
        }
    }
}
