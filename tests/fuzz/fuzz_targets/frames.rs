//! What a server sends once the handshake is done. However it is cut, the same comes up, and both framings read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_ws_fuzz::{Peer, Told, listen, upgraded};
use tower_ws_transport::{Framing, Tungstenite, sockudo::Sockudo};

fuzz_target!(|input: &[u8]| {
    let Some((&piece, frames)) = input.split_first() else {
        return;
    };
    let piece = usize::from(piece % 16) + 1;
    assert_eq!(read(Tungstenite, frames, piece), read(Sockudo::new(), frames, piece));
});

fn read(framing: impl Framing + Clone + Send + Sync + 'static, frames: &[u8], piece: usize) -> Told {
    let answer = upgraded(b"", frames);
    let read = |piece| listen(framing.clone(), Peer::new(answer.clone(), piece)).expect("the answer is right");
    let whole = read(usize::MAX);
    assert_eq!(read(piece), whole, "in pieces of {piece}");
    whole
}
