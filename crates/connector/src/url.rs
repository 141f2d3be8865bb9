use std::{fmt, str::FromStr};

use http::{Uri, uri::PathAndQuery};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use thiserror::Error;
use tower_ws_core::{Disposition, Failure, FailureKind};

pub(crate) use self::host::Host;

mod host;

/// A URL that a WebSocket can be opened at: `ws` or `wss`, [RFC 6455, section
/// 3](https://www.rfc-editor.org/rfc/rfc6455#section-3).
///
/// ```
/// use tower_ws_connector::{UrlError, WsUrl};
///
/// let url: WsUrl = "wss://Example.com/chat?token=secret".parse()?;
/// assert_eq!((url.host(), url.port(), url.is_secure()), ("Example.com", 443, true));
/// assert_eq!(url.origin(), "wss://example.com");
/// assert_eq!(url.redacted().to_string(), "wss://Example.com:443");
///
/// assert_eq!("wss://user:secret@example.com/".parse::<WsUrl>(), Err(UrlError::Credentials));
/// # Ok::<(), UrlError>(())
/// ```
///
/// What is not taken, and why:
///
/// | part | taken | otherwise |
/// |---|---|---|
/// | scheme | `ws`, `wss` | `http` and `https` are named in the error: they are the commonest slip |
/// | credentials | none | they end up in logs; an `authorization` header does not |
/// | host | a name of ASCII letters, digits, `-` and `_`; an address | other alphabets in their `xn--` form only: the tables that translate them are larger than this crate |
/// | IPv4 | four decimal numbers | `127.1`, `0x7f.1`, `0177.0.0.1` and `2130706433` are read in different ways by different programs, and are how a filter is passed |
/// | IPv6 | in brackets, without a zone | a zone has a meaning on one machine only |
/// | port | 1 to 65535 | if left out: 80 for `ws`, 443 for `wss` |
/// | path, query | any; what is not ASCII is percent-encoded, as [RFC 3987, section 3.1](https://www.rfc-editor.org/rfc/rfc3987#section-3.1) has it | spaces, quotes and the like have to be percent-encoded already |
/// | fragment | none | RFC 6455 forbids it; a `#` that is meant is written `%23` |
///
/// A [`Uri`] that was parsed elsewhere has lost its fragment before this type sees it.
///
/// Its path and query may hold secrets: neither `Debug` nor [`redacted`](Self::redacted) shows
/// them, and there is no `Display` that could be used by accident. [`uri`](Self::uri) has the
/// whole.
#[derive(Clone, Eq, PartialEq)]
pub struct WsUrl {
    uri: Uri,
    port: u16,
    secure: bool,
}

/// Why a text is no [`WsUrl`]. It shows nothing of the text.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UrlError {
    /// No scheme.
    #[error("the url has no scheme: begin it with `ws://` or `wss://`")]
    NoScheme,
    /// `http` instead of `ws`.
    #[error("the url's scheme is `http`: write `ws` instead")]
    Http,
    /// `https` instead of `wss`.
    #[error("the url's scheme is `https`: write `wss` instead")]
    Https,
    /// Another scheme.
    #[error("the url's scheme is unknown: it must be `ws` or `wss`")]
    Scheme,
    /// A user, or a user and a password.
    #[error("the url holds credentials, which end up in logs: send them in an `authorization` header instead")]
    Credentials,
    /// No host.
    #[error("the url has no host: write `ws://host/path`")]
    NoHost,
    /// A host in another alphabet, or in digits of another script.
    #[error("the url's host is not ascii: write its punycode form, which begins with `xn--`")]
    NotAscii,
    /// A host that cannot be a name.
    #[error("the url's host is not a valid name: letters, digits, `-` and `_` in labels of 1 to 63, between dots")]
    HostName,
    /// An IPv4 address that is not written as four decimal numbers.
    #[error(
        "the url's host is an unusual spelling of an ipv4 address: write four decimal numbers without leading zeros"
    )]
    Ipv4,
    /// What is in the brackets is no IPv6 address.
    #[error("the url's host is not a valid ipv6 address: write it as in `ws://[2001:db8::1]/`")]
    Ipv6,
    /// An IPv6 address with a zone.
    #[error("the url's host has an ipv6 zone, which a url cannot carry: leave out what follows the `%`")]
    Zone,
    /// No port that one could dial.
    #[error("the url's port is not a number between 1 and 65535")]
    Port,
    /// A fragment.
    #[error("the url has a fragment, which websocket forbids: leave out the `#` or write it as `%23`")]
    Fragment,
    /// Anything else.
    #[error("the url is not valid: it holds characters that have to be percent-encoded, or is too long")]
    Invalid,
}

/// Scheme, host and port of a [`WsUrl`]: what may be shown.
#[derive(Clone, Copy)]
pub struct Redacted<'a>(&'a WsUrl);

// === impl WsUrl ===

impl WsUrl {
    /// Parses and checks a URL.
    ///
    /// # Errors
    ///
    /// [`UrlError`], by the table above.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        // What `Uri` would refuse without a reason, or pass over in silence.
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        if scheme.contains(['/', '?', '#']) {
            return Err(UrlError::NoScheme);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, _) = split_port(authority);
        Host::parse(host)?;
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        Self::try_from(text.parse::<Uri>().map_err(|_| UrlError::Invalid)?)
    }

    /// The host as it was written; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        // It was there when this was made.
        self.uri.host().unwrap_or_default()
    }

    /// The port; if the URL names none, 80 for `ws` and 443 for `wss`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is `wss`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The whole: with path and query, which may hold secrets.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Scheme, host and port, for logs and errors.
    pub fn redacted(&self) -> Redacted<'_> {
        Redacted(self)
    }

    /// The origin, in the serialisation of [RFC 6454, section
    /// 6.2](https://www.rfc-editor.org/rfc/rfc6454#section-6.2): in lower case, without the default port. Two URLs with
    /// the same origin have the same server behind them.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority()).to_ascii_lowercase()
    }

    /// Host and port, without the default one: [RFC 6455, section
    /// 4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1), of the header `host`.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.secure) {
            self.host().to_owned()
        } else {
            format!("{}:{}", self.host(), self.port)
        }
    }

    /// What a connector is called with: the same with the scheme that it knows, `http` or `https`.
    ///
    /// # Errors
    ///
    /// [`UrlError::Invalid`], if the parts of a valid URL are none any more; no such URL is known.
    pub fn dial(&self) -> Result<Uri, UrlError> {
        let mut parts = self.uri.clone().into_parts();
        let scheme = if self.secure { "https" } else { "http" };
        parts.scheme = Some(scheme.parse().map_err(|_| UrlError::Invalid)?);
        parts
            .path_and_query
            .get_or_insert_with(|| PathAndQuery::from_static("/"));
        Uri::from_parts(parts).map_err(|_| UrlError::Invalid)
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "wss" } else { "ws" }
    }
}

impl TryFrom<Uri> for WsUrl {
    type Error = UrlError;

    fn try_from(uri: Uri) -> Result<Self, UrlError> {
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
        let secure = match scheme.as_deref() {
            Some("ws") => false,
            Some("wss") => true,
            Some("http") => return Err(UrlError::Http),
            Some("https") => return Err(UrlError::Https),
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::NoScheme),
        };
        let authority = uri.authority().ok_or(UrlError::NoHost)?.as_str();
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = split_port(authority);
        Host::parse(host)?;
        let port = match port {
            None => default_port(secure),
            // A plus would be read as well.
            Some(port) if port.starts_with('+') => return Err(UrlError::Port),
            Some(port) => match port.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(UrlError::Port),
            },
        };
        Ok(Self {
            uri: into_ascii(uri)?,
            port,
            secure,
        })
    }
}

impl FromStr for WsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl From<WsUrl> for Uri {
    fn from(url: WsUrl) -> Self {
        url.uri
    }
}

impl fmt::Debug for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WsUrl({})", self.redacted())
    }
}

// === impl Redacted ===

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(f, "{}://{}:{}", url.scheme(), url.host(), url.port)
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A mistake on this side stays one; a way around the guard is a matter of policy.
impl From<UrlError> for Failure {
    fn from(error: UrlError) -> Self {
        let kind = match error {
            UrlError::Ipv4 => FailureKind::Policy,
            _ => FailureKind::Usage,
        };
        Failure::new(kind, error.to_string()).with_disposition(Disposition::Final)
    }
}

pub(crate) fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// [`Uri`] takes a path and a query of any alphabet; HTTP does not.
fn into_ascii(uri: Uri) -> Result<Uri, UrlError> {
    let Some(path) = uri.path_and_query().filter(|path| !path.as_str().is_ascii()) else {
        return Ok(uri);
    };
    let path = utf8_percent_encode(path.as_str(), &AsciiSet::EMPTY).to_string();
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| UrlError::Invalid)?);
    Uri::from_parts(parts).map_err(|_| UrlError::Invalid)
}

/// Host and port; the colons of an IPv6 address are within its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[end..].find(':') {
        Some(at) => (&authority[..end + at], Some(&authority[end + at + 1..])),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_it_says_of_a_url() {
        for (text, host, port, origin, redacted) in [
            ("ws://a", "a", 80, "ws://a", "ws://a:80"),
            ("wss://a:443/x?y", "a", 443, "wss://a", "wss://a:443"),
            ("wss://A.b.:80?q", "A.b.", 80, "wss://a.b.:80", "wss://A.b.:80"),
            ("ws://[::1]:9/", "[::1]", 9, "ws://[::1]:9", "ws://[::1]:9"),
            ("WS://10.0.0.1/", "10.0.0.1", 80, "ws://10.0.0.1", "ws://10.0.0.1:80"),
            ("ws://a/%23?u=http://b@c/", "a", 80, "ws://a", "ws://a:80"),
        ] {
            let url: WsUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.origin(), origin, "{text}");
            assert_eq!(url.redacted().to_string(), redacted, "{text}");
            assert_eq!(format!("{url:?}"), format!("WsUrl({redacted})"), "{text}");
            assert_eq!(url.is_secure(), redacted.starts_with("wss"), "{text}");
            assert_eq!(Uri::from(url), text.parse::<Uri>().unwrap());
        }
    }

    #[test]
    fn a_path_of_another_alphabet_is_percent_encoded() {
        let url = WsUrl::parse("ws://a/größe/%20?q=日本&%").unwrap();
        assert_eq!(url.uri(), "ws://a/gr%C3%B6%C3%9Fe/%20?q=%E6%97%A5%E6%9C%AC&%");
        assert_eq!(url.dial().unwrap().path(), "/gr%C3%B6%C3%9Fe/%20");
    }

    #[test]
    fn what_it_does_not_take() {
        for (text, error) in [
            ("", UrlError::NoScheme),
            ("a", UrlError::NoScheme),
            ("/path", UrlError::NoScheme),
            ("/path?u=ws://a@b", UrlError::NoScheme),
            ("ws:a", UrlError::NoScheme),
            ("http://a/", UrlError::Http),
            ("https://a/", UrlError::Https),
            ("ftp://a/", UrlError::Scheme),
            ("wsss://a/", UrlError::Scheme),
            ("ws://", UrlError::NoHost),
            ("ws:///path", UrlError::NoHost),
            ("ws://:80/", UrlError::NoHost),
            ("ws://user@a/", UrlError::Credentials),
            ("ws://user:password@a/", UrlError::Credentials),
            ("ws://@a/", UrlError::Credentials),
            ("ws://b\\@a/", UrlError::Credentials),
            ("ws://a\\b/", UrlError::HostName),
            ("ws://a%2eb/", UrlError::HostName),
            ("ws://%31%32%37.0.0.1/", UrlError::HostName),
            ("ws://127.1/", UrlError::Ipv4),
            ("ws://127.0.0.1./", UrlError::Ipv4),
            ("ws://bücher.example/", UrlError::NotAscii),
            ("ws://１２７.0.0.1/", UrlError::NotAscii),
            ("ws://[fe80::1%25eth0]/", UrlError::Zone),
            ("ws://[::1/", UrlError::Ipv6),
            ("ws://a:/", UrlError::Port),
            ("ws://a:0/", UrlError::Port),
            ("ws://a:+80/", UrlError::Port),
            ("ws://a:99999/", UrlError::Port),
            ("ws://a:80:80/", UrlError::Invalid),
            ("ws://a/#", UrlError::Fragment),
            ("ws://a/?x#y", UrlError::Fragment),
            ("ws://a/b c", UrlError::Invalid),
            ("ws://a/b\r\nc", UrlError::Invalid),
            (" ws://a/", UrlError::Invalid),
        ] {
            assert_eq!(WsUrl::parse(text), Err(error), "{text}");
            assert_eq!(Failure::from(error).disposition(), Disposition::Final);
        }
    }

    #[test]
    fn the_connector_sees_the_same_host_and_port() {
        for (text, dial) in [
            ("ws://a?q", "http://a/?q"),
            ("wss://a:80/x", "https://a:80/x"),
            ("ws://[::1]", "http://[::1]/"),
        ] {
            assert_eq!(WsUrl::parse(text).unwrap().dial().unwrap(), dial);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_both_ways_agree(text in "(wss?://)?[a-z0-9:@\\[\\]%./?#-]{0,30}") {
            let parsed = WsUrl::parse(&text);
            if let Ok(url) = &parsed {
                prop_assert_eq!(&WsUrl::try_from(url.uri().clone()), &parsed);
                // What the connector of hyper-util would dial.
                prop_assert_eq!(url.uri().port_u16().unwrap_or(default_port(url.secure)), url.port());
                prop_assert!(url.dial().is_ok());
            }
        }
    }
}
