//! Why things fail, and what to do about it.

mod causes;
mod disposition;
mod excerpt;
mod table;

use std::{
    borrow::Cow,
    error::Error,
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use self::{causes::Causes, disposition::Disposition, excerpt::Excerpt, table::DispositionTable};

/// Any error, where planes meet. Each layer's own errors are concrete types; [`find`] finds one in
/// a chain.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a connection ended or could not be had, classified where it was understood.
///
/// Cheap to clone: one failure reaches every call that it interrupts, the inbound stream and the
/// log. The text says what was tried and what happened; what lies beneath is in
/// [`source`](Error::source). Peers' words are quoted only bounded and escaped. Secrets never get
/// in.
///
/// Errors of dialling travel as [`BoxError`]; [`Failure::of`] finds the classification in such a
/// chain.
///
/// ```
/// use std::time::Duration;
/// use tower_ws_core::{Disposition, Failure, FailureKind};
///
/// let failure = Failure::new(FailureKind::Handshake, "the server refused the upgrade").with_status(403);
/// assert_eq!(failure.disposition(), Disposition::Final);
/// assert_eq!(failure.to_string(), "the server refused the upgrade (http status 403)");
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: FailureKind,
    message: Cow<'static, str>,
    status: Option<u16>,
    close: Option<Close>,
    retry_after: Option<RetryAfter>,
    disposition: Option<Disposition>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The peer sent a message that is larger than this side takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a message of {size} bytes or more; the limit is {limit}")]
pub struct OverLimit {
    /// How large it is at least, in bytes.
    pub size: usize,
    /// The most that is taken, in bytes.
    pub limit: usize,
}

/// Equal are those that say the same; what lies beneath is not compared.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        let said = |failure: &Self| {
            (
                failure.kind(),
                failure.status(),
                failure.retry_after(),
                failure.own_disposition(),
            )
        };
        said(self) == said(other) && self.0.message == other.0.message && self.close() == other.close()
    }
}

impl Eq for Failure {}

impl Failure {
    /// A failure of this kind. `message` starts in lower case, says what was tried and what
    /// happened, and holds no secret.
    pub fn new(kind: FailureKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            status: None,
            close: None,
            retry_after: None,
            disposition: None,
            source: None,
        }))
    }

    /// The peer closed with this code and reason.
    pub fn closed(close: Close) -> Self {
        let mut failure = Self::new(FailureKind::Closed, "the peer closed the connection");
        failure.edit().close = Some(close);
        failure
    }

    /// This side closed, on request: nothing went wrong, nobody tries again.
    pub fn closed_locally() -> Self {
        Self::new(FailureKind::Local, "closed by this side").with_disposition(Disposition::Final)
    }

    /// The classification of any error: the [`Failure`] in its chain if there is one; otherwise an
    /// [`io::Error`] is a network failure, a timeout of `tower` is a timeout, and what nobody
    /// recognises is [`Local`](FailureKind::Local).
    pub fn of(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        if let Some(failure) = find::<Self>(&*error) {
            return failure.clone();
        }
        let (kind, message) = classify(&*error);
        Self::new(kind, message).with_source(error)
    }

    /// Adds the HTTP status that the handshake was answered with.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.edit().status = Some(status);
        self
    }

    /// Adds the server's wish about when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: RetryAfter) -> Self {
        self.edit().retry_after = Some(retry_after);
        self
    }

    /// Overrides what the [table](Disposition) says of this failure.
    #[must_use]
    pub fn with_disposition(mut self, disposition: Disposition) -> Self {
        self.edit().disposition = Some(disposition);
        self
    }

    /// Adds the error beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.edit().source = Some(Arc::from(source.into()));
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// The HTTP status of a refused handshake.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The peer's close code and reason.
    pub fn close(&self) -> Option<&Close> {
        self.0.close.as_ref()
    }

    /// When the server asked to be tried again.
    pub fn retry_after(&self) -> Option<RetryAfter> {
        self.0.retry_after
    }

    /// What is to be done about it: the [documented table](Disposition), unless whoever made the
    /// failure knew better.
    pub fn disposition(&self) -> Disposition {
        self.0.disposition.unwrap_or_else(|| disposition::default_for(self))
    }

    /// What whoever made it knew better.
    pub(crate) fn own_disposition(&self) -> Option<Disposition> {
        self.0.disposition
    }

    /// True if the peer closed because another connection took the place of this one: close 4409,
    /// or close 1000, 1001 or 1008 whose reason says that this connection or session was replaced
    /// by another. Two clients that came back after it would evict each other for ever, wherever
    /// they dial.
    ///
    /// "pod replaced" and "use another connection" say no such thing: the first is a restart, the
    /// second an invitation.
    pub fn is_displaced(&self) -> bool {
        let replaced = || {
            self.closed_saying(&[
                "replaced",
                "displaced",
                "superseded",
                "taken over",
                "took over",
                "reconnected",
                "logged in",
                "signed in",
            ])
        };
        let by_another = || {
            self.closed_saying(&[
                "another connection",
                "other connection",
                "new connection",
                "newer connection",
                "connection replaced",
                "connection was replaced",
                "connection taken over",
                "another session",
                "new session",
                "session replaced",
                "session was replaced",
                "session taken over",
                "another client",
                "another device",
                "another tab",
                "another location",
                "another login",
                "elsewhere",
                "displaced",
            ])
        };
        match self.close() {
            Some(Close { code: 4409, .. }) => true,
            Some(Close {
                code: 1000 | 1001 | 1008,
                reason,
            }) => reason.trim().eq_ignore_ascii_case("replaced") || replaced() && by_another(),
            _ => false,
        }
    }

    /// True if the peer says that it gets too much: the kind [`Throttled`](FailureKind::Throttled),
    /// HTTP 429, close 1013 and 4429, and close 1008 whose reason speaks of too many requests or of
    /// a rate limit.
    pub fn is_throttled(&self) -> bool {
        let says_so = || self.closed_saying(&["too many requests", "rate limit", "rate-limit", "throttl"]);
        let by_close = match self.close().map(|close| close.code) {
            Some(1013 | 4429) => true,
            Some(1008) => says_so(),
            _ => false,
        };
        by_close || self.kind() == FailureKind::Throttled || self.status() == Some(429)
    }

    /// True if a message was larger than this side ([`OverLimit`]) or the peer (close 1009) takes:
    /// what was sent would end the next connection, too.
    pub fn is_too_large(&self) -> bool {
        self.close().is_some_and(|close| close.code == 1009) || find::<OverLimit>(self).is_some()
    }

    /// Is one of these words in the reason of the close frame?
    fn closed_saying(&self, words: &[&str]) -> bool {
        self.close().is_some_and(|close| {
            let reason = close.reason.to_ascii_lowercase();
            words.iter().any(|words| reason.contains(words))
        })
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(status) = self.0.status {
            write!(f, " (http status {status})")?;
        }
        if let Some(close) = &self.0.close {
            write!(f, " ({close})")?;
        }
        Ok(())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What kind of failure it is: whose fault, and which part of the way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The path to the peer: refused, reset, unreachable, ended without a goodbye.
    Network,
    /// The name could not be resolved.
    Dns,
    /// The secure channel: a certificate, a protocol version.
    Tls,
    /// A proxy on the way refused or failed.
    Proxy,
    /// The upgrade was answered, but not with a usable yes.
    Handshake,
    /// Credentials were missing, wrong or expired.
    Auth,
    /// The peer broke the protocol.
    Protocol,
    /// A limit or a guard of this side forbade it.
    Policy,
    /// The peer said: too much, too fast.
    Throttled,
    /// The peer closed with a code.
    Closed,
    /// A deadline passed.
    Timeout,
    /// This side has been used in a way that cannot work: an address that is none, layers in a
    /// wrong order. The same call fails again.
    Usage,
    /// This side: closed on request, or a reason nobody recognised.
    Local,
}

impl FailureKind {
    /// All kinds, in the order of the list.
    pub const ALL: [Self; 13] = [
        Self::Network,
        Self::Dns,
        Self::Tls,
        Self::Proxy,
        Self::Handshake,
        Self::Auth,
        Self::Protocol,
        Self::Policy,
        Self::Throttled,
        Self::Closed,
        Self::Timeout,
        Self::Usage,
        Self::Local,
    ];

    /// The kind that [`Failure::of`] finds, without taking the error.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        find::<Failure>(error).map_or_else(|| classify(error).0, Failure::kind)
    }

    /// The name used in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Handshake => "handshake",
            Self::Auth => "auth",
            Self::Protocol => "protocol",
            Self::Policy => "policy",
            Self::Throttled => "throttled",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Usage => "usage",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A close code and its reason ([RFC 6455, section 7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// The code; 1005 when the peer gave none.
    pub code: u16,
    /// The peer's words, as sent: at most 123 bytes. Displayed escaped.
    pub reason: String,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "close code {}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, ", reason {}", Excerpt::new(&self.reason))?;
        }
        Ok(())
    }
}

/// When a server asked to be tried again
/// ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)). This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryAfter {
    /// After so long.
    Delay(Duration),
    /// Not before this moment of wall time.
    Date(SystemTime),
}

impl RetryAfter {
    /// How much of it is honoured at most, unless a layer is told otherwise: 5 minutes. A server
    /// that names next year, by mistake or on purpose, takes nobody out for good.
    pub const CAP: Duration = Duration::from_secs(300);

    /// How long to wait, seen from `now`. A date in the past is no wait.
    pub fn delay(self, now: SystemTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::Date(date) => date.duration_since(now).unwrap_or_default(),
        }
    }
}

/// What an error says that nobody has classified.
fn classify(error: &(dyn Error + 'static)) -> (FailureKind, &'static str) {
    if find::<tower::timeout::error::Elapsed>(error).is_some() {
        return (FailureKind::Timeout, "no connection within the time allowed");
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => (FailureKind::Timeout, "the connection timed out"),
        Some(io::ErrorKind::ConnectionRefused) => (FailureKind::Network, "the connection was refused"),
        Some(io::ErrorKind::ConnectionReset) => (FailureKind::Network, "the connection was reset"),
        Some(_) => (FailureKind::Network, "the connection failed"),
        None => (FailureKind::Local, "the connection could not be made"),
    }
}

/// The first error of type `E` in a [`chain`], the error itself included.
pub fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and what caused it, outermost first. It looks into an [`io::Error`] too, whose `source`
/// passes over the error that it was made of.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    #[test]
    fn a_classification_is_found_in_the_chain() {
        let failure = Failure::new(FailureKind::Tls, "the certificate has expired");
        let error: BoxError = Wrapped(Wrapped(failure.into()).into()).into();
        assert_eq!(Failure::of(error).kind(), FailureKind::Tls);
    }

    #[test]
    fn a_classification_is_found_inside_an_io_error() {
        let failure = Failure::new(FailureKind::Dns, "no such name");
        assert_eq!(
            Failure::of(io::Error::other(Wrapped(failure.into()))).kind(),
            FailureKind::Dns
        );
    }

    #[test]
    fn unclassified_errors_get_the_kind_that_fits() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::of(Wrapped(refused.into())).kind(), FailureKind::Network);
        assert_eq!(
            Failure::of(tower::timeout::error::Elapsed::new()).kind(),
            FailureKind::Timeout
        );
        assert_eq!(Failure::of("who knows").kind(), FailureKind::Local);
    }

    #[test]
    fn a_peers_words_are_escaped() {
        let close = Close {
            code: 4000,
            reason: "a\r\nb\u{1b}[2J".into(),
        };
        let text = Failure::closed(close).to_string();
        assert!(!text.contains(['\r', '\n', '\u{1b}']), "{text}");
    }

    #[test]
    fn each_kind_is_named_and_found_without_taking_the_error() {
        let names: std::collections::BTreeSet<_> = FailureKind::ALL.into_iter().map(FailureKind::as_str).collect();
        assert_eq!(names.len(), FailureKind::ALL.len());
        // As many as there are variants, which are numbered from 0 in this order.
        assert!(
            FailureKind::ALL
                .into_iter()
                .enumerate()
                .all(|(at, kind)| kind as usize == at)
        );
        let errors: [fn() -> BoxError; 6] = [
            || Failure::new(FailureKind::Dns, "no such name").into(),
            || io::Error::other(Failure::new(FailureKind::Tls, "expired")).into(),
            || io::Error::from(io::ErrorKind::TimedOut).into(),
            || io::Error::from(io::ErrorKind::ConnectionRefused).into(),
            || tower::timeout::error::Elapsed::new().into(),
            || "who knows".into(),
        ];
        for error in errors {
            assert_eq!(FailureKind::of(&*error()), Failure::of(error()).kind(), "{}", error());
        }
    }
}
