use std::{fmt, sync::Arc};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::Target;

/// Which targets are dialled directly: the rules of `NO_PROXY`.
///
/// hyper-util knows names and networks; ports, `*.`, `*` for addresses too, and this machine itself
/// are added here.
#[derive(Clone, Default)]
pub(super) struct Bypass {
    rules: Vec<Rule>,
    /// Whether this machine is to be dialled through the proxy like any other.
    pub(super) loopback: bool,
}

#[derive(Clone)]
struct Rule {
    /// `None`: all.
    hosts: Option<Arc<Matcher>>,
    /// `None`: all.
    port: Option<u16>,
}

impl Bypass {
    /// Adds the entries of a list. There are no wrong ones: what is neither address nor network is
    /// a name.
    pub(super) fn add(&mut self, list: &str) {
        let mut any_port = Vec::new();
        for entry in list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty())
        {
            match split_port(entry) {
                ("*", port) => self.rules.push(Rule { hosts: None, port }),
                (host, None) => any_port.push(tidy(host)),
                (host, port) => self.rules.push(Rule::new(tidy(host), port)),
            }
        }
        if !any_port.is_empty() {
            self.rules.push(Rule::new(&any_port.join(","), None));
        }
    }

    pub(super) fn covers(&self, target: &Target) -> bool {
        (target.is_loopback() && !self.loopback) || self.rules.iter().any(|rule| rule.covers(target))
    }
}

impl fmt::Debug for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bypass")
            .field("rules", &self.rules.len())
            .field("loopback", &self.loopback)
            .finish()
    }
}

impl Rule {
    fn new(hosts: &str, port: Option<u16>) -> Self {
        // The matcher tells exceptions only from something that they are exceptions of.
        let hosts = Matcher::builder().all("http://any").no(hosts).build();
        Self {
            hosts: Some(Arc::new(hosts)),
            port,
        }
    }

    fn covers(&self, target: &Target) -> bool {
        if self.port.is_some_and(|port| port != target.port()) {
            return false;
        }
        let Some(hosts) = &self.hosts else {
            return true;
        };
        let host = match target.address() {
            Some(address) if address.is_ipv6() => format!("[{address}]"),
            Some(address) => address.to_string(),
            None => target.host().to_owned(),
        };
        let uri = Uri::builder()
            .scheme("http")
            .authority(host)
            .path_and_query("/")
            .build();
        uri.is_ok_and(|uri| hosts.intercept(&uri).is_none())
    }
}

/// `host:port`, `[address]:port`, or no port at all: a lone IPv6 address is full of colons.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// As hyper-util writes it: no brackets, no dot at the end, and no asterisk before a dot.
fn tidy(host: &str) -> &str {
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.starts_with("*.") { &host[1..] } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(list: &str, url: &str) -> bool {
        let mut bypass = Bypass::default();
        bypass.add(list);
        bypass.covers(&Target::of(&url.parse().unwrap()).unwrap())
    }

    #[test]
    fn names() {
        for list in [
            "example.com",
            ".example.com",
            "*.example.com",
            "other,  EXAMPLE.com.",
            "a example.com",
        ] {
            for url in ["wss://example.com", "ws://a.B.Example.COM:99/", "wss://example.com./"] {
                assert!(covers(list, url), "{list}: {url}");
            }
            for url in [
                "wss://notexample.com",
                "wss://example.com.evil.org",
                "wss://com",
                "wss://1.2.3.4",
            ] {
                assert!(!covers(list, url), "{list}: {url}");
            }
        }
    }

    #[test]
    fn addresses_and_networks() {
        for (list, inside, outside) in [
            ("10.1.2.3", "ws://10.1.2.3", "ws://10.1.2.4"),
            ("10.0.0.0/8", "ws://10.255.0.1", "ws://11.0.0.1"),
            ("10.0.0.0/8", "ws://[::ffff:10.0.0.1]", "ws://[::10.0.0.1]"),
            ("fd00::/8", "ws://[fd12::1]:8080", "ws://[fe80::1]"),
            ("[fd00::1]", "ws://[fd00:0::1]", "ws://[fd00::2]"),
            ("fd00::1", "ws://[fd00::1]", "ws://fd00"),
        ] {
            assert!(covers(list, inside), "{list}: {inside}");
            assert!(!covers(list, outside), "{list}: {outside}");
        }
    }

    #[test]
    fn ports() {
        for (list, inside, outside) in [
            ("example.com:8443", "wss://a.example.com:8443", "wss://example.com"),
            ("example.com:443", "wss://example.com", "ws://example.com"),
            ("10.0.0.0/8:80", "ws://10.0.0.1", "wss://10.0.0.1"),
            ("[fd00::1]:80", "ws://[fd00::1]", "ws://[fd00::1]:81"),
        ] {
            assert!(covers(list, inside), "{list}: {inside}");
            assert!(!covers(list, outside), "{list}: {outside}");
        }
    }

    #[test]
    fn everything_and_nothing() {
        for url in ["wss://example.com", "ws://a:1", "wss://1.2.3.4", "ws://[fd00::1]"] {
            assert!(covers("*", url), "{url}");
            assert!(covers("x, *", url), "{url}");
            assert!(!covers("*:9", url), "{url}");
            assert!(covers("*:1, *:80, *:443", url), "{url}");
            for nothing in ["", " , ,", ".", ".:80"] {
                assert!(!covers(nothing, url), "{nothing:?} {url}");
            }
        }
    }

    #[test]
    fn this_machine_unless_wanted() {
        let target = Target::of(&Uri::from_static("ws://localhost:80")).unwrap();
        let mut bypass = Bypass::default();
        assert!(bypass.covers(&target));
        bypass.loopback = true;
        assert!(!bypass.covers(&target));
        bypass.add("localhost");
        assert!(bypass.covers(&target));
    }

    proptest::proptest! {
        #[test]
        fn no_list_and_no_host_panics(list in "[-a-z0-9.*:/,\\[\\] é]{0,40}", host in "[-a-z0-9.]{1,20}") {
            if let Ok(uri) = format!("ws://{host}/").parse() && let Some(target) = Target::of(&uri) {
                let mut bypass = Bypass::default();
                bypass.add(&list);
                bypass.covers(&target);
            }
        }
    }
}
