//! How the two sides begin: each contributes something fresh, so that no connection has the keys of
//! another.

use crate::error::CryptoError;

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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hello {
    role: Role,
    fresh: [u8; Self::FRESH],
}

/// What both sides contributed. Nothing secret.
#[derive(Clone, Copy, Debug)]
pub struct Nonces {
    pub(crate) role: Role,
    pub(crate) both: [u8; 2 * Hello::FRESH],
}

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

    /// Reads the peer's, and puts both together.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Format`], or [`CryptoError::Role`] if the peer has our own.
    pub fn meet(&self, theirs: &[u8]) -> Result<Nonces, CryptoError> {
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
