use bytes::Bytes;

/// How a message is written down as bytes, by whoever keeps it beyond the life of the process.
///
/// [`Verbatim`] does it for plain texts and bytes; a transport brings what its own messages need.
/// What was packed by one version of a program is unpacked by the next, so the form must stay
/// readable.
pub trait Pack<M> {
    /// The message as bytes; `None` if it is of a kind that makes no sense later, such as a ping.
    fn pack(&self, message: &M) -> Option<Bytes>;

    /// The message that these bytes are; `None` if they are none.
    fn unpack(&self, bytes: Bytes) -> Option<M>;
}

/// Writes texts and byte strings down as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verbatim;

impl Pack<String> for Verbatim {
    fn pack(&self, message: &String) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(message.as_bytes()))
    }

    fn unpack(&self, bytes: Bytes) -> Option<String> {
        String::from_utf8(bytes.into()).ok()
    }
}

impl Pack<Vec<u8>> for Verbatim {
    fn pack(&self, message: &Vec<u8>) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(message))
    }

    fn unpack(&self, bytes: Bytes) -> Option<Vec<u8>> {
        Some(bytes.into())
    }
}

impl Pack<Bytes> for Verbatim {
    fn pack(&self, message: &Bytes) -> Option<Bytes> {
        Some(message.clone())
    }

    fn unpack(&self, bytes: Bytes) -> Option<Bytes> {
        Some(bytes)
    }
}
