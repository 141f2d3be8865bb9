use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tower_ws_core::{Carry, Measure, Pack, Probe};

/// What layers may know of WebSocket messages: their size and kind, how to ping, and how to write
/// them down.
///
/// The probe is a ping frame whose payload is the nonce, eight bytes in network order; its answer is the pong that echoes
/// it ([RFC 6455, section 5.5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames;

impl Measure<Message> for Frames {
    fn bytes(&self, message: &Message) -> usize {
        message.len()
    }

    fn kind(&self, message: &Message) -> &'static str {
        match message {
            Message::Text(_) => "text",
            Message::Binary(_) => "binary",
            Message::Ping(_) => "ping",
            Message::Pong(_) => "pong",
            Message::Close(_) => "close",
            Message::Frame(_) => "frame",
        }
    }
}

impl Probe<Message> for Frames {
    fn probe(&self, nonce: u64) -> Message {
        Message::Ping(Bytes::copy_from_slice(&nonce.to_be_bytes()))
    }

    fn answer(&self, message: &Message) -> Option<u64> {
        match message {
            Message::Pong(payload) => payload.as_ref().try_into().ok().map(u64::from_be_bytes),
            _ => None,
        }
    }
}

/// A text or a binary message: one byte that says which, then the payload. Control frames are not
/// kept.
impl Pack<Message> for Frames {
    fn pack(&self, message: &Message) -> Option<Bytes> {
        let (kind, payload) = match message {
            Message::Text(text) => (TEXT, text.as_bytes()),
            Message::Binary(bytes) => (BINARY, bytes.as_ref()),
            _ => return None,
        };
        let mut packed = BytesMut::with_capacity(1 + payload.len());
        packed.put_u8(kind);
        packed.put_slice(payload);
        Some(packed.freeze())
    }

    fn unpack(&self, bytes: Bytes) -> Option<Message> {
        let payload = bytes.slice(1.min(bytes.len())..);
        match *bytes.first()? {
            TEXT => Utf8Bytes::try_from(payload).ok().map(Message::Text),
            BINARY => Some(Message::Binary(payload)),
            _ => None,
        }
    }
}

/// Bytes travel as a binary message.
impl Carry<Message> for Frames {
    fn carry(&self, bytes: Bytes) -> Message {
        Message::Binary(bytes)
    }

    fn carried(&self, message: Message) -> Result<Bytes, Message> {
        match message {
            Message::Binary(bytes) => Ok(bytes),
            other => Err(other),
        }
    }
}

/// The opcodes of RFC 6455, section 5.2.
const TEXT: u8 = 1;
const BINARY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_can_be_read() {
        for message in [
            Message::text(""),
            Message::text("h\u{e9}"),
            Message::binary(vec![0xff, 0]),
        ] {
            let packed = Frames.pack(&message).expect("data is kept");
            assert_eq!(Frames.unpack(packed), Some(message));
        }
        assert_eq!(Frames.pack(&Message::Ping(Bytes::new())), None);
        for odd in [&b""[..], b"\x01\xff", b"\x09ping"] {
            assert_eq!(Frames.unpack(Bytes::copy_from_slice(odd)), None);
        }
    }

    #[test]
    fn only_the_pong_that_echoes_a_ping_answers_it() {
        let Message::Ping(payload) = Frames.probe(7) else {
            panic!("a probe is a ping")
        };
        assert_eq!(Frames.answer(&Message::Pong(payload)), Some(7));
        assert_eq!(Frames.answer(&Message::Pong(Bytes::from_static(b"unsolicited"))), None);
        assert_eq!(Frames.answer(&Message::text("pong")), None);
    }
}
