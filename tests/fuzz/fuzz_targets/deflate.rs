//! Frames of a server that agreed to compress. However they are cut the same comes up, and never more than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_ws_fuzz::{Peer, listen, upgraded};
use tower_ws_transport::sockudo::{Deflate, Sockudo};

fuzz_target!(|input: &[u8]| {
    let Some((&first, frames)) = input.split_first() else {
        return;
    };
    let forgets = first & 1 == 1;
    let header: &[u8] = match forgets {
        false => b"sec-websocket-extensions: permessage-deflate",
        true => b"sec-websocket-extensions: permessage-deflate; server_no_context_takeover",
    };
    let answer = upgraded(header, frames);
    let framing = Sockudo::new().deflate(Deflate::new());
    let read = |piece| listen(framing, Peer::new(answer.clone(), piece)).expect("the answer is right");
    let piece = usize::from(first >> 4) + 1;
    assert_eq!(read(piece), read(usize::MAX), "in pieces of {piece}");
});
