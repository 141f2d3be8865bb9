//! How the two sides begin: each contributes something fresh, so that no connection has the keys of
//! another.

use crate::{
    error::CryptoError,
    keys::KeyRing,
    seal::{Opener, Sealer},
};

/// Which side this is. The two must differ, so that what one has sent is not taken for the other's.
/// This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The side that dials.
    Client,
    /// The side that accepts.
    Server,
}

/// The first message of a side, in clear: the version of the format, its role, 32 random bytes.
///
/// It is good for one connection, and so can be neither copied nor [met](Self::meet) twice:
///
/// ```compile_fail
/// use tower_ws_crypto::{Hello, Role};
///
/// let hello = Hello::new(Role::Server).unwrap();
/// let once = hello.meet(b"theirs");
/// let twice = hello.meet(b"theirs");
/// ```
#[derive(Debug)]
pub struct Hello {
    role: Role,
    fresh: [u8; Self::FRESH],
}

/// What both sides contributed. Nothing secret, but good for one [pair](Self::into_pair): two sealers with
/// the same would use the same key stream, from which both their messages can be read. So it cannot be
/// copied.
///
/// ```compile_fail
/// use tower_ws_crypto::{KeyRing, Nonces};
///
/// fn two(nonces: Nonces, ring: KeyRing) {
///     let one = nonces.into_pair(ring.clone());
///     let other = nonces.into_pair(ring);
/// }
/// ```
#[derive(Debug)]
pub struct Nonces {
    role: Role,
    both: Both,
}

/// The client's random bytes, and the server's.
pub(crate) type Both = [u8; 2 * Hello::FRESH];

pub(crate) const VERSION: u8 = 1;

impl Hello {
    const FRESH: usize = 32;

    /// How long it is, in bytes.
    pub const LENGTH: usize = 2 + Self::FRESH;

    /// The hello of a new connection.
    ///
    /// # Errors
    ///
    /// If the system has no randomness to give: then no connection can be secured.
    pub fn new(role: Role) -> Result<Self, getrandom::Error> {
        let mut fresh = [0; Self::FRESH];
        getrandom::fill(&mut fresh)?;
        Ok(Self { role, fresh })
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let role = match self.role {
            Role::Client => 0,
            Role::Server => 1,
        };
        [&[VERSION, role][..], &self.fresh].concat()
    }

    /// Reads the peer's, and puts both together. Its own [bytes](Self::to_bytes) are to be sent before.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Format`], or [`CryptoError::Role`] if the peer has our own.
    pub fn meet(self, theirs: &[u8]) -> Result<Nonces, CryptoError> {
        let (&[version, role], fresh) = theirs.split_first_chunk().ok_or(CryptoError::Format)?;
        let theirs: &[u8; Self::FRESH] = fresh.try_into().map_err(|_| CryptoError::Format)?;
        let (expected, first, second) = match self.role {
            Role::Client => (1, &self.fresh, theirs),
            Role::Server => (0, theirs, &self.fresh),
        };
        match (version, role) {
            (VERSION, role) if role == expected => {}
            (VERSION, 0 | 1) => return Err(CryptoError::Role),
            _ => return Err(CryptoError::Format),
        }
        let mut both = [0; 2 * Self::FRESH];
        both[..Self::FRESH].copy_from_slice(first);
        both[Self::FRESH..].copy_from_slice(second);
        Ok(Nonces { role: self.role, both })
    }
}

impl Nonces {
    /// What seals and what opens the messages of this connection, with the keys of a ring.
    pub fn into_pair(self, ring: KeyRing) -> (Sealer, Opener) {
        let theirs = match self.role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let sealer = Sealer::new(ring.clone(), self.both, self.role);
        (sealer, Opener::new(ring, self.both, theirs))
    }
}
