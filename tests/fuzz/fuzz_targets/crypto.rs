//! Sealed messages, changed on their way. What was sealed is opened once and in order; nothing else ever is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_ws_crypto::{Hello, Key, KeyRing, Opener, Role, Sealer};

fuzz_target!(|input: &[u8]| {
    let hello = Hello::new(Role::Client).expect("there is randomness");
    if hello.meet(input).is_ok() {
        assert_eq!((input.len(), &input[..2]), (Hello::LENGTH, &[1, 1][..]));
    }
    let (mut sealer, mut opener) = pair();
    let sealed: Vec<_> = [
        &b"one"[..],
        b"",
        b"three, and longer than a block of sixty-four bytes, which some are, too",
    ]
    .map(|plain| (plain, sealer.seal(plain).expect("there are numbers left")))
    .into();
    let mut last = None;
    let mut input = input;
    // A byte says which message, and how many bytes of it are changed; then come places and changes.
    while let [first, rest @ ..] = input {
        let number = usize::from(first % 4);
        let (changes, rest) = rest.split_at(rest.len().min(2 * usize::from(first >> 4)));
        let Some((plain, sealed)) = sealed.get(number) else {
            assert!(opener.open(rest.to_vec()).is_err(), "nobody sealed this");
            break;
        };
        let mut changed = sealed.clone();
        for change in changes.chunks(2) {
            match change {
                [at, change] => {
                    let at = usize::from(*at) % changed.len();
                    changed[at] ^= change;
                }
                [cut, ..] => changed.truncate(usize::from(*cut)),
                [] => {}
            }
            if changed.is_empty() {
                break;
            }
        }
        let is_next = last.is_none_or(|last| last < number);
        match opener.open(changed.clone()) {
            Ok(opened) => {
                assert!(changed == *sealed && is_next, "{number} after {last:?}");
                assert_eq!(opened, *plain);
                last = Some(number);
            }
            Err(error) => assert!(changed != *sealed || !is_next, "{error}"),
        }
        input = rest;
    }
});

/// What the client seals with, and what the server opens with.
fn pair() -> (Sealer, Opener) {
    let ring = || KeyRing::new(1, Key::try_from_slice(&[7; 32]).expect("it is long enough"));
    let hello = |role| Hello::new(role).expect("there is randomness");
    let (client, server) = (hello(Role::Client), hello(Role::Server));
    let (said, heard) = (client.to_bytes(), server.to_bytes());
    let (sealer, _) = client.meet(&heard).expect("it is a hello").into_pair(ring());
    let (_, opener) = server.meet(&said).expect("it is a hello").into_pair(ring());
    (sealer, opener)
}
