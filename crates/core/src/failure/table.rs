use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use super::{
    Close, Failure, FailureKind,
    disposition::{self, Disposition},
};

/// What is to be done about each failure: a named table, and rows of your own ahead of it.
///
/// Reconnect judges by one; that of `Default` is [the documented table](Disposition). The others
/// differ from it in these rows only:
///
/// | table | failure | disposition | why |
/// |---|---|---|---|
/// | [`mcp`](Self::mcp) | close 1008 whose reason speaks of another connection, also if it speaks of a token | [`Final`](Disposition::Final) | the session went on elsewhere: two clients would evict each other for ever |
/// | | close 1008 whose reason speaks of a token or of authorization | [`RefreshCredentials`](Disposition::RefreshCredentials) | servers that know no code for it say so |
/// | [`graphql_ws`](Self::graphql_ws) | close 4401 | `RefreshCredentials` | unauthorized: the token may have expired |
/// | | close 4004, 4005, 4400, 4406, 4409, 4429, 4500 | `Final` | one side speaks nonsense, and will again |
/// | | close 4403, 4408, 4499, 4504 | [`Backoff`](Disposition::Backoff) | access may be granted later; the rest were too slow |
/// | [`centrifuge`](Self::centrifuge) | close 3000 to 3499, 4000 to 4499 | `Backoff` | the server says: come back |
/// | | close 3500 to 3999, 4500 to 4999 | `Final` | the server says: do not |
///
/// Sources: [graphql-transport-ws](https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md)
/// and what its reference client retries; [Centrifugo's
/// codes](https://centrifugal.dev/docs/server/codes). MCP names no codes for WebSocket: its first
/// row is the wording of [a
/// proposal](https://github.com/modelcontextprotocol/modelcontextprotocol/issues/1288), and its
/// second that 1008 is what servers without codes of their own say to whom they do not let in.
///
/// ```
/// use std::time::Duration;
/// use tower_ws_core::{Close, Disposition, DispositionTable, Failure, FailureKind};
///
/// let table = DispositionTable::graphql_ws()
///     // This server restarts with a code of its own.
///     .on_close(4100..=4109, Disposition::Immediately)
///     // The name is known a minute after the start.
///     .on_kind(FailureKind::Dns, Disposition::Wait { least: Duration::from_secs(5), most: Duration::from_secs(10) });
///
/// let restart = Failure::closed(Close { code: 4100, reason: "bye".into() });
/// assert_eq!(table.lookup(&restart), Disposition::Immediately);
/// ```
///
/// # What it does not do
///
/// It does not reach below the layer that it is given to. Failover and auth judge failures before
/// reconnect sees them: give the same table to `FailoverLayer` and `Credentials`, or once to the
/// builder of `tower-ws`, which hands it to each.
///
/// It does not overrule [`Failure::with_disposition`]: whoever made the failure knew more than a
/// table does.
#[derive(Clone, Debug, Default)]
pub struct DispositionTable {
    profile: Profile,
    /// The last one that fits decides.
    rows: Arc<Vec<(Rule, Disposition)>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Profile {
    #[default]
    General,
    Mcp,
    GraphqlWs,
    Centrifuge,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Kind(FailureKind),
    /// From, to; both included.
    Status(u16, u16),
    Close(u16, u16),
}

impl DispositionTable {
    /// For servers of the Model Context Protocol.
    pub fn mcp() -> Self {
        Self::named(Profile::Mcp)
    }

    /// For servers of `graphql-transport-ws`.
    pub fn graphql_ws() -> Self {
        Self::named(Profile::GraphqlWs)
    }

    /// For Centrifugo, and servers made with its library.
    pub fn centrifuge() -> Self {
        Self::named(Profile::Centrifuge)
    }

    fn named(profile: Profile) -> Self {
        Self {
            profile,
            rows: Arc::default(),
        }
    }

    /// Decides about these close codes. Of two rows that fit the later one counts.
    #[must_use]
    pub fn on_close(self, codes: impl RangeBounds<u16>, disposition: Disposition) -> Self {
        let (from, to) = ends(&codes);
        self.with(Rule::Close(from, to), disposition)
    }

    /// Decides about handshakes that were answered with one of these HTTP statuses.
    #[must_use]
    pub fn on_status(self, statuses: impl RangeBounds<u16>, disposition: Disposition) -> Self {
        let (from, to) = ends(&statuses);
        self.with(Rule::Status(from, to), disposition)
    }

    /// Decides about all failures of a kind, also those with a status or a close code.
    #[must_use]
    pub fn on_kind(self, kind: FailureKind, disposition: Disposition) -> Self {
        self.with(Rule::Kind(kind), disposition)
    }

    fn with(mut self, rule: Rule, disposition: Disposition) -> Self {
        Arc::make_mut(&mut self.rows).push((rule, disposition));
        self
    }

    /// What is to be done about this failure.
    pub fn lookup(&self, failure: &Failure) -> Disposition {
        if let Some(known) = failure.own_disposition() {
            return known;
        }
        let own = self.rows.iter().rev().find(|(rule, _)| rule.fits(failure));
        if let Some((_, disposition)) = own {
            return *disposition;
        }
        let by_profile = failure.close().and_then(|close| self.profile.of_close(failure, close));
        by_profile.unwrap_or_else(|| disposition::default_for(failure))
    }

    /// The failure, with [`Failure::disposition`] as this table has it.
    pub fn judge(&self, failure: Failure) -> Failure {
        match self.lookup(&failure) {
            same if same == failure.disposition() => failure,
            other => failure.with_disposition(other),
        }
    }
}

impl Profile {
    fn of_close(self, failure: &Failure, close: &Close) -> Option<Disposition> {
        let says = |words: &[&str]| {
            let reason = close.reason.to_ascii_lowercase();
            words.iter().any(|words| reason.contains(words))
        };
        Some(match (self, close.code) {
            (Self::Mcp, _) if failure.is_displaced() => Disposition::Final,
            (Self::Mcp, 1008) if says(&["token", "unauthorized", "authorization"]) => Disposition::RefreshCredentials,
            (Self::GraphqlWs, 4429) if says(&["too many requests"]) => return None,
            (Self::GraphqlWs, 4401) => Disposition::RefreshCredentials,
            (Self::GraphqlWs, 4004 | 4005 | 4400 | 4406 | 4409 | 4429 | 4500) => Disposition::Final,
            (Self::GraphqlWs, 4403 | 4408 | 4499 | 4504) => Disposition::Backoff,
            (Self::Centrifuge, 3000..=3499 | 4000..=4499) => Disposition::Backoff,
            (Self::Centrifuge, 3500..=3999 | 4500..=4999) => Disposition::Final,
            _ => return None,
        })
    }
}

impl Rule {
    fn fits(self, failure: &Failure) -> bool {
        match self {
            Self::Kind(kind) => failure.kind() == kind,
            Self::Status(from, to) => failure.status().is_some_and(|status| (from..=to).contains(&status)),
            Self::Close(from, to) => failure.close().is_some_and(|close| (from..=to).contains(&close.code)),
        }
    }
}

fn ends(range: &impl RangeBounds<u16>) -> (u16, u16) {
    let from = match range.start_bound() {
        Bound::Included(&from) => from,
        Bound::Excluded(&from) => from.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&to) => to,
        // Nothing is below zero: an empty range.
        Bound::Excluded(&0) => return (1, 0),
        Bound::Excluded(&to) => to - 1,
        Bound::Unbounded => u16::MAX,
    };
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::{Disposition::*, *};

    fn close(code: u16, reason: &str) -> Failure {
        Failure::closed(Close {
            code,
            reason: reason.into(),
        })
    }

    #[test]
    fn named_tables_differ_in_their_rows_only() {
        for (table, rows) in [
            (
                DispositionTable::mcp(),
                &[
                    (1000, "Session reconnected on another connection", Final),
                    (1008, "replaced by another connection", Final),
                    (1008, "Token expired", RefreshCredentials),
                    (1008, "not here", Final),
                ][..],
            ),
            (
                DispositionTable::graphql_ws(),
                &[
                    (4401, "", RefreshCredentials),
                    (4400, "", Final),
                    (4500, "", Final),
                    (4403, "", Backoff),
                    (4499, "", Backoff),
                ],
            ),
            (
                DispositionTable::centrifuge(),
                &[
                    (3005, "", Backoff),
                    (3500, "", Final),
                    (4401, "", Backoff),
                    (4999, "", Final),
                ],
            ),
        ] {
            for (code, reason, expected) in rows {
                assert_eq!(table.lookup(&close(*code, reason)), *expected, "{table:?} {code}");
            }
            for code in [1000, 1001, 1002, 1009, 1011, 1012, 1013] {
                let failure = close(code, "");
                assert_eq!(table.lookup(&failure), failure.disposition(), "{code}");
            }
            let tls = Failure::new(FailureKind::Tls, "");
            assert_eq!(table.lookup(&tls), Final);
        }
    }

    #[test]
    fn rows_of_ones_own_come_first_and_the_later_one_counts() {
        let table = DispositionTable::default()
            .on_kind(FailureKind::Closed, Backoff)
            .on_close(1009..=1009, Final)
            .on_close(1012.., Immediately)
            .on_status(..500, Backoff)
            .on_status(404..405, Final);
        let status = |status| Failure::new(FailureKind::Handshake, "").with_status(status);
        assert_eq!(table.lookup(&close(1008, "")), Backoff);
        assert_eq!(table.lookup(&close(1009, "")), Final);
        assert_eq!(table.lookup(&close(1012, "")), Immediately);
        assert_eq!(table.lookup(&status(403)), Backoff);
        assert_eq!(table.lookup(&status(404)), Final);
        assert_eq!(table.lookup(&status(500)), Backoff);
        assert_eq!(
            DispositionTable::default()
                .on_close(0..0, Immediately)
                .lookup(&close(0, "")),
            Backoff
        );
    }

    #[test]
    fn whoever_made_the_failure_knew_more() {
        let table = DispositionTable::default().on_close(.., Backoff);
        let known = close(4403, "").with_disposition(Final);
        assert_eq!(table.judge(known).disposition(), Final);
        assert_eq!(table.judge(close(4403, "")).disposition(), Backoff);
    }
}
