use bytes::Bytes;

use super::pack::Verbatim;

/// How bytes that mean nothing to a transport travel as its messages: sealed ones, say.
pub trait Carry<M> {
    /// The message that carries these bytes.
    fn carry(&self, bytes: Bytes) -> M;

    /// The bytes that a message carries.
    ///
    /// # Errors
    ///
    /// The message, if it carries none.
    fn carried(&self, message: M) -> Result<Bytes, M>;
}

impl Carry<Bytes> for Verbatim {
    fn carry(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    fn carried(&self, message: Bytes) -> Result<Bytes, Bytes> {
        Ok(message)
    }
}

impl Carry<Vec<u8>> for Verbatim {
    fn carry(&self, bytes: Bytes) -> Vec<u8> {
        bytes.into()
    }

    fn carried(&self, message: Vec<u8>) -> Result<Bytes, Vec<u8>> {
        Ok(message.into())
    }
}
