use std::fmt;

use bytes::Bytes;

use super::Malformed;

/// How JSON text travels as messages of a transport.
///
/// The WebSocket transport puts one JSON-RPC object into a text frame; `lines` puts it on a line.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry JSON-RPC in messages of type `{M}`",
    label = "no codec for these messages",
    note = "`JsonText` of tower-ws-transport carries it in `Message` and `String`"
)]
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

/// What a message of a transport carries. Its `Debug` shows how large it is, never what it says.
#[derive(Clone)]
#[non_exhaustive]
pub enum Decoded {
    /// JSON text.
    Json(Bytes),
    /// Something of the transport's own, such as a pong: nothing for the application.
    Control,
    /// Data that is no JSON text, and why.
    Refused(&'static str),
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(text) => f.debug_struct("Json").field("bytes", &text.len()).finish(),
            Self::Control => f.write_str("Control"),
            Self::Refused(why) => f.debug_tuple("Refused").field(why).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::Call;

    #[test]
    fn nothing_shows_what_a_message_says() {
        let text = br#"{"jsonrpc":"2.0","id":1,"method":"login","params":{"token":"hunter2"}}"#;
        let call = format!("{:?}", Call::parse(text).unwrap());
        assert_eq!(
            call,
            r#"Call { id: Some("1"), method: "login", params_bytes: Some(19) }"#
        );
        let decoded = format!("{:?}", Decoded::Json(Bytes::from_static(text)));
        assert_eq!(decoded, format!("Json {{ bytes: {} }}", text.len()));
    }
}
