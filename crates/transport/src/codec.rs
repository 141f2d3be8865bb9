use bytes::Bytes;
use tower_ws_core::jsonrpc::{Codec, Decoded, Malformed};

use crate::message::{Kind, Message};

/// One JSON-RPC text per message: a text frame of a WebSocket, a line of [`lines`](crate::lines).
///
/// Binary frames are refused: JSON-RPC is text. Pings and pongs are the transport's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonText;

impl Codec<Message> for JsonText {
    fn encode(&self, json: Bytes) -> Result<Message, Malformed> {
        Message::utf8(json).map_err(|_| Malformed::Utf8)
    }

    fn text<'m>(&self, message: &'m Message) -> Option<&'m [u8]> {
        message.as_text().map(str::as_bytes)
    }

    fn decode(&self, message: Message) -> Decoded {
        match message.kind() {
            Kind::Text => Decoded::Json(message.into_bytes()),
            Kind::Binary => Decoded::Refused("a binary frame where JSON text was expected"),
            _ => Decoded::Control,
        }
    }
}

impl Codec<String> for JsonText {
    fn encode(&self, json: Bytes) -> Result<String, Malformed> {
        String::from_utf8(json.into()).map_err(|_| Malformed::Utf8)
    }

    fn text<'m>(&self, message: &'m String) -> Option<&'m [u8]> {
        Some(message.as_bytes())
    }

    fn decode(&self, message: String) -> Decoded {
        Decoded::Json(message.into())
    }
}
