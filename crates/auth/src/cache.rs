//! What is known of an endpoint's credential, and what to do when somebody asks for it. No I/O: both clocks
//! are passed in.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_ws_core::{Failure, FailureKind};

use crate::credential::Credential;

#[derive(Debug)]
pub(crate) struct Cache {
    /// How long before it expires a credential is renewed, and how long before that it is not shown
    /// any more.
    ahead: Duration,
    current: Option<Held>,
    /// Counts the credentials, so that one which was refused is known again.
    generation: u64,
    fetching: bool,
    /// How often in a row it could not be fetched, why, and when it may be tried again.
    failures: u32,
    failed: Option<(Failure, Instant)>,
    /// What servers have refused last, and how often since one took it.
    refused: Option<(Credential, u32)>,
}

/// A credential, and which it is.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) credential: Credential,
    pub(crate) generation: u64,
}

/// What to do when somebody asks.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Here it is.
    Here(Held),
    /// Here it is, and it is time for another: fetch it meanwhile.
    HereAndFetch(Held),
    /// There is none: fetch it, and wait.
    Fetch,
    /// Somebody fetches it: wait.
    Wait,
    /// It could not be fetched just now, and it is too soon to try again.
    Failed(Failure, Duration),
}

/// No sooner than this a provider that has failed is asked again, doubled with each failure up to
/// [`MOST`].
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

/// As often as this a credential is shown to servers that refuse it: a third time may lock the
/// account.
const SHOWN: u32 = 2;

/// A credential that expires within this time is not shown any more: it may expire on the way, or
/// by the server's clock.
const SLACK: Duration = Duration::from_secs(5);

impl Cache {
    /// Credentials are counted from `generation` on.
    pub(crate) fn new(ahead: Duration, generation: u64) -> Self {
        Self {
            ahead,
            current: None,
            generation,
            fetching: false,
            failures: 0,
            failed: None,
            refused: None,
        }
    }

    pub(crate) fn set_ahead(&mut self, ahead: Duration) {
        self.ahead = ahead;
    }

    /// Somebody asks. Whoever is told to fetch must, and say [how it went](Self::fetched).
    pub(crate) fn ask(&mut self, now: Instant, wall: SystemTime) -> Asked {
        let left = |held: &Held| match held.credential.expiry() {
            Some(expiry) => expiry.duration_since(wall).unwrap_or_default(),
            None => Duration::MAX,
        };
        let too_soon = self.failed.as_ref().filter(|(_, next)| *next > now);
        if let Some(held) = self.current.clone().filter(|held| left(held) > SLACK) {
            let due = left(&held) <= self.ahead.saturating_add(SLACK);
            if !due || self.fetching || too_soon.is_some() {
                return Asked::Here(held);
            }
            self.fetching = true;
            return Asked::HereAndFetch(held);
        }
        if self.fetching {
            return Asked::Wait;
        }
        if let Some((failure, next)) = too_soon {
            return Asked::Failed(failure.clone(), *next - now);
        }
        self.fetching = true;
        Asked::Fetch
    }

    /// A fetch has ended. Returns which credential it is, if there is one. `sample` is uniform in
    /// [0, 1).
    pub(crate) fn fetched(&mut self, outcome: Result<Credential, Failure>, now: Instant, sample: f64) -> Option<u64> {
        self.fetching = false;
        match outcome.and_then(|credential| self.not_refused(credential)) {
            Ok(credential) => {
                self.generation += 1;
                self.failures = 0;
                self.failed = None;
                self.current = Some(Held {
                    credential,
                    generation: self.generation,
                });
                Some(self.generation)
            }
            Err(failure) => {
                let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
                let longest = LEAST.saturating_mul(factor).min(MOST);
                self.failures = self.failures.saturating_add(1);
                self.failed = Some((failure, now + longest.mul_f64(0.5 + sample / 2.0)));
                None
            }
        }
    }

    /// How many there were.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The server has refused this credential. True if it was the present one.
    pub(crate) fn refused(&mut self, generation: u64) -> bool {
        let is_present = self.current.as_ref().is_some_and(|held| held.generation == generation);
        if let Some(held) = self.current.take_if(|_| is_present) {
            let times = match &self.refused {
                Some((refused, times)) if refused.secret() == held.credential.secret() => *times,
                _ => 0,
            };
            self.refused = Some((held.credential, times.saturating_add(1)));
        }
        is_present
    }

    /// A server has taken this credential.
    pub(crate) fn accepted(&mut self, generation: u64) {
        if self.current.as_ref().is_some_and(|held| held.generation == generation) {
            self.refused = None;
        }
    }

    fn not_refused(&self, credential: Credential) -> Result<Credential, Failure> {
        match &self.refused {
            Some((refused, SHOWN..)) if refused.secret() == credential.secret() => Err(Failure::new(
                FailureKind::Auth,
                "the provider returned the credential that was refused twice; it is not shown a third time",
            )),
            _ => Ok(credential),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tower_ws_core::FailureKind;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failure() -> Failure {
        Failure::new(FailureKind::Auth, "no")
    }

    #[test]
    fn fetched_once_shown_until_it_is_due_and_renewed_ahead() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut cache = Cache::new(60 * SECOND, 0);
        assert!(matches!(cache.ask(now, wall), Asked::Fetch));
        assert!(matches!(cache.ask(now, wall), Asked::Wait));
        let credential = Credential::new("s").expires(wall + 600 * SECOND);
        assert_eq!(cache.fetched(Ok(credential), now, 0.0), Some(1));
        assert!(matches!(cache.ask(now, wall + 500 * SECOND), Asked::Here(_)));
        assert!(matches!(cache.ask(now, wall + 540 * SECOND), Asked::HereAndFetch(_)));
        assert!(
            matches!(cache.ask(now, wall + 541 * SECOND), Asked::Here(_)),
            "one fetch at a time"
        );
        assert!(
            matches!(cache.ask(now, wall + 595 * SECOND), Asked::Wait),
            "it may expire on the way"
        );
    }

    /// Somebody sets the clock: an hour on, and it is fetched anew, once; an hour back, and nothing
    /// happens.
    #[test]
    fn a_clock_that_is_set_makes_no_storm() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + 100_000 * SECOND);
        let hour = 3600 * SECOND;
        let mut cache = Cache::new(60 * SECOND, 0);
        cache.ask(now, wall);
        cache.fetched(Ok(Credential::new("one").expires(wall + 600 * SECOND)), now, 0.0);
        for _ in 0..10 {
            assert!(matches!(cache.ask(now, wall - hour), Asked::Here(_)));
        }
        assert!(
            matches!(cache.ask(now, wall + hour), Asked::Fetch),
            "it is not shown too late"
        );
        assert!(matches!(cache.ask(now, wall + hour), Asked::Wait));
        let another = Credential::new("two").expires(wall + hour + 600 * SECOND);
        assert_eq!(cache.fetched(Ok(another), now, 0.0), Some(2));
        for set in [wall + hour, wall, wall - hour] {
            assert!(matches!(cache.ask(now, set), Asked::Here(held) if held.generation == 2));
        }
    }

    #[test]
    fn one_that_was_refused_is_thrown_away_and_a_newer_one_is_not() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut cache = Cache::new(SECOND, 0);
        cache.ask(now, wall);
        cache.fetched(Ok(Credential::new("one")), now, 0.0);
        assert!(cache.refused(1));
        assert!(matches!(cache.ask(now, wall), Asked::Fetch));
        cache.fetched(Ok(Credential::new("two")), now, 0.0);
        assert!(!cache.refused(1), "somebody else was refused with the first");
        assert!(matches!(cache.ask(now, wall), Asked::Here(held) if held.credential.secret() == "two"));
    }

    #[test]
    fn one_that_was_refused_twice_is_not_shown_again_until_there_is_another() {
        let (mut now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut cache = Cache::new(SECOND, 0);
        let mut fetched = |cache: &mut Cache, secret: &str| {
            now += MOST;
            assert!(matches!(cache.ask(now, wall), Asked::Fetch));
            cache.fetched(Ok(Credential::new(secret)), now, 0.0)
        };
        assert_eq!(fetched(&mut cache, "one"), Some(1));
        assert!(cache.refused(1));
        // The next time it is taken, which begins anew.
        assert_eq!(fetched(&mut cache, "one"), Some(2));
        cache.accepted(2);
        assert!(cache.refused(2));
        assert_eq!(fetched(&mut cache, "one"), Some(3));
        assert!(cache.refused(3));
        assert_eq!(fetched(&mut cache, "one"), None);
        assert_eq!(fetched(&mut cache, "two"), Some(4));
    }

    #[test]
    fn a_provider_that_fails_is_not_hammered() {
        let (mut now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut cache = Cache::new(SECOND, 0);
        let mut fetches = 0;
        for _ in 0..600 {
            match cache.ask(now, wall) {
                Asked::Fetch => {
                    fetches += 1;
                    cache.fetched(Err(failure()), now, 0.0);
                }
                Asked::Failed(_, wait) => assert!(wait <= MOST),
                other => panic!("{other:?}"),
            }
            now += SECOND / 10;
        }
        assert!((4..10).contains(&fetches), "{fetches} in a minute");
    }

    #[test]
    fn a_failed_renewal_leaves_the_old_one_in_use() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut cache = Cache::new(60 * SECOND, 0);
        cache.ask(now, wall);
        cache.fetched(Ok(Credential::new("s").expires(wall + 100 * SECOND)), now, 0.0);
        assert!(matches!(cache.ask(now, wall + 50 * SECOND), Asked::HereAndFetch(_)));
        cache.fetched(Err(failure()), now, 0.0);
        assert!(
            matches!(cache.ask(now, wall + 50 * SECOND), Asked::Here(_)),
            "too soon to try again"
        );
        assert!(matches!(
            cache.ask(now + SECOND, wall + 51 * SECOND),
            Asked::HereAndFetch(_)
        ));
    }

    proptest! {
        #[test]
        fn never_two_fetches_and_never_one_that_has_expired(steps in prop::collection::vec((0u8..6, 0u64..200), 1..200)) {
            let (mut now, mut wall) = (Instant::now(), SystemTime::UNIX_EPOCH + 10_000 * SECOND);
            let mut cache = Cache::new(30 * SECOND, 0);
            let mut fetching = false;
            for (step, n) in steps {
                match step {
                    0 | 1 => match cache.ask(now, wall) {
                        Asked::Here(held) | Asked::HereAndFetch(held) => {
                            prop_assert!(held.credential.expiry().is_none_or(|expiry| expiry > wall));
                            fetching = cache.fetching;
                        }
                        Asked::Fetch => {
                            prop_assert!(!fetching);
                            fetching = true;
                        }
                        Asked::Wait => prop_assert!(fetching),
                        Asked::Failed(..) => {}
                    },
                    2 if fetching => {
                        let credential = Credential::new("s").expires(wall + SECOND * n as u32);
                        cache.fetched(Ok(credential), now, 0.5);
                        fetching = false;
                    }
                    3 if fetching => {
                        cache.fetched(Err(failure()), now, 0.5);
                        fetching = false;
                    }
                    4 => {
                        cache.refused(n % 8);
                    }
                    _ => {
                        now += SECOND * n as u32 / 10;
                        // The wall clock may jump either way.
                        wall = wall + SECOND * n as u32 - SECOND * 20;
                    }
                }
            }
        }
    }
}
