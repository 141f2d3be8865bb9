//! What a server answers to the handshake, whole. No secret of the request is shown, nothing is boundless, and whether it is
//! taken does not depend on how it is cut. `{accept}` in it is the right one.
#![no_main]

use http::Request;
use libfuzzer_sys::fuzz_target;
use tower::{Layer, ServiceExt};
use tower_ws_core::Causes;
use tower_ws_fuzz::{Peer, limits, run, shown};
use tower_ws_transport::{Subprotocols, TransportLayer};

/// In the request: a server may repeat them. A header has no such name.
const SECRETS: [&str; 3] = ["t0ken/of-a-header", "t0ken/of-the-query", "t0ken-as-subprotocol"];

fuzz_target!(|input: &[u8]| {
    let Some((&first, answer)) = input.split_first() else {
        return;
    };
    let mode = match first & 1 {
        0 => Subprotocols::Strict,
        _ => Subprotocols::Lenient,
    };
    let piece = usize::from(first >> 4) + 1;
    assert_eq!(
        dial(answer, mode, piece),
        dial(answer, mode, usize::MAX),
        "in pieces of {piece}"
    );
});

/// Whether it is taken.
fn dial(answer: &[u8], mode: Subprotocols, piece: usize) -> bool {
    let [header, query, subprotocol] = SECRETS;
    let layer = TransportLayer::new()
        .subprotocols(["mcp", subprotocol])
        .subprotocol_mode(mode)
        .limits(limits());
    let request = Request::get(format!("ws://server.example/path?{query}"))
        .header("authorization", header)
        .body(())
        .expect("it is right");
    let peer = Peer::new(answer, piece);
    let Err(error) = run(layer.layer(peer.connector()).oneshot(request)) else {
        return true;
    };
    let shown = shown(&error);
    assert!(!shown.contains(header) && !shown.contains(query), "{shown}");
    let text = Causes(&error).to_string();
    assert!(!text.contains(subprotocol), "{text}");
    false
}
