//! Unpacks messages ([RFC 7692, section 7.2.2](https://www.rfc-editor.org/rfc/rfc7692#section-7.2.2)). No I/O.
//!
//! Not with sockudo-ws' own decoder: it gives out what a message that was cut short has so far.

use std::io;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use tokio_tungstenite::tungstenite::{Error, error::CapacityError};
use tower_ws_core::{Failure, FailureKind};

/// What the server's messages are unpacked with.
#[derive(Debug)]
pub(super) struct Inflate {
    stream: Decompress,
    /// Each message stands for itself.
    forgets: bool,
}

/// What the sender left out at the end: the lengths of an empty block, whose header it sent. Then one
/// more, which unpacks to nothing where the message had come to its end. Anywhere else some of this is
/// taken for data: no symbol of the format and what belongs to it are longer than 48 bits.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff];

/// So much room is made at first, and at least.
const ROOM: usize = 1024;

impl Inflate {
    pub(super) fn new(forgets: bool) -> Self {
        Self {
            // The largest window, so that it fits whatever the server uses.
            stream: Decompress::new(false),
            forgets,
        }
    }

    /// Unpacks a message to no more than `limit` bytes.
    pub(super) fn message(&mut self, packed: &[u8], limit: usize) -> Result<Bytes, Error> {
        if self.forgets {
            self.stream.reset(false);
        }
        let room = packed.len().saturating_mul(4).clamp(ROOM, limit.max(ROOM));
        let mut out = Vec::with_capacity(room);
        let has_ended = self.unpack(packed, &mut out, limit)?;
        let size = out.len();
        // A stream may end with a message (section 7.2.3.4), and then there is no empty block to come.
        if !has_ended && (self.unpack(&END, &mut out, limit)? || out.len() != size) {
            return Err(broken("the peer sent a compressed message that is cut short"));
        }
        Ok(out.into())
    }

    /// Whether a stream has ended with the last byte.
    fn unpack(&mut self, mut packed: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<bool, Error> {
        loop {
            if out.len() == out.capacity() {
                // One more than allowed shows that it is too large.
                let more = out.capacity().max(ROOM).min(limit + 1 - out.len());
                out.reserve_exact(more);
            }
            let (read, size) = (self.stream.total_in(), out.len());
            let status = self
                .stream
                .decompress_vec(packed, out, FlushDecompress::Sync)
                .map_err(|error| failed("the peer sent a message that cannot be decompressed", Some(error)))?;
            // No more than what is there was read.
            let read = usize::try_from(self.stream.total_in() - read).unwrap_or(packed.len());
            packed = packed.get(read..).unwrap_or_default();
            if out.len() > limit {
                let (size, max_size) = (out.len(), limit);
                return Err(CapacityError::MessageTooLong { size, max_size }.into());
            }
            if status == Status::StreamEnd {
                // What follows begins another, which refers to nothing before.
                self.stream.reset(false);
                if packed.is_empty() {
                    return Ok(true);
                }
            } else if out.len() < out.capacity() {
                if packed.is_empty() {
                    return Ok(false);
                }
                if read == 0 && out.len() == size {
                    return Err(broken("the peer sent a message that cannot be decompressed"));
                }
            }
        }
    }
}

fn broken(what: &'static str) -> Error {
    failed(what, None)
}

fn failed(what: &'static str, source: Option<flate2::DecompressError>) -> Error {
    let failure = Failure::new(FailureKind::Protocol, what);
    let failure = match source {
        Some(source) => failure.with_source(source),
        None => failure,
    };
    Error::Io(io::Error::new(io::ErrorKind::InvalidData, failure))
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn pack(compress: &mut Compress, data: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() * 2 + ROOM);
        compress.compress_vec(data, &mut out, flush).unwrap();
        out
    }

    /// As it is sent: without the lengths of the empty block.
    fn message(compress: &mut Compress, data: &[u8]) -> Vec<u8> {
        let mut out = pack(compress, data, FlushCompress::Sync);
        assert!(out.ends_with(&END[..4]));
        out.truncate(out.len() - 4);
        out
    }

    fn noise(len: u32) -> Vec<u8> {
        (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn a_message_that_is_cut_short_is_none() {
        let text = b"what was said, and what was said again ".repeat(20);
        for (level, data) in [
            (0, noise(300)),
            (0, text.clone()),
            (1, text.clone()),
            (9, text),
            (9, noise(300)),
        ] {
            let whole = message(&mut Compress::new(Compression::new(level), false), &data);
            assert_eq!(Inflate::new(false).message(&whole, LIMIT).unwrap(), data);
            // The first byte of what is not compressed is an empty message by itself.
            for len in (0..whole.len()).filter(|&len| whole[..len] != [0]) {
                let unpacked = Inflate::new(false).message(&whole[..len], LIMIT);
                assert!(
                    unpacked.is_err(),
                    "level {level}, {len} of {}: {unpacked:?}",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // Section 7.2.3.
        let mut inflate = Inflate::new(false);
        for packed in [
            // One block, and one that refers to it.
            &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
            b"\xf2\x00\x11\x00\x00",
            // Not compressed.
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            // The end of a stream.
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            // Two blocks.
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ] {
            assert_eq!(inflate.message(packed, LIMIT).unwrap(), "Hello", "{packed:x?}");
        }
        assert_eq!(inflate.message(b"\x00", LIMIT).unwrap(), "");
    }

    #[test]
    fn streams_that_end() {
        let finished = pack(
            &mut Compress::new(Compression::fast(), false),
            b"one",
            FlushCompress::Finish,
        );
        let mut inflate = Inflate::new(false);
        for _ in 0..2 {
            assert_eq!(inflate.message(&finished, LIMIT).unwrap(), "one");
            assert_eq!(inflate.message(&[&finished[..], b"\0"].concat(), LIMIT).unwrap(), "one");
            assert_eq!(inflate.message(&finished.repeat(2), LIMIT).unwrap(), "oneone");
        }
    }

    proptest! {
        #[test]
        fn limits_are_exact(len in 0..20_000_usize, level in 0..=9_u32) {
            let packed = message(&mut Compress::new(Compression::new(level), false), &vec![b'a'; len]);
            prop_assert_eq!(Inflate::new(false).message(&packed, len).unwrap().len(), len);
            if let Some(less) = len.checked_sub(1) {
                let refused = Inflate::new(false).message(&packed, less).unwrap_err();
                prop_assert!(matches!(refused, Error::Capacity(_)), "{}", refused);
            }
        }

        #[test]
        fn no_bytes_are_too_odd(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8)) {
            let mut inflate = Inflate::new(false);
            for message in messages {
                if let Ok(unpacked) = inflate.message(&message, 1000) {
                    prop_assert!(unpacked.len() <= 1000);
                }
            }
        }
    }
}
