//! The rows of the table: what the server does, and what the client does meanwhile.

use std::time::Duration;

use crate::server::{Conduct, Cut, Door, Plan};
use crate::work::Work;

/// A row.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Row {
    Late,
    Reset,
    Fin,
    Unanswered,
    Close1001,
    Close1011,
    Close1013,
    RetryAfter,
    NotFound,
    Token,
    Outage,
    DeadIdle,
    DeadLoaded,
    Unsafe,
    Safe,
    Burst,
    Flood,
    Upload,
    Deaf,
    Idle,
}

/// What may run beside a row without changing its outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Company {
    /// Others that count dials: a hot loop takes all of the processor that it gets.
    Storms,
    /// Many others: it waits, mostly.
    Waiting,
    /// Nothing.
    Alone,
}

/// How long the server of [`Row::Late`] is not there.
pub(crate) const LATE: Duration = Duration::from_secs(5);
/// How long dials are counted after the first drop.
pub(crate) const STORM: Duration = Duration::from_secs(10);
/// What the server of [`Row::RetryAfter`] asks for.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(15);
/// How long the server of [`Row::NotFound`] knows no such path.
pub(crate) const NOT_FOUND: Duration = Duration::from_secs(8);
/// How long the server of [`Row::Outage`] is away.
pub(crate) const OUTAGE: Duration = Duration::from_secs(70);
/// How many calls are under way when the server of [`Row::Unsafe`] and [`Row::Safe`] drops the connection.
pub(crate) const IN_FLIGHT: u64 = 20;
/// How many pushes [`Row::Burst`] has.
pub(crate) const BURST: u64 = 10_000;
/// How fast the server of [`Row::Upload`] reads.
pub(crate) const SLOW: usize = 110_000;
/// How large the message of [`Row::Upload`] is: 48 s at that speed, longer than any of the clients waits for a pong,
/// and shorter than any waits for an answer.
pub(crate) const UPLOAD: usize = 5 << 20;

impl Row {
    pub(crate) const ALL: [Self; 20] = [
        Self::Late,
        Self::Reset,
        Self::Fin,
        Self::Unanswered,
        Self::Close1001,
        Self::Close1011,
        Self::Close1013,
        Self::RetryAfter,
        Self::NotFound,
        Self::Token,
        Self::Outage,
        Self::DeadIdle,
        Self::DeadLoaded,
        Self::Unsafe,
        Self::Safe,
        Self::Burst,
        Self::Flood,
        Self::Upload,
        Self::Deaf,
        Self::Idle,
    ];

    /// On the command line and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Reset => "reset",
            Self::Fin => "fin",
            Self::Unanswered => "unanswered",
            Self::Close1001 => "close-1001",
            Self::Close1011 => "close-1011",
            Self::Close1013 => "close-1013",
            Self::RetryAfter => "retry-after",
            Self::NotFound => "not-found",
            Self::Token => "token",
            Self::Outage => "outage",
            Self::DeadIdle => "dead-idle",
            Self::DeadLoaded => "dead-loaded",
            Self::Unsafe => "unsafe",
            Self::Safe => "safe",
            Self::Burst => "burst",
            Self::Flood => "flood",
            Self::Upload => "upload",
            Self::Deaf => "deaf",
            Self::Idle => "idle",
        }
    }

    /// In the table and the picture.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Late => "the server starts 5 s later",
            Self::Reset => "accepts, then resets",
            Self::Fin => "accepts, then hangs up",
            Self::Unanswered => "hangs up on the handshake",
            Self::Close1001 => "accepts, then closes: 1001",
            Self::Close1011 => "accepts, then closes: 1011",
            Self::Close1013 => "accepts, then closes: 1013",
            Self::RetryAfter => "503, Retry-After: 15",
            Self::NotFound => "a redeploy: 404 for 8 s",
            Self::Token => "the token has expired",
            Self::Outage => "an outage of 70 s",
            Self::DeadIdle => "half-open, idle",
            Self::DeadLoaded => "half-open, sending",
            Self::Unsafe => "drop under unsafe calls",
            Self::Safe => "drop under safe calls",
            Self::Burst => "10,000 pushes at once",
            Self::Flood => "a flood of pushes",
            Self::Upload => "5 MiB to a slow server",
            Self::Deaf => "the server stops reading",
            Self::Idle => "idle",
        }
    }

    pub(crate) fn company(self) -> Company {
        match self {
            Self::Reset | Self::Fin | Self::Unanswered | Self::Close1001 | Self::Close1011 | Self::Close1013 => {
                Company::Storms
            }
            Self::Burst | Self::Flood | Self::Deaf => Company::Alone,
            _ => Company::Waiting,
        }
    }

    /// How long the client is watched, from when the server is first there.
    pub(crate) fn lasts(self) -> Duration {
        let seconds = match self {
            Self::Reset | Self::Fin | Self::Unanswered | Self::Close1001 | Self::Close1011 | Self::Close1013 => 12,
            Self::Late => 45,
            Self::RetryAfter => 50,
            Self::NotFound => 50,
            Self::Token => 45,
            Self::Outage => 140,
            Self::DeadIdle | Self::DeadLoaded => 102,
            Self::Unsafe | Self::Safe => 30,
            Self::Burst => 6,
            Self::Flood => 8,
            Self::Upload => 75,
            Self::Deaf => 9,
            Self::Idle => 60,
        };
        Duration::from_secs(seconds)
    }

    /// What the server does.
    pub(crate) fn plan(self) -> Plan {
        let second = Duration::from_secs(1);
        let plan = Plan::default();
        let storm = |cut| Plan {
            cut: Some((second, cut)),
            later: Door::Drop(cut),
            ..plan
        };
        match self {
            Self::Late => Plan {
                opens_after: LATE,
                ..plan
            },
            Self::Reset => storm(Cut::Reset),
            Self::Fin => storm(Cut::Fin),
            Self::Unanswered => Plan {
                cut: Some((second, Cut::Fin)),
                later: Door::HangUp,
                ..plan
            },
            Self::Close1001 => storm(Cut::Close(1001)),
            Self::Close1011 => storm(Cut::Close(1011)),
            Self::Close1013 => storm(Cut::Close(1013)),
            Self::RetryAfter => Plan {
                cut: Some((second, Cut::Fin)),
                later: Door::Busy(RETRY_AFTER),
                ..plan
            },
            Self::NotFound => Plan {
                cut: Some((second, Cut::Fin)),
                later: Door::NotFound(NOT_FOUND),
                ..plan
            },
            Self::Token => Plan {
                cut: Some((second, Cut::Fin)),
                later: Door::NewToken,
                ..plan
            },
            Self::Outage => Plan {
                cut: Some((2 * second, Cut::Reset)),
                away: OUTAGE,
                ..plan
            },
            Self::DeadIdle | Self::DeadLoaded => Plan {
                first: Conduct::Mute(2 * second),
                ..plan
            },
            Self::Unsafe | Self::Safe => Plan {
                first: Conduct::Withhold,
                cut: Some((2 * second, Cut::Close(1001))),
                ..plan
            },
            Self::Burst => Plan {
                first: Conduct::Burst(BURST),
                ..plan
            },
            Self::Flood => Plan {
                first: Conduct::Flood,
                ..plan
            },
            Self::Upload => Plan {
                first: Conduct::Slow(SLOW),
                ..plan
            },
            Self::Deaf => Plan {
                first: Conduct::Mute(second),
                ..plan
            },
            Self::Idle => plan,
        }
    }

    /// What the client does.
    pub(crate) fn work(self) -> Work {
        let work = Work::default();
        // One each second: without calls nobody knows whether a client is back.
        let steady = Work {
            calls: 1_000,
            every_ms: 1_000,
            safe: true,
            ..work
        };
        match self {
            Self::Late | Self::RetryAfter | Self::NotFound | Self::DeadLoaded => steady,
            Self::Token => Work { token: true, ..steady },
            Self::Outage => Work {
                every_ms: 5_000,
                ..steady
            },
            Self::Unsafe => Work {
                calls: IN_FLIGHT,
                ..work
            },
            Self::Safe => Work {
                calls: IN_FLIGHT,
                safe: true,
                ..work
            },
            Self::Burst => Work { pushes: true, ..work },
            Self::Flood => Work {
                pushes: true,
                handling_ms: 1,
                ..work
            },
            Self::Upload => Work {
                calls: 1,
                pad: UPLOAD,
                safe: true,
                ..work
            },
            Self::Deaf => Work {
                feed: true,
                pad: 64 << 10,
                ..work
            },
            _ => work,
        }
    }
}
