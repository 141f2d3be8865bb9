//! URLs, of servers and of proxies. What is taken a browser reads as the same place: a filter that read another would be none.
#![no_main]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use tower_ws_connector::{WsUrl, proxy::Proxies};
use tower_ws_fuzz::shown;
use url::Url;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match text.parse::<WsUrl>() {
        Ok(url) => check(text, &url),
        Err(error) => drop(shown(&error)),
    }
    proxies(text);
});

fn check(text: &str, url: &WsUrl) {
    let same = WsUrl::try_from(url.uri().clone());
    assert_eq!(same.as_ref(), Ok(url), "it is what it was");
    let Ok(read) = Url::parse(text) else {
        // It refuses names of another alphabet that say nothing in it. They are asked for in the DNS, in vain.
        return assert!(
            url.host().to_ascii_lowercase().contains("xn--"),
            "{text:?} is no url to a browser"
        );
    };
    let host = read.host_str().expect("ws has a host");
    assert!(
        host.eq_ignore_ascii_case(url.host()) || is_ipv6(host, url.host()),
        "{host} {}",
        url.host()
    );
    assert_eq!(read.port_or_known_default(), Some(url.port()), "{text:?}");
    assert_eq!(read.scheme() == "wss", url.is_secure());
    let dial = url.dial().expect("no such url is known");
    assert_eq!(dial.host(), Some(url.host()));
    let query = url.uri().query().unwrap_or_default();
    let redacted = url.redacted().to_string();
    assert!(query.is_empty() || !redacted.contains('?'), "{redacted}");
}

/// A browser writes the shortest form.
fn is_ipv6(one: &str, other: &str) -> bool {
    let ip = |text: &str| {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<std::net::Ipv6Addr>()
            .ok()
    };
    ip(one).is_some() && ip(one) == ip(other)
}

/// A proxy's URL, and the list of what is dialled without it.
fn proxies(text: &str) {
    let (url, list) = text.split_once('\n').unwrap_or((text, ""));
    let target = Uri::from_static("wss://server.example/");
    match Proxies::all(url) {
        Ok(proxies) => {
            assert!(proxies.are_for(&target));
            let shown = format!("{:?}", proxies.except(list));
            assert!(!shown.contains('@'), "{shown}");
        }
        Err(error) => drop(shown(&error)),
    }
}
