use bytes::Bytes;
use tower_ws_core::jsonrpc::{Codec, Decoded, Malformed};

use crate::message::{Kind, Message};

/// One JSON-RPC text per message: a text frame of a WebSocket, a line of [`lines`](crate::lines).
///
/// Binary frames that hold UTF-8 are taken for text, as servers exist that send all in binary; none
/// is sent. Pings and pongs are the transport's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonText;

impl Codec<Message> for JsonText {
    fn encode(&self, json: Bytes) -> Result<Message, Malformed> {
        Message::utf8(json).map_err(|_| Malformed::Utf8)
    }

    fn text<'m>(&self, message: &'m Message) -> Option<&'m [u8]> {
        match message.kind() {
            Kind::Text => Some(message.as_bytes()),
            Kind::Binary => str::from_utf8(message.as_bytes()).ok().map(str::as_bytes),
            _ => None,
        }
    }

    fn decode(&self, message: Message) -> Decoded {
        match message.kind() {
            Kind::Text => Decoded::Json(message.into_bytes()),
            Kind::Binary if str::from_utf8(message.as_bytes()).is_ok() => Decoded::Json(message.into_bytes()),
            Kind::Binary => Decoded::Refused("a binary frame that is no UTF-8, where JSON text was expected"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_that_is_text_is_read_and_never_written() {
        let binary = |bytes: &'static [u8]| Message::binary(bytes);
        assert_eq!(Codec::text(&JsonText, &binary(b"{}")), Some(&b"{}"[..]));
        assert!(matches!(JsonText.decode(binary(b"{}")), Decoded::Json(text) if text == "{}"));
        assert_eq!(Codec::text(&JsonText, &binary(b"\xff")), None);
        assert!(matches!(JsonText.decode(binary(b"\xff")), Decoded::Refused(_)));
        let written: Message = JsonText.encode(Bytes::from_static(b"{}")).unwrap();
        assert_eq!(written.kind(), Kind::Text);
    }
}
