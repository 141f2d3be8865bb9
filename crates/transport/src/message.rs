use std::{fmt, str::Utf8Error};

use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::{
    Message as Inner, Utf8Bytes,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};
use tower_ws_core::{Carry, Close, Length, Measure, Pack, Ping, Probe, Verbatim};

/// A message of a WebSocket: text, bytes, or one of the protocol's own.
///
/// ```
/// use tower_ws_transport::{Kind, Message};
///
/// let message = Message::text("hello");
/// assert_eq!((message.kind(), message.as_text()), (Kind::Text, Some("hello")));
/// assert_eq!(Message::from(vec![1, 2, 3]).as_bytes(), [1, 2, 3]);
/// ```
///
/// Cloning shares the payload. [`Debug`] shows the kind and the size, never the payload. No type of
/// a WebSocket crate is part of it, so that another release, or another crate, changes nothing
/// above.
///
/// All layers know it by their defaults: [`Length`] measures the payload, [`Ping`] asks with a ping
/// frame whose payload is the nonce (eight bytes in network order) and knows the pong that echoes it
/// ([RFC 6455, section 5.5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2)), and
/// [`Verbatim`] writes data down and carries bytes as a binary message.
#[derive(Clone, Eq, PartialEq)]
pub struct Message(pub(crate) Inner);

/// What a [`Message`] is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Data: text in UTF-8.
    Text,
    /// Data: bytes.
    Binary,
    /// A question whether the peer is there. The framing answers it.
    Ping,
    /// The answer to a ping, or a sign of life that nobody asked for.
    Pong,
    /// The sender closes the connection, or answers the other's closing.
    Close,
    /// A part of a large message. Only a [`Framing`](crate::Framing) ever sees one, to be written.
    Fragment,
}

impl Message {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Inner::Text(text.into().into()))
    }

    /// A text that is there as bytes, which are not copied.
    ///
    /// # Errors
    ///
    /// The bytes are no UTF-8.
    pub fn utf8(bytes: Bytes) -> Result<Self, Utf8Error> {
        Utf8Bytes::try_from(bytes).map(|text| Self(Inner::Text(text)))
    }

    /// Bytes.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Binary(bytes.into()))
    }

    /// A ping, of at most 125 bytes. Health sends its own; the framing of the peer answers.
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self(Inner::Ping(payload.into()))
    }

    /// A pong, of at most 125 bytes. The framing answers pings by itself.
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self(Inner::Pong(payload.into()))
    }

    /// A close frame with this code and a reason of at most 123 bytes
    /// ([RFC 6455, section 7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)). Code 1005
    /// stands for a frame without a code.
    pub fn close(code: u16, reason: impl Into<String>) -> Self {
        let frame = (code != NO_CODE).then(|| CloseFrame {
            code: code.into(),
            reason: reason.into().into(),
        });
        Self(Inner::Close(frame))
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Inner::Text(_) => Kind::Text,
            Inner::Binary(_) => Kind::Binary,
            Inner::Ping(_) => Kind::Ping,
            Inner::Pong(_) => Kind::Pong,
            Inner::Close(_) => Kind::Close,
            Inner::Frame(_) => Kind::Fragment,
        }
    }

    /// Is it text or bytes, and not one of the protocol's own?
    pub fn is_data(&self) -> bool {
        matches!(self.kind(), Kind::Text | Kind::Binary)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Inner::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The payload; of a close frame its reason.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Text(text) => text.as_bytes(),
            Inner::Binary(bytes) | Inner::Ping(bytes) | Inner::Pong(bytes) => bytes,
            Inner::Close(close) => close.as_ref().map_or(&[], |close| close.reason.as_bytes()),
            Inner::Frame(frame) => frame.payload(),
        }
    }

    /// The payload, which is not copied.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Inner::Text(text) => text.into(),
            Inner::Close(close) => close.map_or_else(Bytes::new, |close| close.reason.into()),
            other => other.into_data(),
        }
    }

    /// Code and reason, if it is a close frame. The code of one that has none is 1005.
    pub fn as_close(&self) -> Option<Close> {
        let Inner::Close(close) = &self.0 else { return None };
        Some(match close {
            Some(close) => Close {
                code: close.code.into(),
                reason: close.reason.as_str().to_owned(),
            },
            None => Close {
                code: NO_CODE,
                reason: String::new(),
            },
        })
    }

    /// How many bytes the payload has.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Has it no payload?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a part of a message is to be framed: the opcode (1 and 2 begin a text and a binary
    /// message, 0 continues it) and whether it is the last
    /// ([RFC 6455, section 5.4](https://www.rfc-editor.org/rfc/rfc6455#section-5.4)). `None` for
    /// whatever is no [`Fragment`](Kind::Fragment). For [framings](crate::Framing) of your own.
    pub fn fragment(&self) -> Option<(u8, bool)> {
        match &self.0 {
            Inner::Frame(frame) => Some((frame.header().opcode.into(), frame.header().is_final)),
            _ => None,
        }
    }

    /// May a close frame of this code be sent? True of whatever is no close frame.
    pub(crate) fn may_be_sent(&self) -> bool {
        match &self.0 {
            Inner::Close(Some(close)) => close.code.is_allowed(),
            _ => true,
        }
    }

    /// Cuts the first `size` bytes off a message of data, or off what is left of one. Nothing is
    /// copied. `None` if it is no longer than that, or no data.
    pub(crate) fn split(&mut self, size: usize) -> Option<Self> {
        let opcode = match &self.0 {
            Inner::Text(_) => Data::Text,
            Inner::Binary(_) => Data::Binary,
            Inner::Frame(_) => Data::Continue,
            _ => return None,
        };
        if self.len() <= size {
            return None;
        }
        let mut rest = std::mem::replace(&mut self.0, Inner::Ping(Bytes::new())).into_data();
        let piece = rest.split_to(size);
        self.0 = Inner::Frame(Frame::message(rest, OpCode::Data(Data::Continue), true));
        Some(Self(Inner::Frame(Frame::message(piece, OpCode::Data(opcode), false))))
    }
}

/// Closed without saying a code (RFC 6455, section 7.4.1).
const NO_CODE: u16 = 1005;

impl Kind {
    /// The word for it in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Close => "close",
            Self::Fragment => "fragment",
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Message");
        shown.field("kind", &self.kind());
        match &self.0 {
            Inner::Close(close) => {
                let code = close.as_ref().map_or(CloseCode::Status, |close| close.code);
                shown.field("code", &u16::from(code));
            }
            _ => {
                shown.field("bytes", &self.len());
            }
        }
        shown.finish()
    }
}

// === What layers may know ===

impl Measure<Message> for Length {
    fn bytes(&self, message: &Message) -> usize {
        message.len()
    }

    fn kind(&self, message: &Message) -> &'static str {
        message.kind().as_str()
    }
}

impl Probe<Message> for Ping {
    fn probe(&self, nonce: u64) -> Message {
        Message::ping(Bytes::copy_from_slice(&nonce.to_be_bytes()))
    }

    fn answer(&self, message: &Message) -> Option<u64> {
        match &message.0 {
            Inner::Pong(payload) => payload.as_ref().try_into().ok().map(u64::from_be_bytes),
            _ => None,
        }
    }
}

/// A text or a binary message: one byte that says which, then the payload. Control frames are not
/// kept.
impl Pack<Message> for Verbatim {
    fn pack(&self, message: &Message) -> Option<Bytes> {
        let kind = match message.kind() {
            Kind::Text => TEXT,
            Kind::Binary => BINARY,
            _ => return None,
        };
        let mut packed = BytesMut::with_capacity(1 + message.len());
        packed.put_u8(kind);
        packed.put_slice(message.as_bytes());
        Some(packed.freeze())
    }

    fn unpack(&self, bytes: Bytes) -> Option<Message> {
        let payload = bytes.slice(1.min(bytes.len())..);
        match *bytes.first()? {
            TEXT => Message::utf8(payload).ok(),
            BINARY => Some(Message::binary(payload)),
            _ => None,
        }
    }
}

/// Bytes travel as a binary message.
impl Carry<Message> for Verbatim {
    fn carry(&self, bytes: Bytes) -> Message {
        Message::binary(bytes)
    }

    fn carried(&self, message: Message) -> Result<Bytes, Message> {
        match message.0 {
            Inner::Binary(bytes) => Ok(bytes),
            other => Err(Message(other)),
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
            let packed = Verbatim.pack(&message).expect("data is kept");
            assert_eq!(Verbatim.unpack(packed), Some(message));
        }
        assert_eq!(Verbatim.pack(&Message::ping("")), None::<Bytes>);
        for odd in [&b""[..], b"\x01\xff", b"\x09ping"] {
            assert_eq!(Verbatim.unpack(Bytes::copy_from_slice(odd)), None::<Message>);
        }
    }

    #[test]
    fn only_the_pong_that_echoes_a_ping_answers_it() {
        let ping: Message = Ping.probe(7);
        assert_eq!(ping.kind(), Kind::Ping);
        assert_eq!(Ping.answer(&Message::pong(ping.into_bytes())), Some(7));
        assert_eq!(Ping.answer(&Message::pong("unsolicited")), None);
        assert_eq!(Ping.answer(&Message::text("pong")), None);
    }

    #[test]
    fn a_close_frame_keeps_its_code_and_its_reason() {
        let close = Message::close(4401, "log in");
        let Close { code, reason } = close.as_close().expect("it is one");
        assert_eq!(
            (code, reason.as_str(), close.as_bytes()),
            (4401, "log in", &b"log in"[..])
        );
        let bare = Message::close(1005, "nobody reads it").as_close().expect("it is one");
        assert_eq!((bare.code, bare.reason.as_str()), (1005, ""));
        assert_eq!(Message::text("close").as_close(), None);
    }

    #[test]
    fn debug_shows_no_payload() {
        for (message, shown) in [
            (Message::text("secret"), "Message { kind: Text, bytes: 6 }"),
            (Message::ping("secret"), "Message { kind: Ping, bytes: 6 }"),
            (Message::close(4000, "secret"), "Message { kind: Close, code: 4000 }"),
        ] {
            assert_eq!(format!("{message:?}"), shown);
        }
    }
}
