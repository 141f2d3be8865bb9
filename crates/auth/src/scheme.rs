//! How a credential is put into a handshake.

use std::{fmt, fmt::Write, sync::Arc};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{
    HeaderName, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    uri::PathAndQuery,
};
use secrecy::zeroize::Zeroizing;
use tower_ws_core::{BoxError, Disposition, Failure, FailureKind};

use crate::error::SchemeError;

pub(crate) type Sign = dyn Fn(&Uri, &str) -> Result<Uri, BoxError> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Scheme {
    Bearer,
    Basic { user: String },
    Header(HeaderName),
    Query { name: String },
    Signed(Arc<Sign>),
    Subprotocol { prefix: String },
}

impl Scheme {
    /// The name used in logs and errors.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header(_) => "header",
            Self::Query { .. } => "query",
            Self::Signed(_) => "signed",
            Self::Subprotocol { .. } => "subprotocol",
        }
    }

    /// Puts the secret where the server looks for it.
    pub(crate) fn apply(&self, request: &mut Request<()>, secret: &str) -> Result<(), SchemeError> {
        match self {
            Self::Bearer => {
                let text = Zeroizing::new(format!("Bearer {secret}"));
                request.headers_mut().insert(AUTHORIZATION, value(&text)?);
            }
            Self::Basic { user } => {
                let pair = Zeroizing::new(format!("{user}:{secret}"));
                let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
                request.headers_mut().insert(AUTHORIZATION, value(&text)?);
            }
            Self::Header(name) => {
                request.headers_mut().insert(name, value(secret)?);
            }
            Self::Query { name } => {
                let added = format!("{}={}", escaped(name), escaped(secret));
                *request.uri_mut() = with_query(request.uri(), &added)?;
            }
            Self::Signed(sign) => {
                *request.uri_mut() = sign(request.uri(), secret).map_err(SchemeError::NotSigned)?;
            }
            Self::Subprotocol { prefix } => {
                let name = Zeroizing::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(secret)));
                request.headers_mut().append(SEC_WEBSOCKET_PROTOCOL, value(&name)?);
            }
        }
        Ok(())
    }
}

fn value(text: &str) -> Result<HeaderValue, SchemeError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SchemeError::NotAHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

fn with_query(uri: &Uri, added: &str) -> Result<Uri, SchemeError> {
    let mut parts = uri.clone().into_parts();
    let (path, query) = (uri.path(), uri.query());
    let text = match query {
        Some(query) if !query.is_empty() => format!("{path}?{query}&{added}"),
        _ => format!("{path}?{added}"),
    };
    parts.path_and_query = Some(PathAndQuery::try_from(text).map_err(|_| SchemeError::NotAQuery)?);
    Uri::from_parts(parts).map_err(|_| SchemeError::NotAQuery)
}

/// All but the unreserved characters of [RFC 3986, section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3),
/// escaped.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte.into());
        } else {
            // Writing into a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// Scheme, host and port, in lower case: who is shown a credential.
pub(crate) fn endpoint(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let standard = if matches!(scheme, "wss" | "https") { 443 } else { 80 };
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(standard));
    format!("{scheme}://{host}:{port}").to_ascii_lowercase()
}

/// A credential in clear text over a network is everybody's. May it go to this target?
///
/// That what is called this machine is this machine is up to whoever dials: the guard of
/// `tower-ws-connector` sees to it.
pub(crate) fn is_private(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    // The dot says that the name is complete.
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_loopback = name.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    matches!(uri.scheme_str(), Some("wss" | "https")) || is_loopback
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<SchemeError> for Failure {
    fn from(error: SchemeError) -> Self {
        // Whoever shows the failure alone shows what is wrong; what to do about it is the source's to say.
        let wrong = match &error {
            SchemeError::NotAHeader => "it has characters that a header cannot carry",
            SchemeError::NotAQuery => "it makes no address",
            SchemeError::NotSigned(_) => "the application's signer refused",
            SchemeError::Plaintext => "the address is not `wss`, and a network would see it",
        };
        // A mistake of this side stays one.
        Self::new(FailureKind::Auth, format!("the credential cannot be shown: {wrong}"))
            .with_disposition(Disposition::Final)
            .with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(scheme: &Scheme, url: &str, secret: &str) -> Request<()> {
        let mut request = Request::get(url).body(()).unwrap();
        scheme.apply(&mut request, secret).unwrap();
        request
    }

    #[test]
    fn each_scheme_puts_it_where_the_server_looks() {
        let header = |scheme: &Scheme, name: &str| {
            let value = applied(scheme, "wss://a/", "s3cr3t").headers()[name].clone();
            assert!(value.is_sensitive());
            value
        };
        assert_eq!(header(&Scheme::Bearer, "authorization"), "Bearer s3cr3t");
        let basic = Scheme::Basic { user: "Aladdin".into() };
        // The example of RFC 7617, section 2, with another password.
        assert_eq!(header(&basic, "authorization"), "Basic QWxhZGRpbjpzM2NyM3Q=");
        assert_eq!(
            header(&Scheme::Header(HeaderName::from_static("x-api-key")), "x-api-key"),
            "s3cr3t"
        );
        let subprotocol = Scheme::Subprotocol {
            prefix: "bearer.".into(),
        };
        assert_eq!(header(&subprotocol, "sec-websocket-protocol"), "bearer.czNjcjN0");
    }

    #[test]
    fn a_query_is_added_and_escaped() {
        let scheme = Scheme::Query { name: "key".into() };
        for (url, expected) in [
            ("wss://a", "wss://a/?key=a%26b%3Dc%20d"),
            ("wss://a/p", "wss://a/p?key=a%26b%3Dc%20d"),
            ("wss://a/p?", "wss://a/p?key=a%26b%3Dc%20d"),
            ("wss://a/p?x=1", "wss://a/p?x=1&key=a%26b%3Dc%20d"),
        ] {
            assert_eq!(applied(&scheme, url, "a&b=c d").uri(), expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_without_being_shown() {
        for secret in ["hunter2\r\nx: y", "hunter2\0"] {
            for scheme in [Scheme::Bearer, Scheme::Header(HeaderName::from_static("x"))] {
                let mut request = Request::get("wss://a/").body(()).unwrap();
                let error = scheme.apply(&mut request, secret).unwrap_err();
                let failure = Failure::from(error);
                let shown = format!("{failure} {failure:?}");
                assert!(!shown.contains("hunter2"), "{shown}");
                assert_eq!(failure.disposition(), Disposition::Final);
            }
        }
    }

    #[test]
    fn endpoints() {
        for (url, expected) in [
            ("wss://A.example/path?query", "wss://a.example:443"),
            ("ws://a", "ws://a:80"),
            ("wss://[::1]:9/", "wss://[::1]:9"),
        ] {
            assert_eq!(endpoint(&url.parse().unwrap()), expected);
        }
    }

    #[test]
    fn clear_text_stays_on_this_machine() {
        for url in [
            "wss://example.com/",
            "ws://localhost:1/",
            "ws://LOCALHOST.:1/",
            "ws://127.9.9.9/",
            "ws://[::1]:8/",
            "ws://[::ffff:127.0.0.1]/",
        ] {
            assert!(is_private(&url.parse().unwrap()), "{url}");
        }
        for url in [
            "ws://example.com/",
            "ws://10.0.0.1/",
            "ws://localhost.example.com/",
            "ws://[::2]/",
            "/path",
        ] {
            assert!(!is_private(&url.parse().unwrap()), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_secret_makes_a_query(secret in ".*") {
            let request = applied(&Scheme::Query { name: "k".into() }, "wss://a/p?x=1", &secret);
            let query = request.uri().query().unwrap();
            prop_assert!(query.starts_with("x=1&k="));
            prop_assert_eq!(query.matches(['&', '=', '#']).count(), 3);
        }
    }
}
