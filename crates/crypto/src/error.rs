use tower_ws_core::{Disposition, Failure, FailureKind};

/// Why a message was refused. None of them quotes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// It was changed on the way, or sealed with another key of the same number, or for the other
    /// direction.
    #[error("a message could not be opened: it was changed on the way, or the peer has another key of this number")]
    NotAuthentic,
    /// It is one that has come before, or has been passed by a later one.
    #[error("message {got} came after message {last}: it was replayed, or put into another order")]
    Replayed {
        /// Its number.
        got: u64,
        /// The highest number so far.
        last: u64,
    },
    /// It was sealed with a key that this side does not have, or has no more.
    #[error(
        "a message was sealed with key {0}, which this side does not have: add it to the ring first, then let the peer use it"
    )]
    UnknownKey(u32),
    /// It is of another version of the format, or too short.
    #[error("a message is none of this format: does the peer encrypt, with the same version?")]
    Format,
    /// It was not encrypted.
    #[error("the peer sent a message that is not encrypted")]
    Plaintext,
    /// The peer introduced itself in the role that this side has: it may be our own echo.
    #[error("the peer has the role of this side: one of the two must be the client, the other the server")]
    Role,
    /// So many messages have been sealed that the connection must be opened anew.
    #[error("the connection has sealed as many messages as are allowed: a new one begins with fresh keys")]
    Exhausted,
}

impl From<CryptoError> for Failure {
    /// The peer broke the protocol, as it seems: try again, each time later. Final it is not, or
    /// whoever can change one byte on the way could end the session for good.
    fn from(error: CryptoError) -> Self {
        Self::new(FailureKind::Protocol, "the encrypted connection cannot go on")
            .with_disposition(Disposition::Backoff)
            .with_source(error)
    }
}

/// Why a key is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key has 32 bytes.
    #[error("a key has 32 bytes, and this has {0}: take them from a secure generator, not from a password")]
    Length(usize),
    /// Nothing can be sealed with a key that the ring does not have.
    #[error("key {0} is not in the ring: add it first")]
    Unknown(u32),
    /// The key that is used for sealing cannot be taken out.
    #[error("key {0} is in use: let another take its place first")]
    InUse(u32),
}
