use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;
use tower_ws_core::{Measure, Probe};

/// What layers may know of WebSocket messages: their size and kind, and how to ping.
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

#[cfg(test)]
mod tests {
    use super::*;

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
