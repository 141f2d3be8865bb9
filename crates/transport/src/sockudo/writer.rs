//! Messages to bytes, without I/O.

use std::io;

use bytes::{Bytes, BytesMut};
use sockudo_ws::{
    deflate::{DEFAULT_WINDOW_BITS, DeflateEncoder, DeflateWindowBits},
    frame::{OpCode, encode_frame_with_rsv},
    mask::generate_mask,
};
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};

use super::{Deflate, extension::Agreed, socket::NO_CODE};
use crate::message::{Kind, Message};

/// Frames, masks and compresses what goes out.
#[derive(Default)]
pub(super) struct Writer {
    out: BytesMut,
    deflate: Option<Compressor>,
}

struct Compressor {
    settings: Deflate,
    /// Each message has to stand for itself.
    forgets: bool,
    window: DeflateWindowBits,
    /// Made with the first message that is worth it: it takes some 300 KiB.
    encoder: Option<DeflateEncoder>,
    /// The pieces that come belong to a compressed message.
    in_message: bool,
}

/// What ends a flush, and is left out at the end of a message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

impl Writer {
    pub(super) fn new(deflate: Option<(Deflate, Agreed)>) -> Self {
        Self {
            out: BytesMut::new(),
            deflate: deflate.and_then(|(settings, agreed)| Compressor::new(settings, agreed)),
        }
    }

    /// What waits to be written.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    pub(super) fn write(&mut self, message: &Message) -> Result<(), Error> {
        let payload = message.as_bytes();
        match (message.kind(), message.fragment()) {
            (Kind::Binary, _) => self.data(OpCode::Binary, true, payload)?,
            (Kind::Ping, _) => self.control(OpCode::Ping, payload),
            (Kind::Pong, _) => self.control(OpCode::Pong, payload),
            (Kind::Close, _) => self.close(message),
            (Kind::Text | Kind::Fragment, Some((opcode, is_last))) => self.data(fragment(opcode)?, is_last, payload)?,
            (Kind::Text | Kind::Fragment, None) => self.data(OpCode::Text, true, payload)?,
        }
        Ok(())
    }

    fn data(&mut self, opcode: OpCode, fin: bool, payload: &[u8]) -> Result<(), Error> {
        let is_first = opcode != OpCode::Continuation;
        let compressed = match &mut self.deflate {
            Some(deflate) => deflate.take(is_first, payload, fin)?,
            None => None,
        };
        match compressed {
            Some(compressed) => self.frame(opcode, fin, &compressed, is_first),
            None => self.frame(opcode, fin, payload, false),
        }
        Ok(())
    }

    fn control(&mut self, opcode: OpCode, payload: &[u8]) {
        self.frame(opcode, true, payload, false);
    }

    fn close(&mut self, message: &Message) {
        let mut payload = Vec::new();
        let close = message.as_close().filter(|close| close.code != NO_CODE);
        if let Some(close) = close {
            payload.extend(close.code.to_be_bytes());
            payload.extend(close.reason.as_bytes());
        }
        self.control(OpCode::Close, &payload);
    }

    fn frame(&mut self, opcode: OpCode, fin: bool, payload: &[u8], compressed: bool) {
        encode_frame_with_rsv(&mut self.out, opcode, payload, fin, Some(generate_mask()), compressed);
    }
}

impl Compressor {
    /// `None` if the peer has a window that is smaller than zlib can do with: it gets messages as they are.
    fn new(settings: Deflate, agreed: Agreed) -> Option<Self> {
        let window = match agreed.client_window {
            Some(bits) => DeflateWindowBits::try_from(bits).ok()?,
            None => DEFAULT_WINDOW_BITS,
        };
        Some(Self {
            settings,
            forgets: agreed.client_forgets,
            window,
            encoder: None,
            in_message: false,
        })
    }

    /// Compresses a piece, if its message is worth it: the first piece decides for all of it.
    fn take(&mut self, is_first: bool, piece: &[u8], is_last: bool) -> Result<Option<Bytes>, Error> {
        if is_first {
            self.in_message = piece.len() >= self.settings.threshold.max(1);
        }
        match self.in_message {
            true => self.compress(piece, is_last).map(Some),
            false => Ok(None),
        }
    }

    /// Each piece is flushed, so that it can leave at once; together they are one stream.
    fn compress(&mut self, piece: &[u8], is_last: bool) -> Result<Bytes, Error> {
        let (level, window) = (self.settings.level, self.window);
        // Whether a message is worth it, and when to forget, is decided here: this one takes
        // everything.
        let encoder = self
            .encoder
            .get_or_insert_with(|| DeflateEncoder::new(window, false, level, 0));
        let compressed = encoder
            .compress(piece)
            .map_err(|error| Error::Io(io::Error::other(error)))?;
        // `None` would be a piece left as it is.
        let compressed = compressed.ok_or_else(|| Error::Io(io::Error::other("a message was not compressed")))?;
        if is_last {
            if self.forgets {
                encoder.reset();
            }
            return Ok(compressed);
        }
        let mut compressed = BytesMut::from(compressed);
        compressed.extend_from_slice(&TAIL);
        Ok(compressed.freeze())
    }
}

/// Fragments of messages only: a control frame is sent as what it is.
fn fragment(opcode: u8) -> Result<OpCode, Error> {
    match opcode {
        0 => Ok(OpCode::Continuation),
        1 => Ok(OpCode::Text),
        2 => Ok(OpCode::Binary),
        other => Err(ProtocolError::InvalidOpcode(other).into()),
    }
}
