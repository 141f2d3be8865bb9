use http::StatusCode;
use tower_ws_core::{BoxError, Disposition, Failure, FailureKind, RetryAfter};

use super::{Target, socks::Reply};
use crate::classify::classify;

/// What went wrong at a proxy.
///
/// It is the source of the [`Failure`] that a dial through a proxy fails with;
/// [`find`](tower_ws_core::find) gets it out of the chain. The failure names the proxy, by its
/// address without the credentials, and says what to do:
///
/// | error | kind | disposition |
/// |---|---|---|
/// | [`Unreachable`](Self::Unreachable) | proxy; timeout or policy if that is what the connector met | what the cause says |
/// | [`Timeout`](Self::Timeout) | timeout | backoff |
/// | [`Refused`](Self::Refused) 401, 407 | proxy | final: other credentials are needed |
/// | [`Refused`](Self::Refused) 408, 425, 429, 5xx | proxy | backoff, or what `retry-after` says |
/// | [`Refused`](Self::Refused), the rest, 403 above all | proxy | final |
/// | [`Credentials`](Self::Credentials) | proxy | final |
/// | [`Socks`](Self::Socks) | proxy | final if the proxy's rules or abilities say no, else backoff |
/// | [`Broken`](Self::Broken), [`Garbled`](Self::Garbled) | proxy | backoff |
/// | [`LongName`](Self::LongName) | proxy | final |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// No connection to the proxy itself: its name, its address, TLS with it.
    #[error("no connection to the proxy")]
    Unreachable(#[source] Failure),
    /// The proxy did not open the tunnel in time, or could not be connected to in time.
    #[error("the proxy took too long")]
    Timeout,
    /// An HTTP proxy answered CONNECT with a status other than 2xx.
    #[error("the proxy answered connect with {status}")]
    #[non_exhaustive]
    Refused {
        /// The status.
        status: StatusCode,
        /// When the proxy wants to be asked again.
        retry_after: Option<RetryAfter>,
    },
    /// A SOCKS proxy did not accept the user name and password, wants some, or knows another method
    /// only.
    #[error("the proxy did not let this side in")]
    Credentials,
    /// A SOCKS proxy did not open the tunnel.
    #[error("the proxy answered: {0}")]
    Socks(Reply),
    /// The connection to the proxy broke or ended before there was a tunnel.
    #[error("the connection to the proxy broke off")]
    Broken(#[source] BoxError),
    /// What came is not the protocol that the proxy's URL says, or more than its answer.
    #[error("the proxy's answer makes no sense")]
    Garbled,
    /// A name of more than 255 bytes cannot be said in SOCKS5.
    #[error("the host's name is too long for socks")]
    LongName,
}

impl ProxyError {
    /// For what the connector below said about the proxy's own address.
    pub(super) fn unreachable(error: BoxError, proxy: &str) -> Self {
        Self::Unreachable(classify(error, proxy))
    }

    /// The classification, with the error as its source.
    pub(super) fn on_the_way(self, proxy: &str, target: &Target) -> Failure {
        let kind = match &self {
            Self::Timeout => FailureKind::Timeout,
            // A guard or a deadline below stays what it is.
            Self::Unreachable(cause) => match cause.kind() {
                kind @ (FailureKind::Policy | FailureKind::Timeout) => kind,
                _ => FailureKind::Proxy,
            },
            _ if self.wants_credentials() => FailureKind::Auth,
            _ => FailureKind::Proxy,
        };
        let mut failure = Failure::new(kind, self.says(proxy, target));
        if let Self::Refused { status, retry_after } = &self {
            failure = failure.with_status(status.as_u16());
            if let Some(retry_after) = retry_after {
                failure = failure.with_retry_after(*retry_after);
            }
        }
        if let Some(disposition) = self.disposition() {
            failure = failure.with_disposition(disposition);
        }
        failure.with_source(self)
    }

    fn wants_credentials(&self) -> bool {
        match self {
            // tinyproxy says 401.
            Self::Refused { status, .. } => matches!(status.as_u16(), 401 | 407),
            error => matches!(error, Self::Credentials),
        }
    }

    /// Where the common table does not know enough.
    fn disposition(&self) -> Option<Disposition> {
        match self {
            Self::Unreachable(cause) => Some(cause.disposition()),
            // Nobody here has others.
            _ if self.wants_credentials() => Some(Disposition::Final),
            Self::LongName => Some(Disposition::Final),
            Self::Socks(Reply::NotAllowed | Reply::CommandNotSupported | Reply::AddressNotSupported) => {
                Some(Disposition::Final)
            }
            _ => None,
        }
    }

    fn says(&self, proxy: &str, target: &Target) -> String {
        let proxy = format_args!("the proxy {proxy}");
        match self {
            Self::Unreachable(_) => format!("could not connect to {proxy}: is it up, and is its url right?"),
            Self::Timeout => format!("{proxy} did not open a tunnel to {target} in time"),
            Self::Refused { status, .. } => match status.as_u16() {
                401 | 407 => format!(
                    "{proxy} wants credentials, or others: put them into its url, as in `http://user:password@host`"
                ),
                403 => format!("{proxy} forbids a tunnel to {target}"),
                500..=599 => format!("{proxy} could not open a tunnel to {target}"),
                _ => format!("{proxy} refused a tunnel to {target}: does it allow CONNECT to this port?"),
            },
            Self::Credentials => format!(
                "{proxy} wants credentials, or others: put them into its url, as in `socks5h://user:password@host`"
            ),
            Self::Socks(Reply::NotAllowed) => format!("{proxy} forbids a tunnel to {target}"),
            Self::Socks(_) => format!("{proxy} could not open a tunnel to {target}"),
            Self::Broken(_) => format!("{proxy} broke off before there was a tunnel to {target}"),
            Self::Garbled => format!("{proxy} does not speak the protocol of its url: are scheme and port right?"),
            Self::LongName => "a host's name of more than 255 bytes cannot be dialled through a socks proxy".to_owned(),
        }
    }
}
