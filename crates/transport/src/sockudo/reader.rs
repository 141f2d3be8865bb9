//! Bytes to messages, without I/O.

use bytes::{Bytes, BytesMut};
use sockudo_ws::{
    error,
    frame::{Frame, FrameParser, OpCode},
};
use tokio_tungstenite::tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    protocol::frame::coding::{CloseCode, Data},
};
use tower_ws_core::{Failure, FailureKind};

use super::{extension::Agreed, inflate::Inflate};
use crate::{limits::Limits, message::Message};

/// Takes one message at a time out of what has been read: a few bytes can hold many large messages.
pub(super) struct Reader {
    parser: FrameParser,
    inflate: Option<Inflate>,
    /// A message of which the last fragment is to come.
    partial: Option<Partial>,
    frame_limit: usize,
    limit: usize,
}

struct Partial {
    data: Data,
    compressed: bool,
    payload: BytesMut,
    /// Up to here it is UTF-8, if it has to be.
    checked: usize,
}

impl Partial {
    /// Looks at what has come of a text: what cannot be completed to one need not be waited for. Packed,
    /// it shows when it is unpacked, and that is when all of it has come.
    fn check_text(&mut self) -> Result<(), Error> {
        if self.compressed || self.data != Data::Text {
            return Ok(());
        }
        match str::from_utf8(&self.payload[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_some() => return Err(Error::Utf8(error.to_string())),
            // A character that goes on in the next fragment.
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

impl Reader {
    pub(super) fn new(limits: &Limits, agreed: Option<Agreed>) -> Self {
        Self {
            parser: match agreed {
                Some(_) => FrameParser::with_compression(limits.frame_in, false),
                None => FrameParser::new(limits.frame_in, false),
            },
            inflate: agreed.map(|agreed| Inflate::new(agreed.server_forgets)),
            partial: None,
            frame_limit: limits.frame_in,
            limit: limits.message_in,
        }
    }

    /// The next message, if all of it is there.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        while !input.is_empty() {
            let Some(frame) = self
                .parser
                .parse(input)
                .map_err(|error| broken(error, self.frame_limit))?
            else {
                break;
            };
            if let Some(message) = self.accept(frame)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn accept(&mut self, frame: Frame) -> Result<Option<Message>, Error> {
        let Frame { header, payload } = frame;
        let data = match header.opcode {
            OpCode::Ping => return Ok(Some(Message::ping(payload))),
            OpCode::Pong => return Ok(Some(Message::pong(payload))),
            OpCode::Close => return close(&payload).map(Some),
            OpCode::Continuation => return self.go_on(header.fin, &payload),
            OpCode::Text => Data::Text,
            OpCode::Binary => Data::Binary,
        };
        if let Some(partial) = &self.partial {
            return Err(ProtocolError::ExpectedFragment(partial.data).into());
        }
        if header.fin {
            return self.message(data, header.rsv1, payload).map(Some);
        }
        self.check(payload.len())?;
        let mut partial = Partial {
            data,
            compressed: header.rsv1,
            payload: payload.into(),
            checked: 0,
        };
        partial.check_text()?;
        self.partial = Some(partial);
        Ok(None)
    }

    fn go_on(&mut self, is_last: bool, payload: &[u8]) -> Result<Option<Message>, Error> {
        let Some(mut partial) = self.partial.take() else {
            return Err(ProtocolError::UnexpectedContinueFrame.into());
        };
        self.check(partial.payload.len().saturating_add(payload.len()))?;
        partial.payload.extend_from_slice(payload);
        if is_last {
            return self
                .message(partial.data, partial.compressed, partial.payload.freeze())
                .map(Some);
        }
        partial.check_text()?;
        self.partial = Some(partial);
        Ok(None)
    }

    fn message(&mut self, data: Data, compressed: bool, payload: Bytes) -> Result<Message, Error> {
        let payload = match &mut self.inflate {
            Some(inflate) if compressed => inflate.message(&payload, self.limit)?,
            // Without an agreement, the parser lets none pass.
            _ => {
                self.check(payload.len())?;
                payload
            }
        };
        Ok(match data {
            Data::Text => Message::utf8(payload).map_err(|error| Error::Utf8(error.to_string()))?,
            _ => Message::binary(payload),
        })
    }

    fn check(&self, size: usize) -> Result<(), Error> {
        if size > self.limit {
            return Err(too_large(size, self.limit));
        }
        Ok(())
    }
}

fn close(payload: &[u8]) -> Result<Message, Error> {
    let (code, reason) = match payload {
        [] => return Ok(Message::close(CloseCode::Status.into(), "")),
        [high, low, reason @ ..] => (CloseCode::from(u16::from_be_bytes([*high, *low])), reason),
        [_] => return Err(ProtocolError::InvalidCloseSequence.into()),
    };
    if !code.is_allowed() {
        return Err(ProtocolError::InvalidCloseSequence.into());
    }
    let reason = str::from_utf8(reason).map_err(|error| Error::Utf8(error.to_string()))?;
    Ok(Message::close(code.into(), reason))
}

fn too_large(size: usize, max_size: usize) -> Error {
    CapacityError::MessageTooLong { size, max_size }.into()
}

/// What the parser complains about, in the terms of the other framing.
fn broken(error: error::Error, limit: usize) -> Error {
    let what = match error {
        // How much larger it does not say.
        error::Error::FrameTooLarge | error::Error::MessageTooLarge => {
            return too_large(limit.saturating_add(1), limit);
        }
        _ => "the peer broke the websocket protocol",
    };
    let failure = Failure::new(FailureKind::Protocol, what).with_source(error);
    Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, failure))
}
