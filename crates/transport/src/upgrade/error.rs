use std::{fmt, io};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, StatusCode, Uri,
    header::{DATE, LOCATION, PROXY_AUTHENTICATE, RETRY_AFTER, SERVER, WWW_AUTHENTICATE},
};
use tower_ws_connector::{
    classify,
    http1::{BODY, retry_after},
};
use tower_ws_core::{BoxError, Excerpt, Failure, FailureKind, find};

use super::secrets::Secrets;

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
    /// The server answered with another status than 101. The [`Refusal`] is beneath the failure.
    #[error("the upgrade was refused")]
    Refused(#[source] Failure),
    /// The server answered with 101, and the rest of its answer breaks the protocol or chooses what
    /// was not offered.
    #[error("the answer to the upgrade is wrong")]
    Answer(#[source] Failure),
}

/// What a server said instead of 101.
///
/// It is beneath the [`Failure`] of a refused dial, wherever that goes:
///
/// ```
/// use tower_ws_core::{Failure, find};
/// use tower_ws_transport::Refusal;
///
/// fn challenge(failure: &Failure) -> Option<&str> {
///     find::<Refusal>(failure)?.headers().get("www-authenticate")?.to_str().ok()
/// }
/// ```
///
/// `Debug` and `Display` show neither header values nor the body, which may repeat a secret. The
/// failure's text quotes what helps (the challenge of a 401 or 407, the host of a redirect, the
/// beginning of the body), bounded, escaped, and without what was sent: the values of headers, the
/// path, the query, subprotocols.
#[derive(thiserror::Error)]
#[error("the server answered {status}")]
pub struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    told: Vec<(HeaderName, String)>,
}

/// Those that may be shown.
const TELLING: [HeaderName; 6] = [
    SERVER,
    DATE,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    PROXY_AUTHENTICATE,
    LOCATION,
];

// === impl UpgradeError ===

impl UpgradeError {
    /// The classification.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Request(failure)
            | Self::Connect(failure)
            | Self::Timeout(failure)
            | Self::Broken(failure)
            | Self::Refused(failure)
            | Self::Answer(failure) => failure,
        }
    }

    /// What the server said, if it refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        find(self)
    }

    pub(super) fn connect(error: BoxError, target: &str) -> Self {
        Self::Connect(classify(error, target))
    }
}

/// Classifies what hyper met while it waited for the answer.
pub(super) fn exchange(error: hyper::Error, target: &str) -> UpgradeError {
    // What was wrong before the request was on its way cancels it, and is the source.
    let canceled = match error.is_canceled() {
        true => std::error::Error::source(&error).and_then(|source| source.downcast_ref()),
        false => None,
    };
    let met: &hyper::Error = canceled.unwrap_or(&error);
    let (kind, message) = if met.is_incomplete_message() || met.is_closed() {
        (
            FailureKind::Network,
            "the server ended the connection before it had answered the upgrade",
        )
    } else if met.is_parse() {
        let message = "the server's answer is not http (is the port right?), or its head is over 16 KiB or 100 headers";
        (FailureKind::Handshake, message)
    } else if canceled.is_some() && find::<io::Error>(met).is_none() {
        let message = "the server spoke before it was asked, as no http server does: is the port right?";
        (FailureKind::Handshake, message)
    } else {
        return UpgradeError::Broken(classify(error.into(), target));
    };
    UpgradeError::Broken(Failure::new(kind, message).with_source(error))
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            status,
            headers,
            body,
            told: Vec::new(),
        }
    }

    /// The failure of the dial, without what must not be shown.
    pub(super) fn by(mut self, target: &str, secrets: &Secrets) -> Failure {
        let what = match self.status.as_u16() {
            200..=299 => "answered as to a page, not as a websocket: is the path right?",
            300..=399 => "answered with a redirect, which is not followed: dial the new address",
            401 => "wants credentials, or others",
            407 => "has a proxy before it that wants credentials",
            429 | 503 => "has no room now",
            _ => "refused the upgrade",
        };
        let mut text = format!("{target} {what}");
        let cut = |said: &str, is_whole| {
            let said = secrets.cut(said, is_whole);
            said.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        self.told = TELLING
            .iter()
            .filter_map(|name| Some((name.clone(), cut(&self.value(name)?, true))))
            .collect();
        let helps = match self.status.as_u16() {
            401 => Some(WWW_AUTHENTICATE),
            407 => Some(PROXY_AUTHENTICATE),
            300..=399 => Some(LOCATION),
            _ => None,
        };
        for (name, value) in self.told.iter().filter(|(name, _)| Some(name) == helps.as_ref()) {
            text += &format!("; {name} {}", Excerpt::new(value));
        }
        let body = String::from_utf8_lossy(&self.body);
        if !body.trim().is_empty() {
            let said = cut(&body, self.body.len() < BODY);
            text += &format!("; it says {}", Excerpt::new(&said));
        }
        // Who we are was the question.
        let kind = match self.status.as_u16() {
            401 | 403 | 407 => FailureKind::Auth,
            _ => FailureKind::Handshake,
        };
        let mut failure = Failure::new(kind, text).with_status(self.status.as_u16());
        if let Some(retry_after) = retry_after(&self.headers) {
            failure = failure.with_retry_after(retry_after);
        }
        failure.with_source(self)
    }

    /// A header, without what may be a secret of the server's.
    fn value(&self, name: &HeaderName) -> Option<String> {
        let value = String::from_utf8_lossy(self.headers.get(name)?.as_bytes()).into_owned();
        if *name != LOCATION {
            return Some(value);
        }
        // A path, a query and a user may be one.
        let uri: Uri = value.parse().ok()?;
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?))
    }

    /// The headers that say who refused, why, and what to do about it: `server`, `date`,
    /// `retry-after`, `www-authenticate`, `proxy-authenticate`, and the host of `location`. Without
    /// what was sent, should the server have repeated it; not escaped, and of any length up to that of
    /// all headers.
    pub fn told(&self) -> &[(HeaderName, String)] {
        &self.told
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
    use http::header::AUTHORIZATION;

    use super::*;

    fn refused(retry_after: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, headers, Bytes::from_static(b"body"))
    }

    fn nothing() -> Secrets {
        Secrets::of(&Uri::from_static("ws://a/"), &HeaderMap::new(), &[])
    }

    #[test]
    fn values_are_not_shown() {
        let error: BoxError = UpgradeError::Refused(refused("secret").by("ws://a:80", &nothing())).into();
        let mut text = format!("{error:?}");
        let mut next = Some(&*error as &dyn std::error::Error);
        while let Some(error) = next {
            text += &error.to_string();
            next = error.source();
        }
        assert!(text.contains("retry-after") && text.contains("503"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(Failure::of(error).status(), Some(503));
    }

    #[test]
    fn the_text_says_who_refused_and_quotes_what_helps() {
        for (status, header, body, expected) in [
            (
                401,
                ("www-authenticate", "Bearer realm=\"orders\""),
                "",
                r#"ws://a:80 wants credentials, or others; www-authenticate "Bearer realm=\"orders\"" (http status 401)"#,
            ),
            (
                302,
                ("location", "https://user:pass@login.example:8443/path?secret"),
                "",
                r#"ws://a:80 answered with a redirect, which is not followed: dial the new address; location "https://login.example:8443" (http status 302)"#,
            ),
            (
                404,
                ("x-other", "1"),
                "<h1>Not\r\n Found</h1>",
                r#"ws://a:80 refused the upgrade; it says "<h1>Not Found</h1>" (http status 404)"#,
            ),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(header.0), header.1.parse().unwrap())]);
            let refusal = Refusal::new(StatusCode::from_u16(status).unwrap(), headers, body.into());
            assert_eq!(refusal.by("ws://a:80", &nothing()).to_string(), expected);
        }
    }

    #[test]
    fn headers_are_told_without_what_was_sent() {
        let headers = [
            ("server", "nginx"),
            ("set-cookie", "id=1"),
            ("www-authenticate", "Bearer error=\"the token s3cr3t-t0ken is old\""),
            ("location", "https://user:pass@login.example/path"),
        ];
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, HeaderMap::from_iter(headers), Bytes::new());
        let sent = HeaderMap::from_iter([(AUTHORIZATION, "Bearer s3cr3t-t0ken".parse().unwrap())]);
        let failure = refusal.by("ws://a:80", &Secrets::of(&Uri::from_static("ws://a/"), &sent, &[]));
        let told: Vec<_> = find::<Refusal>(&failure).unwrap().told().to_vec();
        let expected = [
            (SERVER, "nginx"),
            (WWW_AUTHENTICATE, "Bearer error=\"the token [cut] is old\""),
            (LOCATION, "https://login.example"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
