//! What layers may know of a message: how large it is, how it is written down, how bytes travel as
//! one, how to ask the peer whether it is there.
//!
//! Each question is a trait with a default that answers it for texts, for byte strings and for the
//! messages of a transport. A type of message of your own implements them for the defaults
//! ([`Length`], [`Verbatim`], [`Ping`]), or a layer is given something else that answers.

use bytes::Bytes;

/// The size and the kind of a message.
///
/// [`Length`] is the default of every layer. Closures that return the size implement it as well.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot measure messages of type `{M}`",
    note = "give the layer a closure from `&{M}` to its bytes, by `.measure(…)`"
)]
pub trait Measure<M> {
    /// How many bytes of payload the message has. Framing is not counted.
    fn bytes(&self, message: &M) -> usize;

    /// What kind of message it is, for metric labels: one of a few fixed words.
    fn kind(&self, message: &M) -> &'static str {
        let _ = message;
        "message"
    }
}

/// How a message is written down as bytes, to be kept beyond the life of the process or to be
/// sealed.
///
/// [`Verbatim`] is the default. What was packed by one version of a program is unpacked by the
/// next, so the form must stay readable.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot write down messages of type `{M}`",
    note = "give the layer a `Pack<{M}>` of your own, by `.pack(…)`"
)]
pub trait Pack<M> {
    /// The message as bytes; `None` if it is of a kind that makes no sense later, such as a ping.
    fn pack(&self, message: &M) -> Option<Bytes>;

    /// The message that these bytes are; `None` if they are none.
    fn unpack(&self, bytes: Bytes) -> Option<M>;
}

/// How bytes that mean nothing to a transport travel as its messages: sealed ones, say.
///
/// [`Verbatim`] is the default.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry bytes as messages of type `{M}`",
    note = "give the layer a `Carry<{M}>` of your own, by `.pack(…)`"
)]
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

/// How to ask a peer whether it is there, and how to know its answer.
///
/// [`Ping`] is the default: the question that a transport's own protocol has. An application's
/// protocol may have one of its own.
#[diagnostic::on_unimplemented(
    message = "messages of type `{M}` have no ping that `{Self}` could send",
    note = "give the layer a question of your protocol, by `.probe(…)`"
)]
pub trait Probe<M> {
    /// A message that the peer answers at once. `nonce` comes back in the answer, so that one that
    /// nobody asked for is not taken for it.
    fn probe(&self, nonce: u64) -> M;

    /// The nonce of the answer that this message is; `None` if it is none.
    fn answer(&self, message: &M) -> Option<u64>;
}

/// Measures texts, byte strings and the messages of a transport by their payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Length;

/// Writes texts, byte strings and the messages of a transport down as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verbatim;

/// Asks by the ping of the transport's own protocol. Plain texts and byte strings have none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ping;

#[diagnostic::do_not_recommend]
impl<M, F: Fn(&M) -> usize> Measure<M> for F {
    fn bytes(&self, message: &M) -> usize {
        self(message)
    }
}

// === Texts ===

impl Measure<String> for Length {
    fn bytes(&self, message: &String) -> usize {
        message.len()
    }
}

impl Pack<String> for Verbatim {
    fn pack(&self, message: &String) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(message.as_bytes()))
    }

    fn unpack(&self, bytes: Bytes) -> Option<String> {
        String::from_utf8(bytes.into()).ok()
    }
}

// === Byte strings ===

impl Measure<Vec<u8>> for Length {
    fn bytes(&self, message: &Vec<u8>) -> usize {
        message.len()
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

impl Carry<Vec<u8>> for Verbatim {
    fn carry(&self, bytes: Bytes) -> Vec<u8> {
        bytes.into()
    }

    fn carried(&self, message: Vec<u8>) -> Result<Bytes, Vec<u8>> {
        Ok(message.into())
    }
}

impl Measure<Bytes> for Length {
    fn bytes(&self, message: &Bytes) -> usize {
        message.len()
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

impl Carry<Bytes> for Verbatim {
    fn carry(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    fn carried(&self, message: Bytes) -> Result<Bytes, Bytes> {
        Ok(message)
    }
}
