//! What comes in, and when it is too much for too long. No I/O: time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::{inbound::Inbound, meter::Meter};

/// The longest stop of one piece: 5 s. Pongs are driven by reading, and servers give up on a client
/// that has not answered their ping for some 20 s.
pub(crate) const LONGEST_STOP: Duration = Duration::from_secs(5);

/// How long nothing may be too much before a flood is over: 5 s. On a busy machine a reader is late
/// by some milliseconds all the time, and then finds a few messages within the limit; one that is
/// within it for so long reads slowly.
const BREAK: Duration = Duration::from_secs(5);

/// The intake of one connection.
#[derive(Debug)]
pub(crate) struct Intake {
    count: Option<Meter>,
    bytes: Option<Meter>,
    patience: Duration,
    /// From when on all that has come in is within the limit.
    settled_at: Instant,
    /// Nothing is read before.
    stopped_until: Option<Instant>,
    over: Option<Over>,
}

/// It is too much.
#[derive(Clone, Copy, Debug)]
struct Over {
    /// Since when, without a break.
    since: Instant,
    /// Until when what was too much is paid for.
    until: Instant,
}

/// What a message made of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Fine,
    /// It is too much, now for the first time.
    Begins,
    /// It still is.
    GoesOn,
    /// It has been for too long.
    Flood(Duration),
}

impl Intake {
    pub(crate) fn new(inbound: &Inbound, now: Instant) -> Self {
        Self {
            count: inbound.messages.map(|quota| Meter::new(quota, now)),
            bytes: inbound.bytes.map(|quota| Meter::new(quota, now)),
            patience: inbound.patience,
            settled_at: now,
            stopped_until: None,
            over: None,
        }
    }

    /// A message has been read.
    pub(crate) fn took(&mut self, now: Instant, bytes: u64) -> Verdict {
        let costs = [(&mut self.count, 1), (&mut self.bytes, bytes)];
        for (meter, cost) in costs {
            if let Some(meter) = meter {
                // It is here already, so it is paid for after: each meter runs ahead by what it is
                // owed.
                let at = meter.earliest(now, cost);
                meter.take(now, at, cost);
                self.settled_at = self.settled_at.max(at);
            }
        }
        if self.settled_at <= now {
            return Verdict::Fine;
        }
        self.stopped_until = Some(self.settled_at.min(now + LONGEST_STOP));
        let goes_on = self.over.filter(|over| now < over.until + BREAK);
        let since = goes_on.map_or(now, |over| over.since);
        self.over = Some(Over {
            since,
            until: self.settled_at,
        });
        match now - since {
            _ if goes_on.is_none() => Verdict::Begins,
            over if over >= self.patience => Verdict::Flood(over),
            _ => Verdict::GoesOn,
        }
    }

    /// Until when nothing is to be read.
    pub(crate) fn stopped_until(&mut self, now: Instant) -> Option<Instant> {
        self.stopped_until = self.stopped_until.filter(|until| *until > now);
        self.stopped_until
    }

    /// There was nothing to read: the peer is not ahead of us. True if it was too much until now.
    pub(crate) fn found_nothing(&mut self, now: Instant) -> bool {
        self.settled_at <= now && self.over.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::quota::Quota;

    const SECOND: Duration = Duration::from_secs(1);

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    /// A peer that always has something: what is read within this time, and what ended it.
    fn flood(intake: &mut Intake, start: Instant, time: Duration, bytes: u64) -> (usize, Option<Duration>) {
        let (mut now, mut read) = (start, 0);
        while now < start + time {
            read += 1;
            if let Verdict::Flood(_) = intake.took(now, bytes) {
                return (read, Some(now - start));
            }
            let until = intake.stopped_until(now).unwrap_or(now);
            assert!(until <= now + LONGEST_STOP);
            now = until;
        }
        (read, None)
    }

    #[test]
    fn a_flood_is_read_at_the_rate_until_patience_ends() {
        let start = Instant::now();
        let inbound = Inbound::new()
            .messages(Quota::per_second(n(10)).burst(n(20)))
            .patience(SECOND * 30);
        let mut intake = Intake::new(&inbound, start);
        let (read, ended) = flood(&mut intake, start, SECOND * 60, 1);
        assert_eq!(ended, Some(SECOND * 30));
        assert!((320..=322).contains(&read), "{read}");
    }

    #[test]
    fn a_flood_does_not_end_because_the_reader_is_late() {
        let start = Instant::now();
        let inbound = Inbound::new()
            .messages(Quota::per_second(n(10)).burst(n(20)))
            .patience(SECOND * 30);
        let mut intake = Intake::new(&inbound, start);
        let mut now = start;
        for read in 0.. {
            if let Verdict::Flood(over) = intake.took(now, 1) {
                assert!(over < SECOND * 31, "{over:?}");
                break;
            }
            assert!(now < start + SECOND * 60, "it is not noticed");
            now = intake.stopped_until(now).unwrap_or(now);
            if read % 10 == 0 {
                now += SECOND / 2;
            }
        }
    }

    #[test]
    fn a_slow_reader_takes_nothing_for_a_flood() {
        for quota in [
            Quota::per_second(n(10)).burst(n(20)),
            Quota::strict(n(10), SECOND).unwrap(),
        ] {
            let start = Instant::now();
            let mut intake = Intake::new(&Inbound::new().messages(quota).patience(SECOND * 30), start);
            let mut catch_up = |begin| {
                let (_, ended) = flood(&mut intake, begin, SECOND * 2, 1);
                assert_eq!(ended, None, "{quota:?}");
                // There is always something to read, since it is read at half of the rate.
                for step in 11..200 {
                    let verdict = intake.took(begin + SECOND / 5 * step, 1);
                    assert!(!matches!(verdict, Verdict::Flood(_)), "{verdict:?} in step {step}");
                }
            };
            catch_up(start);
            catch_up(start + SECOND * 40);
        }
    }

    #[test]
    fn a_burst_that_has_an_end_ends_nothing() {
        let start = Instant::now();
        let inbound = Inbound::new().messages(Quota::per_second(n(10))).patience(SECOND * 30);
        let mut intake = Intake::new(&inbound, start);
        for round in 0..10 {
            let begin = start + SECOND * 30 * round;
            let (_, ended) = flood(&mut intake, begin, SECOND * 20, 1);
            assert_eq!(ended, None);
            assert!(intake.found_nothing(begin + SECOND * 21), "in round {round}");
            assert!(!intake.found_nothing(begin + SECOND * 22));
        }
    }

    #[test]
    fn stops_are_short_even_after_something_large() {
        let start = Instant::now();
        let inbound = Inbound::new().bytes(Quota::per_second(n(1_000))).patience(SECOND * 30);
        let mut intake = Intake::new(&inbound, start);
        assert_eq!(intake.took(start, 16_000_000), Verdict::Fine, "the burst takes it");
        assert_eq!(intake.took(start, 1), Verdict::Begins);
        assert_eq!(intake.stopped_until(start), Some(start + LONGEST_STOP));
        // The debt is not forgotten because the peer draws breath.
        assert!(!intake.found_nothing(start + SECOND * 6));
        let (_, ended) = flood(&mut intake, start + SECOND * 6, SECOND * 60, 1);
        assert!(ended.is_some_and(|after| after >= SECOND * 24), "{ended:?}");
    }

    #[test]
    fn a_peer_within_the_limit_is_never_stopped() {
        let start = Instant::now();
        let inbound = Inbound::new().messages(Quota::strict(n(5), SECOND).unwrap());
        let mut intake = Intake::new(&inbound, start);
        for step in 0..100 {
            let now = start + SECOND / 4 * step;
            assert_eq!(intake.took(now, 1), Verdict::Fine);
            assert_eq!(intake.stopped_until(now), None);
        }
    }
}
