//! Bytes to messages, without I/O.

use bytes::{Bytes, BytesMut};
use sockudo_ws::{
    deflate::{DEFAULT_WINDOW_BITS, DeflateDecoder},
    error,
    frame::{Frame, FrameParser, OpCode},
};
use tokio_tungstenite::tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    protocol::frame::coding::{CloseCode, Data},
};
use tower_ws_core::{Failure, FailureKind};

use super::extension::Agreed;
use crate::{limits::Limits, message::Message};

/// Takes one message at a time out of what has been read: a few bytes can hold many large messages.
pub(super) struct Reader {
    parser: FrameParser,
    inflate: Option<DeflateDecoder>,
    /// A message of which the last fragment is to come.
    partial: Option<Partial>,
    frame_limit: usize,
    limit: usize,
}

struct Partial {
    data: Data,
    compressed: bool,
    payload: BytesMut,
}

impl Reader {
    pub(super) fn new(limits: &Limits, agreed: Option<Agreed>) -> Self {
        Self {
            parser: match agreed {
                Some(_) => FrameParser::with_compression(limits.frame_in, false),
                None => FrameParser::new(limits.frame_in, false),
            },
            // The largest window, so that it fits whatever the server uses.
            inflate: agreed.map(|agreed| DeflateDecoder::new(DEFAULT_WINDOW_BITS, agreed.server_forgets)),
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
        self.partial = Some(Partial {
            data,
            compressed: header.rsv1,
            payload: payload.into(),
        });
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
        self.partial = Some(partial);
        Ok(None)
    }

    fn message(&mut self, data: Data, compressed: bool, payload: Bytes) -> Result<Message, Error> {
        let payload = match &mut self.inflate {
            Some(inflate) if compressed => inflate
                .decompress(&payload, self.limit)
                .map_err(|error| broken(error, self.limit))?,
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

/// What the parser and the decompressor complain about, in the terms of the other framing.
fn broken(error: error::Error, limit: usize) -> Error {
    let what = match error {
        // How much larger it does not say.
        error::Error::FrameTooLarge | error::Error::MessageTooLarge => {
            return too_large(limit.saturating_add(1), limit);
        }
        error::Error::Compression(_) => "the peer sent a message that cannot be decompressed",
        _ => "the peer broke the websocket protocol",
    };
    let failure = Failure::new(FailureKind::Protocol, what).with_source(error);
    Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, failure))
}
