use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tower_ws_core::{Failure, FailureKind};

/// Why a step failed, for programs: what a session that meets it would say, in fields.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The kind of failure, under the name that logs and metrics have for it.
    #[serde(serialize_with = "name")]
    pub kind: FailureKind,
    /// The HTTP status, if the upgrade was refused, or a proxy's tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The close code, if the peer closed ([RFC 6455, section
    /// 7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)); 1005 if it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    /// How long the server asked to be left alone, as it said it: a session honours
    /// [some of it](tower_ws_core::RetryAfter::CAP).
    #[serde(
        rename = "retry_after_ms",
        serialize_with = "millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
}

impl Cause {
    /// `now` is the time of the wall, for a server that names a date.
    pub(super) fn of(failure: &Failure, now: SystemTime) -> Self {
        Self {
            kind: failure.kind(),
            status: failure.status(),
            close_code: failure.close().map(|close| close.code),
            retry_after: failure.retry_after().map(|asked| asked.delay(now)),
        }
    }
}

impl From<FailureKind> for Cause {
    fn from(kind: FailureKind) -> Self {
        Self {
            kind,
            status: None,
            close_code: None,
            retry_after: None,
        }
    }
}

fn name<S: Serializer>(kind: &FailureKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

fn millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    // Such a field is left out when there is none.
    super::report::millis(&time.unwrap_or_default(), serializer)
}
