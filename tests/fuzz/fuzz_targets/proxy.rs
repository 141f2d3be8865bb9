//! What a proxy answers, HTTP and SOCKS5. Of what comes through the tunnel not a byte is lost, and no password is shown.
#![no_main]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use tower::{Layer, ServiceExt};
use tower_ws_connector::proxy::{Proxies, ProxyLayer};
use tower_ws_fuzz::{Peer, run, shown};

const PASSWORD: &str = "passw0rd";

fuzz_target!(|input: &[u8]| {
    let Some((&first, answers)) = input.split_first() else {
        return;
    };
    let scheme = ["http", "socks5h"][usize::from(first & 1)];
    let user = if first & 2 == 0 { "" } else { "user:passw0rd@" };
    let proxies = Proxies::all(&format!("{scheme}://{user}proxy.example:3128")).expect("it is a url");
    let piece = if first & 4 == 0 {
        usize::MAX
    } else {
        usize::from(first >> 4) + 1
    };
    let target = Uri::from_static("http://server.example:8080/");
    let dial = ProxyLayer::new(proxies).layer(Peer::new(answers, piece).connector());
    match run(dial.oneshot(target)) {
        Ok(io) if scheme == "socks5h" => {
            let tunnel = tunnel(answers, !user.is_empty()).expect("the proxy said yes");
            assert_eq!(io.into_inner().unsaid(), tunnel);
        }
        Ok(io) => {
            assert!(answers.starts_with(b"HTTP/1."));
            // hyper reads up to the end of the answer, and perhaps more: then it is refused.
            assert!(io.into_inner().unsaid().len() < answers.len());
        }
        Err(error) => {
            let shown = shown(&*error);
            assert!(!shown.contains(PASSWORD), "{shown}");
        }
    }
});

/// What is behind the yes of a SOCKS5 proxy, by RFC 1928.
fn tunnel(answers: &[u8], credentials: bool) -> Option<&[u8]> {
    let rest = match answers {
        [5, 0, rest @ ..] => rest,
        [5, 2, 1, 0, rest @ ..] if credentials => rest,
        _ => return None,
    };
    let [5, 0, _, kind, rest @ ..] = rest else { return None };
    let (length, rest) = match (kind, rest) {
        (1, rest) => (4, rest),
        (4, rest) => (16, rest),
        (3, [length, rest @ ..]) => (usize::from(*length), rest),
        _ => return None,
    };
    rest.get(length + 2..)
}
