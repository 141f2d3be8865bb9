use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::{ProxySettingError, problem::Problem};

/// The most that user name and password may take each in SOCKS5, and more than HTTP proxies are
/// seen to want.
const CREDENTIAL: usize = 255;

/// A proxy: what its URL says.
#[derive(Clone)]
pub(super) struct Server {
    scheme: Scheme,
    /// Where the connector is sent.
    dial: Uri,
    /// Scheme, host and port, to be shown.
    name: String,
    /// Holds the credentials, and does not show them.
    intercept: Intercept,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scheme {
    Http,
    /// HTTP, over TLS with the proxy.
    Https,
    /// Names are resolved here.
    Socks5,
    /// Names are resolved by the proxy.
    Socks5h,
}

impl Server {
    /// The URL's text gets into no error: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, ProxySettingError> {
        // What stands before `@` must not be taken for a part of the host, nor the other way round.
        if url.matches('@').count() > 1 {
            return Err(Problem::Escape.into());
        }
        let uri: Uri = url.parse().map_err(|_| Problem::NoUrl)?;
        let scheme = match uri.scheme_str() {
            None | Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some("socks5") => Scheme::Socks5,
            Some("socks5h") => Scheme::Socks5h,
            Some(_) => return Err(Problem::Scheme.into()),
        };
        let authority = uri.authority().ok_or(Problem::NoUrl)?;
        let (host, port) = (authority.host(), authority.port_u16());
        let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
        if host.is_empty() || (port.is_none() && host_and_port != host) {
            return Err(Problem::NoUrl.into());
        }
        let authority = format!("{host}:{}", port.unwrap_or(scheme.port()));
        let dialled = if scheme == Scheme::Https { "https" } else { "http" };
        let dial = format!("{dialled}://{authority}/")
            .parse()
            .map_err(|_| Problem::NoUrl)?;

        // hyper-util takes the credentials out of it. It has to be asked about something: any
        // `https` URL will do.
        let intercept = Matcher::builder()
            .all(url)
            .build()
            .intercept(&Uri::from_static("https://any/"))
            .ok_or(Problem::NoUrl)?;
        let server = Self {
            scheme,
            dial,
            name: format!("{}://{authority}", scheme.as_str()),
            intercept,
        };
        if let Some((user, password)) = server.user_and_password()
            && (user.is_empty() || user.len() > CREDENTIAL || password.len() > CREDENTIAL)
        {
            return Err(Problem::Credentials.into());
        }
        Ok(server)
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn dial(&self) -> &Uri {
        &self.dial
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For an HTTP proxy. It is marked as sensitive.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.intercept.basic_auth()
    }

    /// For a SOCKS proxy.
    pub(super) fn user_and_password(&self) -> Option<(&str, &str)> {
        self.intercept.raw_auth()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }

    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        for (url, name, dial, scheme) in [
            ("proxy", "http://proxy:80", "http://proxy:80/", Scheme::Http),
            ("proxy:3128", "http://proxy:3128", "http://proxy:3128/", Scheme::Http),
            ("HTTP://proxy/path", "http://proxy:80", "http://proxy:80/", Scheme::Http),
            (
                "https://[::1]",
                "https://[::1]:443",
                "https://[::1]:443/",
                Scheme::Https,
            ),
            (
                "socks5://10.0.0.1",
                "socks5://10.0.0.1:1080",
                "http://10.0.0.1:1080/",
                Scheme::Socks5,
            ),
            (
                "socks5h://u:secret@a:9",
                "socks5h://a:9",
                "http://a:9/",
                Scheme::Socks5h,
            ),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!(server.name(), name, "{url}");
            assert_eq!(server.dial(), dial, "{url}");
            assert_eq!(server.scheme(), scheme, "{url}");
        }
    }

    #[test]
    fn credentials_are_unescaped_kept_apart_and_not_shown() {
        let http = Server::parse("http://user:s%40cret%3A@proxy").unwrap();
        // user:s@cret:
        let header = http.authorization().unwrap();
        assert_eq!(header, "Basic dXNlcjpzQGNyZXQ6");
        assert!(header.is_sensitive());
        let socks = Server::parse("socks5://us%20er:s%40cret@proxy").unwrap();
        assert_eq!(socks.user_and_password(), Some(("us er", "s@cret")));
        for shown in [format!("{http:?}"), format!("{socks:?}")] {
            assert!(!shown.contains("cret") && !shown.contains("us"), "{shown}");
        }
    }

    #[test]
    fn bad_urls_are_refused_without_a_word_of_theirs() {
        let long = format!("socks5://{}:x@proxy", "secret".repeat(50));
        for (url, says) in [
            ("", "no url"),
            ("http://", "no url"),
            ("http://user:secret@", "no url"),
            ("http://user:secret@proxy:99999", "no url"),
            ("http://user:secret@proxy:x", "no url"),
            ("http://user:sec ret@proxy", "no url"),
            ("http://user:sec@ret@proxy", "%40"),
            ("socks4://user:secret@proxy", "socks5h"),
            ("ftp://user:secret@proxy", "socks5h"),
            ("socks5://:secret@proxy", "255"),
            (&long, "255"),
        ] {
            let error = Server::parse(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("secret") && !text.contains("sec ret"), "{text}");
        }
    }
}
