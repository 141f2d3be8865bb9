use std::time::Duration;

use tokio::time::Instant;
use tower_ws_core::{Disposition, Failure, FailureKind, find, later};

use crate::failover::NoneLeft;

/// When a refusal of a session that has been up is final. No I/O: time is passed in.
///
/// Whoever was up may be up again: while its servers are replaced, a host answers with any status,
/// another's certificate, or plaintext, for some seconds.
#[derive(Debug)]
pub(crate) struct Refusals {
    final_after: Duration,
    /// When the first of those came that are in a row.
    since: Option<Instant>,
    /// How many, in a row or not, were about who we are.
    credentials: u32,
}

/// Accounts are locked by too many attempts: so many dials follow the first that was refused for
/// who we are, at least so far apart; the first of them, with a new credential, at once.
const DIALS: u32 = 4;
const SPACING: Duration = Duration::from_secs(60);

impl Refusals {
    pub(crate) fn new(final_after: Duration) -> Self {
        Self {
            final_after,
            since: None,
            credentials: 0,
        }
    }

    /// A connection is up.
    pub(crate) fn end(&mut self) {
        *self = Self::new(self.final_after);
    }

    /// The peer has closed a connection for who we are: that is the first refusal of those.
    pub(crate) fn sent_away(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.credentials = self.credentials.max(1);
    }

    /// When refusals become final; `None`: there is none.
    pub(crate) fn final_at(&self) -> Option<Instant> {
        self.since.map(|since| later(since, self.final_after))
    }

    /// What a failed dial is to a session that has been up.
    pub(crate) fn judge(&mut self, now: Instant, failure: Failure) -> Failure {
        let disposition = failure.disposition();
        let refused = matches!(disposition, Disposition::Final | Disposition::RefreshCredentials);
        // What this side forbids stays forbidden, and who was told to stay away stays away.
        let meant = matches!(failure.kind(), FailureKind::Policy | FailureKind::Usage)
            || failure.is_displaced()
            || find::<NoneLeft>(&failure).is_some();
        if !refused || meant {
            // Between two refusals that are apart, nothing was refused: their time begins anew.
            self.since = None;
            return failure;
        }
        let final_at = later(*self.since.get_or_insert(now), self.final_after);
        let who_we_are = disposition == Disposition::RefreshCredentials
            || failure.kind() == FailureKind::Auth
            || matches!(failure.status(), Some(401 | 403 | 407));
        if !who_we_are {
            return match now < final_at {
                true => failure.with_disposition(Disposition::Backoff),
                false => failure,
            };
        }
        self.credentials = self.credentials.saturating_add(1);
        let wait = match self.credentials {
            1 => return failure.with_disposition(Disposition::RefreshCredentials),
            n if n > DIALS || now >= final_at => return failure.with_disposition(Disposition::Final),
            // The last one comes when it would be final.
            DIALS => final_at.saturating_duration_since(now).max(SPACING),
            n => SPACING * (n - 1),
        };
        failure.with_disposition(Disposition::Wait {
            least: wait,
            most: wait + SPACING / 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals() -> (Refusals, Instant) {
        (Refusals::new(Duration::from_secs(600)), Instant::now())
    }

    fn status(status: u16) -> Failure {
        Failure::new(FailureKind::Handshake, "refused").with_status(status)
    }

    #[test]
    fn a_refusal_is_final_once_it_has_lasted() {
        let (mut refusals, start) = refusals();
        for failure in [
            status(404),
            status(302),
            Failure::new(FailureKind::Tls, "unknown issuer"),
        ] {
            assert_eq!(failure.disposition(), Disposition::Final);
            let judged = refusals.judge(start + Duration::from_secs(599), failure.clone());
            // The first of them begins the time.
            assert_eq!(judged.disposition(), Disposition::Backoff);
            let judged = refusals.judge(start + Duration::from_secs(1200), failure);
            assert_eq!(judged.disposition(), Disposition::Final);
            refusals.end();
            assert_eq!(refusals.final_at(), None);
        }
    }

    #[test]
    fn what_lies_between_two_refusals_is_no_refusal() {
        let (mut refusals, start) = refusals();
        let down = Failure::new(FailureKind::Network, "connection refused");
        refusals.judge(start, status(404));
        refusals.judge(start + Duration::from_secs(5), down);
        assert_eq!(refusals.final_at(), None);
        let judged = refusals.judge(start + Duration::from_secs(3600), status(404));
        assert_eq!(judged.disposition(), Disposition::Backoff);

        // But an account is not asked for more often.
        for _ in 0..DIALS + 1 {
            refusals.judge(start, status(401));
            refusals.judge(start, status(503));
        }
        assert_eq!(refusals.judge(start, status(401)).disposition(), Disposition::Final);
    }

    #[test]
    fn who_is_refused_by_name_asks_few_times_and_far_apart() {
        for code in [401, 403, 407] {
            let (mut refusals, mut now) = refusals();
            let start = now;
            let mut dials = Vec::new();
            loop {
                dials.push((now - start).as_secs());
                now += match refusals.judge(now, status(code)).disposition() {
                    Disposition::RefreshCredentials => Duration::from_secs(1),
                    Disposition::Wait { least, .. } => least,
                    Disposition::Final => break,
                    other => panic!("{other:?}"),
                };
            }
            assert_eq!(dials, [0, 1, 61, 181, 600], "{code}");
        }
    }

    /// Whose connection was closed for it is about to show a new credential: it is asked for again as
    /// after a refused dial.
    #[test]
    fn who_was_sent_away_asks_as_often_as_who_was_refused() {
        let (mut refusals, start) = refusals();
        refusals.sent_away(start);
        let mut now = start + Duration::from_secs(1);
        let mut dials = Vec::new();
        loop {
            dials.push((now - start).as_secs());
            match refusals.judge(now, status(401)).disposition() {
                Disposition::Wait { least, .. } => now += least,
                Disposition::Final => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(dials, [1, 61, 181, 600]);
    }

    /// By its kind too, where there is no status; and a wait has some width, so that clients drift apart.
    #[test]
    fn a_refused_credential_is_known_by_its_kind() {
        let (mut refusals, now) = refusals();
        let refused = Failure::new(FailureKind::Auth, "no").with_disposition(Disposition::Final);
        let first = refusals.judge(now, refused.clone()).disposition();
        assert_eq!(first, Disposition::RefreshCredentials);
        let Disposition::Wait { least, most } = refusals.judge(now, refused).disposition() else {
            panic!("it is not asked for again at once")
        };
        assert_eq!((least, most), (SPACING, SPACING + SPACING / 4));
    }

    #[test]
    fn what_passes_and_what_is_meant_is_as_it_was() {
        let (mut refusals, now) = refusals();
        for failure in [
            status(503),
            status(429),
            Failure::new(FailureKind::Policy, "loopback only"),
            Failure::new(FailureKind::Usage, "no address"),
            Failure::new(FailureKind::Network, "connection refused"),
        ] {
            let before = failure.disposition();
            assert_eq!(refusals.judge(now, failure).disposition(), before);
        }
        assert_eq!(refusals.final_at(), None);
    }
}
