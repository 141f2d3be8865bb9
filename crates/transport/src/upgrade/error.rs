use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tower_ws_connector::{classify, http1::retry_after};
use tower_ws_core::{BoxError, Failure, FailureKind};

/// Why a dial did not end with a WebSocket.
///
/// Each has a [`Failure`] as its source, which says what kind of failure it is and what to do about
/// it; [`Failure::of`] finds it. The texts hold neither header values nor paths, queries or
/// credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The request is no handshake. Nothing was dialled; the same request fails again.
    #[error("the request cannot open a websocket")]
    Request(#[source] Failure),
    /// No byte stream: name, address, TLS, a proxy, a guard.
    #[error("could not connect")]
    Connect(#[source] Failure),
    /// The dial took longer than allowed.
    #[error("the dial took too long")]
    Timeout(#[source] Failure),
    /// The connection broke, or what came was not HTTP, before there was an answer.
    #[error("the handshake was cut off or garbled")]
    Broken(#[source] Failure),
    /// The server answered with another status than 101.
    #[error("the upgrade was refused")]
    Refused(#[source] Box<Refusal>),
    /// The server answered with 101, and the rest of its answer breaks the protocol or chooses what
    /// was not offered.
    #[error("the answer to the upgrade is wrong")]
    Answer(#[source] Failure),
}

/// What a server said instead of 101.
///
/// `Debug` and `Display` show neither header values nor the body: both may echo a secret.
#[derive(thiserror::Error)]
#[error("the server answered {status}")]
pub struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    #[source]
    failure: Failure,
}

// === impl UpgradeError ===

impl UpgradeError {
    /// The classification.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Request(failure)
            | Self::Connect(failure)
            | Self::Timeout(failure)
            | Self::Broken(failure)
            | Self::Answer(failure) => failure,
            Self::Refused(refusal) => &refusal.failure,
        }
    }

    /// What the server said, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    pub(super) fn connect(error: BoxError, target: &str) -> Self {
        Self::Connect(classify(error, target))
    }
}

/// Classifies what hyper met while it waited for the answer.
pub(super) fn exchange(error: hyper::Error, target: &str) -> UpgradeError {
    let (kind, message) = if error.is_incomplete_message() || error.is_closed() {
        (
            FailureKind::Network,
            "the server ended the connection before it had answered the upgrade",
        )
    } else if error.is_parse() {
        let message = "the server's answer is not http (is the port right?), or its head is over 16 KiB or 100 headers";
        (FailureKind::Handshake, message)
    } else {
        return UpgradeError::Broken(classify(error.into(), target));
    };
    UpgradeError::Broken(Failure::new(kind, message).with_source(error))
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        let message = match status.as_u16() {
            200..=299 => "the server answered as to a page, not as a websocket: is the path right?",
            300..=399 => "the server answered with a redirect, which is not followed: dial the new address",
            401 => "the server wants credentials, or others",
            407 => "a proxy wants credentials",
            429 | 503 => "the server has no room now",
            _ => "the server refused the upgrade",
        };
        let mut failure = Failure::new(FailureKind::Handshake, message).with_status(status.as_u16());
        if let Some(retry_after) = retry_after(&headers) {
            failure = failure.with_retry_after(retry_after);
        }
        Self {
            status,
            headers,
            body,
            failure,
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// All headers: `www-authenticate`, `location`, `retry-after`. At most 16 KiB.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first 4 KiB of the body, as far as it came within the time for the dial.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("headers", &crate::Names(&self.headers))
            .field("body", &self.body.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;

    fn refused(retry_after: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, headers, Bytes::from_static(b"body"))
    }

    #[test]
    fn neither_values_nor_the_body_are_shown() {
        let error: BoxError = UpgradeError::Refused(Box::new(refused("secret"))).into();
        let mut text = format!("{error:?}");
        let mut next = Some(&*error as &dyn std::error::Error);
        while let Some(error) = next {
            text += &error.to_string();
            next = error.source();
        }
        assert!(text.contains("retry-after") && text.contains("503"), "{text}");
        assert!(!text.contains("secret") && !text.contains("body\""), "{text}");
        assert_eq!(Failure::of(error).status(), Some(503));
    }
}
