use std::{fmt, net::IpAddr};

use http::{Uri, uri::Authority};

/// Where the stream is to lead: what a proxy is told.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As in a URL: an IPv6 address has its brackets.
    host: String,
    port: u16,
}

impl Target {
    /// `None` for what is no absolute URL.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port = match (uri.port_u16(), uri.scheme_str()) {
            (Some(port), _) => port,
            (None, Some("https" | "wss")) => 443,
            (None, Some("http" | "ws")) => 80,
            (None, _) => return None,
        };
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// The host, without the brackets of an IPv6 address and the dot at the end of a complete name.
    pub(super) fn host(&self) -> &str {
        let host = &*self.host;
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address,
            None => host.strip_suffix('.').unwrap_or(host),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is one. An IPv4 address in the clothes of IPv6 is an IPv4 address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    /// This machine itself. Systems take an unspecified address for it, too.
    pub(super) fn is_loopback(&self) -> bool {
        match self.address() {
            Some(address) => address.is_loopback() || address.is_unspecified(),
            None => {
                let last = self.host().rsplit('.').next().unwrap_or_default();
                last.eq_ignore_ascii_case("localhost")
            }
        }
    }

    /// `host:port`, as CONNECT wants it.
    pub(super) fn authority(&self) -> Option<Authority> {
        self.to_string().parse().ok()
    }

    /// The same place for a connector that has nothing to do with TLS, and no business with the
    /// path.
    pub(super) fn plain(&self) -> Option<Uri> {
        Uri::builder()
            .scheme("http")
            .authority(self.authority()?)
            .path_and_query("/")
            .build()
            .ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &'static str) -> Target {
        Target::of(&Uri::from_static(uri)).unwrap()
    }

    #[test]
    fn ports_and_brackets() {
        for (uri, shown, host) in [
            ("http://a/x?secret", "a:80", "a"),
            ("https://a./", "a.:443", "a"),
            ("https://[::1]/", "[::1]:443", "::1"),
            ("http://user:secret@1.2.3.4:9/", "1.2.3.4:9", "1.2.3.4"),
        ] {
            let target = target(uri);
            assert_eq!(target.to_string(), shown);
            assert_eq!(target.host(), host);
            assert_eq!(target.plain().unwrap().to_string(), format!("http://{shown}/"));
        }
        assert!(Target::of(&Uri::from_static("/path")).is_none());
    }

    #[test]
    fn this_machine() {
        for uri in [
            "http://localhost/",
            "http://LocalHost./",
            "http://a.localhost/",
            "http://127.9.9.9/",
            "http://[::1]/",
            "http://0.0.0.0/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(target(uri).is_loopback(), "{uri}");
        }
        for uri in [
            "http://localhost.example/",
            "http://128.0.0.1/",
            "http://[::2]/",
            "http://notlocalhost/",
        ] {
            assert!(!target(uri).is_loopback(), "{uri}");
        }
    }
}
