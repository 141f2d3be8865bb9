use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ring::hkdf;

use crate::error::KeyError;

/// A key: 32 random bytes that both sides have, from a secure generator.
#[derive(Clone)]
pub struct Key(Arc<hkdf::Salt>);

impl Key {
    /// How long a key is, in bytes.
    pub const LENGTH: usize = 32;

    /// A key of 32 bytes. They are not kept: what is derived from them is.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`].
    pub fn try_from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            Self::LENGTH => Ok(Self(Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, bytes)))),
            other => Err(KeyError::Length(other)),
        }
    }

    /// The secret of one connection: the key, and what both sides contributed.
    pub(crate) fn extract(&self, fresh: &[u8]) -> hkdf::Prk {
        // With the key as HMAC's key and the fresh part as its input this is a PRF under the key
        // (RFC 5869, section 2.2).
        self.0.extract(fresh)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The keys of an application, by number: one to seal with, some to open with. Clones share them,
/// and so do all connections; a change holds from the next message on.
///
/// To change keys while connections are up: [add](Self::add) the new one on both sides,
/// [use](Self::seal_with) it on both sides, then [retire](Self::retire) the old one on both sides.
///
/// ```
/// use tower_ws_crypto::{Key, KeyRing};
///
/// let ring = KeyRing::new(1, Key::try_from_slice(&[7; 32])?);
/// ring.add(2, Key::try_from_slice(&[8; 32])?);
/// ring.seal_with(2)?;
/// ring.retire(1)?;
/// # Ok::<_, tower_ws_crypto::KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing(Arc<Mutex<Ring>>);

/// A key, as the ring had it at one moment: taken apart, another thread could retire the key between
/// its number and itself.
pub(crate) struct Chosen {
    pub(crate) number: u32,
    /// How often the ring had been changed.
    pub(crate) version: u64,
    pub(crate) key: Key,
}

struct Ring {
    /// The number that is sealed with; its key is there.
    sealing: u32,
    keys: BTreeMap<u32, Key>,
    /// Counts the changes, so that what was derived before is known to be old.
    version: u64,
}

impl Ring {
    fn choose(&self, number: u32) -> Option<Chosen> {
        Some(Chosen {
            number,
            version: self.version,
            key: self.keys.get(&number)?.clone(),
        })
    }
}

impl KeyRing {
    /// A ring with one key.
    pub fn new(number: u32, key: Key) -> Self {
        Self(Arc::new(Mutex::new(Ring {
            sealing: number,
            keys: BTreeMap::from([(number, key)]),
            version: 0,
        })))
    }

    /// Adds a key to open with, or replaces the one of this number.
    pub fn add(&self, number: u32, key: Key) {
        let mut ring = self.lock();
        ring.keys.insert(number, key);
        ring.version += 1;
    }

    /// Seals with this key from now on.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unknown`].
    pub fn seal_with(&self, number: u32) -> Result<(), KeyError> {
        let mut ring = self.lock();
        if !ring.keys.contains_key(&number) {
            return Err(KeyError::Unknown(number));
        }
        ring.sealing = number;
        ring.version += 1;
        Ok(())
    }

    /// Opens nothing with this key any more.
    ///
    /// # Errors
    ///
    /// [`KeyError::InUse`] for the one that is sealed with.
    pub fn retire(&self, number: u32) -> Result<(), KeyError> {
        let mut ring = self.lock();
        if ring.sealing == number {
            return Err(KeyError::InUse(number));
        }
        ring.keys.remove(&number);
        ring.version += 1;
        Ok(())
    }

    /// The key to seal with now.
    pub(crate) fn to_seal(&self) -> Option<Chosen> {
        let ring = self.lock();
        ring.choose(ring.sealing)
    }

    /// The key of this number now.
    pub(crate) fn to_open(&self, number: u32) -> Option<Chosen> {
        self.lock().choose(number)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.lock();
        f.debug_struct("KeyRing")
            .field("sealing", &ring.sealing)
            .field("numbers", &ring.keys.keys().collect::<Vec<_>>())
            .finish()
    }
}
