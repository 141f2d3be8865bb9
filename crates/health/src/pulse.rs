//! When to ask, and when to give up. No I/O, no clock, no timer: time is passed in.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How much more wall time than monotonic time between two looks means that the machine slept: 5 s.
/// Longer than a clock is slewed, shorter than anything worth calling a suspend.
const SUSPEND: Duration = Duration::from_secs(5);

/// Into how many parts the time to answer is cut by looks of our own. A look that is late by one of
/// them says that this process stood still, and nothing about the peer.
const LOOKS: u32 = 4;

/// How late a look is at most before this process counts as stalled: 5 s, however long the timeout.
const STALL: Duration = Duration::from_secs(5);

/// Judges one connection by its silence.
#[derive(Debug)]
pub(crate) struct Pulse {
    rhythm: Rhythm,
    /// When something last came in, as far as we know.
    life: Instant,
    /// How long a silence lasts until the next probe; drawn anew for each.
    wait: Duration,
    /// The peer has been asked, and has not been heard since.
    asked: Option<Asked>,
    /// When the last question went out, whatever for.
    spoke: Instant,
    /// A late look has been forgiven in this silence.
    forgiven: bool,
    /// The machine was suspended: a probe is due now, whatever the interval says.
    probe_now: bool,
    looked: (Instant, SystemTime),
}

/// The peer's time to answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// It runs from here.
    since: Instant,
    /// When we want to look next.
    look: Instant,
}

/// How often to ask.
#[derive(Debug)]
pub(crate) struct Rhythm {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// How long nothing of ours may go out.
    pub(crate) keepalive: Option<Duration>,
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
            asked: None,
            spoke: now,
            forgiven: false,
            probe_now: false,
            looked: (now, wall),
        }
    }

    /// The peer has this time to answer from now on.
    pub(crate) fn allow(&mut self, timeout: Duration) {
        self.rhythm.timeout = timeout;
    }

    /// A look, after everything that there was to read has been read: did anything come in since
    /// the last one?
    pub(crate) fn look(&mut self, now: Instant, wall: SystemTime, heard: bool) {
        if heard {
            self.life = now;
            self.asked = None;
            self.forgiven = false;
        }
        let (then, wall_then) = std::mem::replace(&mut self.looked, (now, wall));
        // A clock that was set back is no suspend.
        let passed = wall.duration_since(wall_then).unwrap_or_default();
        self.probe_now |= passed > now.saturating_duration_since(then) + SUSPEND;
    }

    /// What is to be done now. [`Act::Probe`] is said once for each question.
    pub(crate) fn act(&mut self, now: Instant) -> Act {
        if std::mem::take(&mut self.probe_now) {
            return self.ask(now);
        }
        let kept_alive = self.rhythm.keepalive.map(|every| self.spoke + every);
        if kept_alive.is_some_and(|due| due <= now) {
            self.spoke = now;
            return Act::Probe;
        }
        let until = match &mut self.asked {
            None => match self.life + self.wait {
                due if now < due => due,
                _ => return self.ask(now),
            },
            // Once: a reader who is always late would otherwise never judge.
            Some(asked) if now > asked.look + self.rhythm.stall() && !self.forgiven => {
                self.forgiven = true;
                return self.ask(now);
            }
            Some(asked) => match asked.since + self.rhythm.timeout {
                deadline if now < deadline => {
                    asked.look = deadline.min(now + self.rhythm.timeout / LOOKS);
                    asked.look
                }
                deadline => return Act::Judge(deadline),
            },
        };
        Act::Wait(kept_alive.map_or(until, |due| due.min(until)))
    }

    /// A question begins.
    fn ask(&mut self, now: Instant) -> Act {
        self.wait = self.rhythm.wait();
        self.spoke = now;
        self.asked = Some(Asked { since: now, look: now });
        Act::Probe
    }

    /// Somebody asks out of turn. The peer's time runs from the first question of a silence.
    pub(crate) fn asked_out_of_turn(&mut self, now: Instant) {
        self.spoke = now;
        self.asked.get_or_insert(Asked { since: now, look: now });
    }

    /// The question has only now left this process, or what stands before it has moved: the peer's
    /// time runs from here.
    pub(crate) fn put_off(&mut self, now: Instant) {
        if let Some(asked) = &mut self.asked {
            *asked = Asked { since: now, look: now };
        }
    }

    /// How late a look may be before it says more about this side than about the peer.
    pub(crate) fn stall(&self) -> Duration {
        self.rhythm.stall()
    }

    /// How long nothing has come in, and how long the peer has had to answer.
    pub(crate) fn silence(&self, now: Instant) -> (Duration, Duration) {
        let since = |then| now.saturating_duration_since(then);
        (
            since(self.life),
            self.asked.map_or(Duration::ZERO, |asked| since(asked.since)),
        )
    }
}

impl Rhythm {
    fn wait(&mut self) -> Duration {
        let share = self.jitter * self.rng.f64();
        self.interval.saturating_sub(self.interval.mul_f64(share))
    }

    /// How late a look may be: a part of the time to answer, and never long.
    fn stall(&self) -> Duration {
        STALL.min(self.timeout / LOOKS)
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
                keepalive: None,
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
        for second in [25, 30, 35, 40] {
            let passed = secs(if second == 25 { 0 } else { 5 });
            assert_eq!(
                world.after(passed, false),
                Act::Wait(world.at(second)),
                "a look of our own"
            );
        }
        assert_eq!(world.after(secs(5), false), Act::Judge(world.at(40)));
    }

    #[test]
    fn the_time_to_answer_runs_from_when_the_question_went_out() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(23), false), Act::Probe);
        world.after(secs(1), false);
        world.pulse.put_off(world.now);
        for second in [29, 34, 39, 44] {
            assert_eq!(world.pulse.act(world.now), Act::Wait(world.at(second)));
            world.after(secs(5), false);
        }
        assert_eq!(world.pulse.act(world.now), Act::Judge(world.at(44)));
    }

    #[test]
    fn a_stall_within_the_time_to_answer_is_this_sides() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(20), false), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(25)));
        // The look of 25 s comes at 31 s.
        assert_eq!(world.after(secs(11), false), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(36)));
    }

    #[test]
    fn how_long_it_has_been_silent_and_asked() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(20), false), Act::Probe);
        world.after(secs(5), false);
        assert_eq!(world.pulse.silence(world.now), (secs(25), secs(5)));
        world.after(secs(1), true);
        assert_eq!(world.pulse.silence(world.now), (secs(0), secs(0)));
    }

    /// A quarter of the time to answer, and never long.
    #[test]
    fn how_late_a_look_may_be() {
        for (timeout, stall) in [(4, 1), (20, 5), (400, 5)] {
            let mut world = World::new(0.0, 0);
            world.pulse.rhythm.timeout = secs(timeout);
            assert_eq!(world.pulse.stall(), secs(stall), "{timeout} s to answer");
        }
    }

    #[test]
    fn kept_alive_whoever_talks() {
        let mut world = World::new(0.0, 0);
        world.pulse.rhythm.keepalive = Some(secs(15));
        assert_eq!(world.after(secs(10), true), Act::Wait(world.at(15)));
        assert_eq!(world.after(secs(5), true), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(30)));
        assert_eq!(world.after(secs(15), false), Act::Probe);
        assert_eq!(world.after(secs(5), false), Act::Probe, "the silence since 15 s");
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(40)));
    }

    #[test]
    fn after_a_pause_of_this_side_the_peer_has_its_full_time() {
        let mut world = World::new(0.0, 0);
        assert_eq!(world.after(secs(300), false), Act::Probe);
        assert_eq!(world.after(secs(0), false), Act::Wait(world.at(305)));
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
        assert_eq!(world.after(secs(1), false), Act::Wait(world.at(8)));
        world.wall += secs(3600);
        assert_eq!(
            world.after(secs(30), false),
            Act::Probe,
            "in the middle of a question too"
        );
        world.wall -= secs(7200);
        assert_eq!(world.after(secs(1), false), Act::Wait(world.at(39)), "set back");
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
                    pauses += if passed > STALL { passed + TIMEOUT } else { Duration::ZERO };
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

        /// Looked at often enough, silence ends after the interval and the timeout, and a look
        /// for each.
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
                prop_assert!(after <= INTERVAL + TIMEOUT + Duration::from_secs(8));
            } else {
                prop_assert!(world.now - world.start < INTERVAL + TIMEOUT + Duration::from_secs(4));
            }
        }
    }
}
