//! Sealing and opening, for one connection. No I/O: for the layer, and for whoever plays the other
//! end.
//!
//! A sealed message is
//!
//! ```text
//! version (1) | number of the key (4) | number of the message (8) | ciphertext | tag (16)
//! ```
//!
//! with big-endian numbers. Up to the ciphertext it is authenticated besides. The key of a direction is derived from the
//! key of the ring and from what both sides contributed ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)), so it is
//! never that of another connection; the nonce is the number of the message, so under that key it never repeats
//! ([RFC 8439, section 2.8](https://www.rfc-editor.org/rfc/rfc8439#section-2.8)).

use std::fmt;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::KeyType,
};

use crate::{
    error::CryptoError,
    hello::{Both, Role, VERSION},
    keys::{Chosen, KeyRing},
};

const HEADER: usize = 1 + 4 + 8;
const TAG: usize = 16;

/// How many bytes a message grows by: 29.
pub const OVERHEAD: usize = HEADER + TAG;

/// How many messages one connection may seal: 2^48, far below what the cipher bears. At a million a
/// second it takes nine years.
pub const MAX_MESSAGES: u64 = 1 << 48;

/// Seals what goes out. [`Nonces::into_pair`](crate::Nonces::into_pair) makes it.
pub struct Sealer {
    keys: Derived,
    next: u64,
}

/// Opens what comes in. [`Nonces::into_pair`](crate::Nonces::into_pair) makes it.
pub struct Opener {
    keys: Derived,
    last: Option<u64>,
}

/// The keys of one direction of one connection.
struct Derived {
    ring: KeyRing,
    both: Both,
    from: Role,
    /// The one that was used last: its number, the ring's version then, and the key.
    cached: Option<(u32, u64, LessSafeKey)>,
}

impl Sealer {
    pub(crate) fn new(ring: KeyRing, both: Both, from: Role) -> Self {
        Self {
            keys: Derived::new(ring, both, from),
            next: 0,
        }
    }

    /// Seals a message.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Exhausted`].
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if self.next >= MAX_MESSAGES {
            return Err(CryptoError::Exhausted);
        }
        // The ring has a key to seal with at any time.
        let chosen = self.keys.ring.to_seal().ok_or(CryptoError::Exhausted)?;
        let number = chosen.number;
        let key = self.keys.derive(chosen)?;
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend(number.to_be_bytes());
        sealed.extend(self.next.to_be_bytes());
        sealed.extend(plain);
        let (header, text) = sealed.split_at_mut(HEADER);
        let tag = key
            .seal_in_place_separate_tag(nonce(self.next), Aad::from(&*header), text)
            // It fails only for more than 256 GiB.
            .map_err(|_| CryptoError::Exhausted)?;
        sealed.extend(tag.as_ref());
        self.next += 1;
        Ok(sealed)
    }

    /// Opens a message of this side's own, such as one that came back unsent.
    ///
    /// # Errors
    ///
    /// As [`Opener::open`], but that its number is not looked at.
    pub fn reopen(&mut self, sealed: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
        self.keys.open(sealed).map(|(_, plain)| plain)
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, next: u64) {
        self.next = next;
    }
}

impl Opener {
    pub(crate) fn new(ring: KeyRing, both: Both, from: Role) -> Self {
        Self {
            keys: Derived::new(ring, both, from),
            last: None,
        }
    }

    /// Opens a message.
    ///
    /// # Errors
    ///
    /// [`CryptoError`]: it is not what the peer has sealed for this place. Nothing of it is given
    /// out.
    pub fn open(&mut self, sealed: Vec<u8>) -> Result<Vec<u8>, CryptoError> {
        let (got, plain) = self.keys.open(sealed)?;
        // Only what is authentic moves the number on. Numbers may be left out: what was cancelled
        // is never sent.
        match self.last {
            Some(last) if got <= last => Err(CryptoError::Replayed { got, last }),
            _ => {
                self.last = Some(got);
                Ok(plain)
            }
        }
    }
}

impl Derived {
    fn new(ring: KeyRing, both: Both, from: Role) -> Self {
        Self {
            ring,
            both,
            from,
            cached: None,
        }
    }

    fn derive(&mut self, chosen: Chosen) -> Result<&LessSafeKey, CryptoError> {
        let Chosen { number, version, key } = chosen;
        let is_cached = matches!(&self.cached, Some((cached, at, _)) if (*cached, *at) == (number, version));
        if !is_cached {
            let direction = match self.from {
                Role::Client => b"client",
                Role::Server => b"server",
            };
            let secret = key.extract(&self.both);
            let derived = secret
                .expand(&[b"tower-ws-crypto 1", direction], &CHACHA20_POLY1305)
                .map(UnboundKey::from)
                // It fails only for outputs of more than 8,160 bytes.
                .map_err(|_| CryptoError::UnknownKey(number))?;
            self.cached = Some((number, version, LessSafeKey::new(derived)));
        }
        // It has just been put there.
        self.cached
            .as_ref()
            .map(|(.., key)| key)
            .ok_or(CryptoError::UnknownKey(number))
    }

    /// The number of a message, and what was sealed.
    fn open(&mut self, mut sealed: Vec<u8>) -> Result<(u64, Vec<u8>), CryptoError> {
        let (header, _) = sealed.split_first_chunk::<HEADER>().ok_or(CryptoError::Format)?;
        let [version, number @ .., _, _, _, _, _, _, _, _] = *header;
        let [_, _, _, _, _, count @ ..] = *header;
        let (number, count) = (u32::from_be_bytes(number), u64::from_be_bytes(count));
        if version != VERSION || sealed.len() < OVERHEAD {
            return Err(CryptoError::Format);
        }
        let aad = Aad::from(*header);
        let chosen = self.ring.to_open(number).ok_or(CryptoError::UnknownKey(number))?;
        let key = self.derive(chosen)?;
        let length = key
            .open_within(nonce(count), aad, &mut sealed, HEADER..)
            .map_err(|_| CryptoError::NotAuthentic)?
            .len();
        // What was opened begins where the message began.
        sealed.truncate(length);
        Ok((count, sealed))
    }
}

fn nonce(count: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

// The size of the derived key is that of the cipher's.
const _: fn() = || {
    fn is_key_type<K: KeyType>() {}
    is_key_type::<&'static ring::aead::Algorithm>();
};

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{hello::Hello, keys::Key};

    fn ring(byte: u8) -> KeyRing {
        KeyRing::new(1, Key::try_from_slice(&[byte; 32]).unwrap())
    }

    /// What the client has of a connection, and what the server.
    fn ends(ours: KeyRing, theirs: KeyRing) -> ((Sealer, Opener), (Sealer, Opener)) {
        let (client, server) = (Hello::new(Role::Client).unwrap(), Hello::new(Role::Server).unwrap());
        let (said, heard) = (client.to_bytes(), server.to_bytes());
        let (client, server) = (client.meet(&heard).unwrap(), server.meet(&said).unwrap());
        (client.into_pair(ours), server.into_pair(theirs))
    }

    /// A sealer of the client's, and the server's opener.
    fn pair() -> (Sealer, Opener) {
        let ((sealer, _), (_, opener)) = ends(ring(7), ring(7));
        (sealer, opener)
    }

    #[test]
    fn what_is_sealed_is_opened_in_order() {
        let (mut sealer, mut opener) = pair();
        for n in 0..100u8 {
            let plain = vec![n; n.into()];
            let sealed = sealer.seal(&plain).unwrap();
            assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            assert_eq!(opener.open(sealed).unwrap(), plain);
        }
    }

    #[test]
    fn each_changed_bit_is_noticed() {
        let (mut sealer, mut opener) = pair();
        let sealed = sealer.seal(b"pay 10").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open(changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(opener.open(sealed[..length].to_vec()).is_err(), "{length} bytes");
        }
        assert_eq!(
            opener.open(sealed).unwrap(),
            b"pay 10",
            "and none of that moved the number on"
        );
    }

    #[test]
    fn replays_other_orders_reflections_and_other_connections_are_refused() {
        let ((mut sealer, mut own), (_, mut opener)) = ends(ring(7), ring(7));
        let (first, second) = (sealer.seal(b"1").unwrap(), sealer.seal(b"2").unwrap());
        opener.open(second.clone()).unwrap();
        assert_eq!(
            opener.open(second.clone()),
            Err(CryptoError::Replayed { got: 1, last: 1 })
        );
        assert_eq!(
            opener.open(first.clone()),
            Err(CryptoError::Replayed { got: 0, last: 1 })
        );
        // Sent back to the one who sealed it.
        assert_eq!(own.open(first.clone()), Err(CryptoError::NotAuthentic));
        // Recorded, and sent on a later connection.
        let (_, mut later) = pair();
        assert_eq!(later.open(first.clone()), Err(CryptoError::NotAuthentic));
        assert_eq!(sealer.reopen(first).unwrap(), b"1");
        // By somebody who has another key of this number.
        let ((mut sealer, _), (_, mut opener)) = ends(ring(7), ring(8));
        let sealed = sealer.seal(b"1").unwrap();
        assert_eq!(opener.open(sealed), Err(CryptoError::NotAuthentic));
    }

    /// Another thread changes the keys, and retires each old one, while this one seals.
    #[test]
    fn keys_may_change_between_any_two_steps() {
        let key = |n: u32| Key::try_from_slice(&n.to_be_bytes().repeat(8)).unwrap();
        let shared = KeyRing::new(0, key(0));
        let ((mut sealer, _), _) = ends(shared.clone(), shared.clone());
        std::thread::scope(|scope| {
            let sealing = scope.spawn(move || (0..200_000).find_map(|_| sealer.seal(b"x").err()));
            for n in 0.. {
                if sealing.is_finished() {
                    break;
                }
                shared.add(n + 1, key(n + 1));
                shared.seal_with(n + 1).unwrap();
                shared.retire(n).unwrap();
            }
            assert_eq!(sealing.join().unwrap(), None);
        });
    }

    #[test]
    fn keys_change_while_the_connection_is_up() {
        let (ours, theirs) = (ring(7), ring(7));
        let ((mut sealer, _), (_, mut opener)) = ends(ours.clone(), theirs.clone());
        opener.open(sealer.seal(b"old").unwrap()).unwrap();
        let new = Key::try_from_slice(&[9; 32]).unwrap();
        ours.add(2, new.clone());
        ours.seal_with(2).unwrap();
        assert_eq!(
            opener.open(sealer.seal(b"early").unwrap()),
            Err(CryptoError::UnknownKey(2))
        );
        theirs.add(2, new);
        assert_eq!(opener.open(sealer.seal(b"new").unwrap()).unwrap(), b"new");
        ours.seal_with(1).unwrap();
        let late = sealer.seal(b"late").unwrap();
        theirs.seal_with(2).unwrap();
        theirs.retire(1).unwrap();
        assert_eq!(opener.open(late), Err(CryptoError::UnknownKey(1)));
        assert_eq!(theirs.retire(2), Err(crate::KeyError::InUse(2)));
        assert_eq!(theirs.seal_with(3), Err(crate::KeyError::Unknown(3)));
    }

    #[test]
    fn numbers_end_before_they_repeat() {
        let (mut sealer, mut opener) = pair();
        sealer.skip_to(MAX_MESSAGES - 1);
        opener.open(sealer.seal(b"the last").unwrap()).unwrap();
        assert_eq!(sealer.seal(b"one more"), Err(CryptoError::Exhausted));
    }

    #[test]
    fn two_clients_do_not_meet() {
        let client = || Hello::new(Role::Client).unwrap();
        assert_eq!(client().meet(&client().to_bytes()).unwrap_err(), CryptoError::Role);
        for odd in [&b""[..], b"\x01", &[1; 33], &[1; 35], &[9; 34]] {
            assert_eq!(client().meet(odd).unwrap_err(), CryptoError::Format);
        }
    }

    #[test]
    fn a_key_has_its_length_and_is_not_shown() {
        assert_eq!(
            Key::try_from_slice(b"password").unwrap_err(),
            crate::KeyError::Length(8)
        );
        assert_eq!(format!("{:?}", ring(7)), "KeyRing { sealing: 1, numbers: [1] }");
    }

    proptest! {
        #[test]
        fn any_bytes_survive(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let (mut sealer, mut opener) = pair();
            for message in messages {
                let sealed = sealer.seal(&message).unwrap();
                prop_assert!(message.len() < 8 || !sealed.windows(message.len()).any(|part| part == message));
                prop_assert_eq!(opener.open(sealed).unwrap(), message);
            }
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let (_, mut opener) = pair();
            prop_assert!(opener.open(bytes).is_err());
        }
    }
}
