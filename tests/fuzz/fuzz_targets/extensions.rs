//! What a server chooses of the extensions offered. Whatever is taken was offered, and then it is spoken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_ws_core::{Failure, FailureKind};
use tower_ws_fuzz::{Peer, listen, upgraded};
use tower_ws_transport::{
    Kind,
    sockudo::{Deflate, Sockudo},
};

/// "Hello" as RFC 7692, section 7.2.3.1, has it.
const HELLO: &[u8] = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";

fuzz_target!(|input: &[u8]| {
    let Some((&first, chosen)) = input.split_first() else {
        return;
    };
    if http::HeaderValue::from_bytes(chosen).is_err() {
        return;
    }
    let forget = first & 1 == 1;
    let deflate = match forget {
        true => Deflate::new().no_context_takeover(),
        false => Deflate::new(),
    };
    let header = [b"sec-websocket-extensions: ", chosen].concat();
    let peer = Peer::new(upgraded(&header, HELLO), usize::MAX);
    match (listen(Sockudo::new().deflate(deflate), peer), agreed(chosen, forget)) {
        (Ok(told), Some(true)) => assert_eq!(told.messages, [(Kind::Text, b"Hello".to_vec())]),
        (Ok(told), Some(false)) => assert_eq!(told.messages, [], "nobody agreed to compress"),
        (Err(error), None) => assert_eq!(Failure::of(error).kind(), FailureKind::Handshake),
        (taken, agreed) => panic!("taken {taken:?}, by the RFC {agreed:?}"),
    }
});

/// By the RFC, read in the plainest way: `None` if the choice is none that was offered, whether it is to compress otherwise.
fn agreed(chosen: &[u8], forget: bool) -> Option<bool> {
    let chosen = std::str::from_utf8(chosen).ok().filter(|chosen| chosen.is_ascii())?;
    let mut elements = chosen.split(',').map(str::trim).filter(|element| !element.is_empty());
    let Some(element) = elements.next() else {
        return Some(false);
    };
    let mut parameters: Vec<_> = element
        .split(';')
        .map(|part| match part.split_once('=') {
            Some((name, value)) => format!("{}={}", name.trim(), value.trim()),
            None => part.trim().to_owned(),
        })
        .collect();
    let name = parameters.remove(0);
    parameters.sort();
    let doubled = parameters
        .windows(2)
        .any(|pair| pair[0].split('=').next() == pair[1].split('=').next());
    let known = |parameter: &String| {
        let bits = ["server_max_window_bits=", "client_max_window_bits="]
            .iter()
            .find_map(|name| parameter.strip_prefix(name))
            .map(|bits| {
                bits.strip_prefix('"')
                    .and_then(|bits| bits.strip_suffix('"'))
                    .unwrap_or(bits)
            });
        match bits {
            Some(bits) => (8..=15).any(|number| number.to_string() == bits),
            None => ["server_no_context_takeover", "client_no_context_takeover"].contains(&&**parameter),
        }
    };
    let remembers = forget
        && !parameters
            .iter()
            .any(|parameter| parameter == "server_no_context_takeover");
    let is_fine = name.eq_ignore_ascii_case("permessage-deflate")
        && elements.next().is_none()
        && !doubled
        && parameters.iter().all(known)
        && !remembers;
    is_fine.then_some(true)
}
