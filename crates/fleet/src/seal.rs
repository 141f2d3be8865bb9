//! How a credential lies in the database.

use std::{fmt, sync::Arc};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

/// How a credential is kept in the database. There is no default: it is a secret, and whoever reads
/// the table, or a backup of it, reads it too. This list is complete.
#[derive(Clone, Debug)]
pub enum Sealed {
    /// Sealed by a key that all processes have, and the database has not.
    With(Key),
    /// As it is.
    InTheClear,
}

/// The key by which credentials are sealed: ChaCha20-Poly1305 (RFC 8439), with a random nonce of 96
/// bits for each, which is good for thousands of millions of them. The names of the fleet and of the
/// token are sealed with it, so that no row can be put in the place of another.
#[derive(Clone)]
pub struct Key(Arc<LessSafeKey>);

impl Key {
    /// How long a key is: 32 bytes.
    pub const LEN: usize = 32;

    /// A key of these bytes, which have to come from a secure generator: `openssl rand 32`.
    pub fn new(bytes: &[u8; Self::LEN]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes);
        // Keys of this algorithm are 32 bytes long.
        Self(Arc::new(LessSafeKey::new(key.expect("it is as long as it has to be"))))
    }
}

/// It was sealed otherwise: by another key, under another name, or not at all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the credential in the database was sealed otherwise; give all processes the same key, or delete its row")]
pub(crate) struct Unsealable;

/// What stands before a secret, so that a sealed one and one in the clear are not taken for each
/// other.
const CLEAR: u8 = 0;
const SEALED: u8 = 1;

impl Sealed {
    pub(crate) fn seal(&self, name: &[u8], secret: &str) -> Result<Vec<u8>, Unsealable> {
        let mut out = Vec::with_capacity(1 + NONCE_LEN + secret.len() + CHACHA20_POLY1305.tag_len());
        let Self::With(Key(key)) = self else {
            out.push(CLEAR);
            out.extend_from_slice(secret.as_bytes());
            return Ok(out);
        };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Unsealable)?;
        out.push(SEALED);
        out.extend_from_slice(&nonce);
        let mut text = secret.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(name), &mut text)
            .map_err(|_| Unsealable)?;
        out.extend_from_slice(&text);
        Ok(out)
    }

    pub(crate) fn open(&self, name: &[u8], kept: &[u8]) -> Result<String, Unsealable> {
        let text = match (self, kept.split_first()) {
            (Self::InTheClear, Some((&CLEAR, text))) => text.to_vec(),
            (Self::With(Key(key)), Some((&SEALED, sealed))) => {
                let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
                let mut text = text.to_vec();
                let opened = key.open_in_place(nonce, Aad::from(name), &mut text);
                opened.map_err(|_| Unsealable)?.to_vec()
            }
            _ => return Err(Unsealable),
        };
        String::from_utf8(text).map_err(|_| Unsealable)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_under_the_same_name_and_nothing_else() {
        let key = |n| Sealed::With(Key::new(&[n; Key::LEN]));
        let kept = key(1).seal(b"a", "secret").unwrap();
        assert!(!kept.windows(6).any(|part| part == b"secret"));
        assert_eq!(key(1).open(b"a", &kept).unwrap(), "secret");
        assert_ne!(key(1).seal(b"a", "secret").unwrap(), kept, "a nonce for each");
        assert!(key(2).open(b"a", &kept).is_err() && key(1).open(b"b", &kept).is_err());
        for at in 0..kept.len() {
            let mut other = kept.clone();
            other[at] ^= 1;
            assert!(key(1).open(b"a", &other).is_err());
            assert!(key(1).open(b"a", &kept[..at]).is_err());
        }
        let clear = Sealed::InTheClear.seal(b"a", "secret").unwrap();
        assert_eq!(Sealed::InTheClear.open(b"a", &clear).unwrap(), "secret");
        // One is not taken for the other.
        assert!(key(1).open(b"a", &clear).is_err() && Sealed::InTheClear.open(b"a", &kept).is_err());
        assert_eq!(format!("{:?}", key(7)), "With(Key)");
    }
}
