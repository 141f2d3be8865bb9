use bytes::Bytes;

use super::Malformed;

/// How JSON text travels as messages of a transport.
///
/// The WebSocket transport puts one JSON-RPC object into a text frame; `lines` puts it on a line.
pub trait Codec<M> {
    /// The message that carries this JSON text.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are not UTF-8.
    fn encode(&self, json: Bytes) -> Result<M, Malformed>;

    /// The JSON text of a message, looked at in place; `None` if it carries none.
    fn text<'m>(&self, message: &'m M) -> Option<&'m [u8]>;

    /// The JSON text that this message carries.
    fn decode(&self, message: M) -> Decoded;
}

/// What a message of a transport carries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decoded {
    /// JSON text.
    Json(Bytes),
    /// Something of the transport's own, such as a pong: nothing for the application.
    Control,
    /// Data that is no JSON text, and why.
    Refused(&'static str),
}
