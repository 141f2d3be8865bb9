use std::time::Duration;

use super::{Close, Failure, FailureKind};

/// What is to be done about a [`Failure`].
///
/// This is the one table that reconnect acts on, unless it is given another:
/// [`DispositionTable`](crate::DispositionTable) has tables for several protocols, and takes rows
/// of your own. Besides, a policy sees each failure and can decide otherwise, and whoever makes a
/// failure can set its disposition ([`Failure::with_disposition`]).
///
/// | failure | disposition | why |
/// |---|---|---|
/// | network, dns, proxy, timeout | [`Backoff`](Self::Backoff) | passing, as a rule |
/// | tls | [`Final`](Self::Final) | a bad certificate stays bad; storms of handshakes help nobody |
/// | protocol, broken by the peer | `Backoff` | often a proxy in the middle of a deployment |
/// | policy | `Final` | the same rule forbids the next try |
/// | a message over a limit: the peer's (close 1009) or this side's | `Backoff` | whose call it was fails, and is not sent again; the others go on |
/// | throttled | `Wait` 30 to 120 s, or what `Retry-After` says | it asked for it |
/// | auth; HTTP 401; close 3000, 4401 | [`RefreshCredentials`](Self::RefreshCredentials) | a token may have expired; twice in a row is final |
/// | HTTP 407; HTTP 401 of a proxy | `Final` | the proxy wants other credentials, and nobody here refreshes those |
/// | HTTP 408, 425, 429, 5xx | `Backoff`, or what `Retry-After` says | passing |
/// | HTTP 2xx, 3xx, other 4xx | `Final` | this is no WebSocket endpoint for us; redirects are not followed |
/// | handshake without a status | `Backoff` | cut off or garbled on the way |
/// | close 1000, 1001, 1005, 1006, 1011, 1014 | `Backoff` | proxies and restarts send these |
/// | close 1000, 1001 or 1008 whose reason says that another connection took over; 4409 | `Final` | or two clients evict each other for ever |
/// | close 1012 | `Wait` 1 to 15 s | service restart: come back spread out |
/// | close 1013, 4429; 1008 whose reason speaks of too many requests | `Wait` 30 to 120 s | try again later |
/// | close 1002, 1003, 1007, 1008, 1010, 1015 | `Final` | the same bytes fail again |
/// | close 3003, 4400 to 4499 but 4401, 4408 and 4429 | `Final` | refused by the application |
/// | any other 3xxx, 4xxx | `Backoff` | unknown: assume that it passes |
/// | usage | `Final` | the same call fails again |
/// | local, unrecognised | `Backoff` | unknown: assume that it passes |
///
/// Sources: [RFC 6455, section 7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4), the [IANA
/// registry of close
/// codes](https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number), [RFC 9110,
/// section 15](https://www.rfc-editor.org/rfc/rfc9110#section-15).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Disposition {
    /// Try again, each time later.
    Backoff,
    /// Try again, at a random moment between these two, but no sooner than the backoff says.
    Wait {
        /// No sooner than this.
        least: Duration,
        /// No later than this, unless the backoff is longer.
        most: Duration,
    },
    /// Try again at once; the least distance between two attempts still holds.
    Immediately,
    /// Get new credentials, then try once. The same answer again is final.
    RefreshCredentials,
    /// Do not try again.
    Final,
}

impl Disposition {
    /// The name used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Wait { .. } => "wait",
            Self::Immediately => "immediately",
            Self::RefreshCredentials => "refresh_credentials",
            Self::Final => "final",
        }
    }
}

const RESTART: Disposition = Disposition::Wait {
    least: Duration::from_secs(1),
    most: Duration::from_secs(15),
};
const LATER: Disposition = Disposition::Wait {
    least: Duration::from_secs(30),
    most: Duration::from_secs(120),
};

/// The documented table.
pub(crate) fn default_for(failure: &Failure) -> Disposition {
    match (failure.kind(), failure.status(), failure.close()) {
        (FailureKind::Proxy, Some(401), _) => Disposition::Final,
        (_, Some(status), _) => of_status(status),
        (_, _, Some(_)) if failure.is_displaced() => Disposition::Final,
        (_, _, Some(_)) if failure.is_throttled() => LATER,
        (_, _, Some(close)) => of_close(close),
        _ if failure.is_too_large() => Disposition::Backoff,
        (FailureKind::Tls | FailureKind::Policy | FailureKind::Usage, ..) => Disposition::Final,
        (FailureKind::Auth, ..) => Disposition::RefreshCredentials,
        (FailureKind::Throttled, ..) if failure.retry_after().is_none() => LATER,
        _ => Disposition::Backoff,
    }
}

fn of_status(status: u16) -> Disposition {
    match status {
        401 => Disposition::RefreshCredentials,
        408 | 425 | 429 | 500..=599 => Disposition::Backoff,
        _ => Disposition::Final,
    }
}

fn of_close(close: &Close) -> Disposition {
    match close.code {
        1012 => RESTART,
        3000 | 4401 => Disposition::RefreshCredentials,
        4408 => Disposition::Backoff,
        1002 | 1003 | 1007 | 1008 | 1010 | 1015 | 3003 | 4400..=4499 => Disposition::Final,
        _ => Disposition::Backoff,
    }
}

#[cfg(test)]
mod tests {
    use super::{Disposition::*, *};

    fn close(code: u16, reason: &str) -> Disposition {
        Failure::closed(Close {
            code,
            reason: reason.into(),
        })
        .disposition()
    }

    #[test]
    fn close_codes() {
        for code in [1000, 1001, 1005, 1006, 1009, 1011, 1014, 3001, 4000, 4408, 4500] {
            assert_eq!(close(code, ""), Backoff, "{code}");
        }
        for code in [1002, 1003, 1007, 1008, 1010, 1015, 3003, 4400, 4403, 4409] {
            assert_eq!(close(code, ""), Final, "{code}");
        }
        assert_eq!(close(1012, ""), RESTART);
        assert_eq!(close(1013, ""), LATER);
        assert_eq!(close(4401, ""), RefreshCredentials);
        for reason in [
            "Session reconnected on another connection",
            "replaced by another connection",
            "Connection replaced",
            "replaced",
            "You logged in from another device",
            "taken over by a new session",
        ] {
            assert_eq!(close(1000, reason), Final, "{reason}");
            assert_eq!(close(1001, reason), Final, "{reason}");
        }
        // Restarts, and an invitation.
        for reason in [
            "pod replaced",
            "instance replaced during deploy",
            "use another connection",
            "another connection please",
        ] {
            assert_eq!(close(1001, reason), Backoff, "{reason}");
        }
        for (code, reason) in [
            (4429, ""),
            (4429, "too many requests"),
            (1008, "Too many requests"),
            (1008, "rate limit exceeded"),
        ] {
            assert_eq!(close(code, reason), LATER, "{code} {reason}");
        }
    }

    #[test]
    fn statuses() {
        let of = |status| {
            Failure::new(FailureKind::Handshake, "")
                .with_status(status)
                .disposition()
        };
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(of(status), Backoff, "{status}");
        }
        for status in [200, 204, 301, 302, 400, 403, 404, 407, 410, 426] {
            assert_eq!(of(status), Final, "{status}");
        }
        assert_eq!(of(401), RefreshCredentials);
        let proxys = Failure::new(FailureKind::Proxy, "").with_status(401);
        assert_eq!(proxys.disposition(), Final, "tinyproxy says 401 for 407");
    }

    #[test]
    fn whoever_makes_a_failure_may_know_better() {
        let failure = Failure::new(FailureKind::Tls, "").with_disposition(Backoff);
        assert_eq!(failure.disposition(), Backoff);
    }
}
