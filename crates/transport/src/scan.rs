//! What the codec does not tell of the frames that come in. No I/O: time is passed in.

use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A peer's frames are such as the codec would take, and this side does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A message in more pieces than allowed. See [`Limits::fragments`](crate::Limits::fragments).
    #[error("the peer cut a message into more than {limit} frames; the limit can be raised")]
    TooManyFragments {
        /// The most that are allowed.
        limit: u32,
    },
    /// A message that does not end. See [`Limits::message_time`](crate::Limits::message_time).
    #[error("the peer has not finished a message within {limit:?}; the limit can be raised")]
    TooSlow {
        /// The time allowed.
        limit: Duration,
    },
    /// A length in more bytes than it needs
    /// ([RFC 6455, section 5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2)).
    #[error("the peer wrote the length {length} of a frame in more bytes than it needs, which the protocol forbids")]
    LongLength {
        /// The length.
        length: u64,
    },
    /// A close code that must not be on the wire
    /// ([RFC 6455, section 7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)).
    #[error("the peer closed with the code {code}, which the protocol forbids to send")]
    IllegalCloseCode {
        /// The code.
        code: u16,
    },
}

/// Follows the frames of a byte stream by their headers, ahead of the codec; it looks at no payload
/// but that of a close frame.
///
/// The codec counts the bytes of a message, and neither its frames nor the time that it takes; it takes
/// a length in any number of bytes, and hides which illegal code a peer closed with.
#[derive(Debug)]
pub(crate) struct Scan {
    fragments: u32,
    message_time: Duration,
    header: [u8; HEADER],
    have: usize,
    frame: Frame,
    /// Payload of this frame that has not come.
    rest: u64,
    /// Frames so far of the message that is not complete; 0 if there is none.
    pieces: u32,
    /// Since when that message is on its way.
    since: Option<Instant>,
    /// The first bytes of a close frame's payload.
    code: [u8; 2],
    code_have: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Frame {
    /// The last one of a message.
    Last,
    /// Others of that message follow.
    Piece,
    Close,
    Control,
}

/// Two bytes, eight of a length, four of a mask (which no server may use, and the codec refuses).
const HEADER: usize = 14;

/// What is wrong, and where in the bytes the frame begins that is wrong: those before it are sound.
pub(crate) type Verdict = Result<(), (usize, FrameError)>;

impl Scan {
    pub(crate) fn new(fragments: u32, message_time: Duration) -> Self {
        Self {
            fragments,
            message_time,
            header: [0; HEADER],
            have: 0,
            frame: Frame::Control,
            rest: 0,
            pieces: 0,
            since: None,
            code: [0; 2],
            code_have: 0,
        }
    }

    /// True if what came last was the end of a message, or nothing has come.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.have == 0 && self.rest == 0 && self.pieces == 0
    }

    /// The code of the close frame that came, if it must not be on the wire.
    fn illegal_close(&self) -> Option<u16> {
        let code = u16::from_be_bytes(self.code);
        (self.code_have == 2 && !CloseCode::from(code).is_allowed()).then_some(code)
    }

    /// Looks at bytes that have come in.
    pub(crate) fn scan(&mut self, bytes: &[u8], now: impl FnOnce() -> Instant) -> Verdict {
        let mut at = 0;
        let mut start = 0;
        while at < bytes.len() {
            if self.rest > 0 {
                at += self.pass(&bytes[at..]);
                if let Some(code) = self.illegal_close() {
                    return Err((start, FrameError::IllegalCloseCode { code }));
                }
                continue;
            }
            if self.have == 0 {
                start = at;
                // The header of a small frame, and all of it there: nearly all of them.
                if let [first, second @ 0..126, ..] = bytes[at..] {
                    self.header[..2].copy_from_slice(&[first, second]);
                    at += 2;
                    self.begin().map_err(|error| (start, error))?;
                    continue;
                }
            }
            self.header[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have >= 2 && self.have == self.header_len() {
                self.begin().map_err(|error| (start, error))?;
            }
        }
        if self.pieces == 0 {
            self.since = None;
            return Ok(());
        }
        let now = now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) > self.message_time {
            let limit = self.message_time;
            return Err((start.min(bytes.len()), FrameError::TooSlow { limit }));
        }
        Ok(())
    }

    /// Passes over payload; returns how much.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let len = usize::try_from(self.rest).map_or(bytes.len(), |rest| rest.min(bytes.len()));
        if self.frame == Frame::Close && self.code_have < 2 {
            let more = len.min(2 - self.code_have);
            self.code[self.code_have..][..more].copy_from_slice(&bytes[..more]);
            self.code_have += more;
        }
        self.rest -= len as u64;
        self.end_if_complete();
        len
    }

    fn header_len(&self) -> usize {
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    /// A header is complete ([RFC 6455, section 5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2)).
    fn begin(&mut self) -> Result<(), FrameError> {
        let [first, second, ..] = self.header;
        let (length, least) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([self.header[2], self.header[3]])), 126),
            127 => {
                let bytes = self.header[2..10].iter();
                let length = bytes.fold(0, |length, &byte| length << 8 | u64::from(byte));
                (length, 1 << 16)
            }
            short => (u64::from(short), 0),
        };
        if length < least {
            return Err(FrameError::LongLength { length });
        }
        let is_last = first & 0x80 != 0;
        self.have = 0;
        self.rest = length;
        self.frame = match first & 0x0f {
            8 => Frame::Close,
            9.. => Frame::Control,
            _ if is_last => Frame::Last,
            _ => Frame::Piece,
        };
        if matches!(self.frame, Frame::Last | Frame::Piece) {
            self.pieces = self.pieces.saturating_add(1);
            if self.pieces > self.fragments {
                return Err(FrameError::TooManyFragments { limit: self.fragments });
            }
        }
        self.end_if_complete();
        Ok(())
    }

    fn end_if_complete(&mut self) {
        if self.rest == 0 && self.frame == Frame::Last {
            self.pieces = 0;
            // The next one may begin in the same bytes.
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(len as u8),
            len @ 126..65_536 => {
                frame.push(126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn scan(fragments: u32) -> Scan {
        Scan::new(fragments, TIME)
    }

    #[test]
    fn fragments_are_counted_for_each_message() {
        let now = Instant::now();
        let message = [frame(1, b"a"), frame(0, b""), frame(9, b"ping"), frame(0x80, b"z")].concat();
        let mut exact = scan(3);
        for _ in 0..10 {
            assert_eq!(exact.scan(&message, || now), Ok(()));
        }
        let mut less = scan(2);
        let (at, error) = less.scan(&message, || now).unwrap_err();
        assert_eq!(error, FrameError::TooManyFragments { limit: 2 });
        // Where the third one begins.
        assert_eq!(at, message.len() - 3);
    }

    #[test]
    fn a_message_has_to_end_in_time() {
        let start = Instant::now();
        let mut scan = scan(10);
        let message = frame(0x82, &[7; 100]);
        assert_eq!(scan.scan(&message[..50], || start), Ok(()));
        assert_eq!(scan.scan(&message[50..60], || start + TIME), Ok(()));
        let late = start + TIME + Duration::from_millis(1);
        let slow = FrameError::TooSlow { limit: TIME };
        assert_eq!(scan.scan(&message[60..70], || late).unwrap_err().1, slow);
        // Between two messages time does not count.
        let mut scan = self::scan(10);
        assert_eq!(scan.scan(&message, || start), Ok(()));
        assert_eq!(scan.scan(&message[..50], || start + 10 * TIME), Ok(()));
        assert_eq!(scan.scan(&message[50..], || start + 11 * TIME), Ok(()));
    }

    #[test]
    fn a_close_code_that_must_not_be_sent_is_known() {
        for (code, illegal) in [
            (1000_u16, false),
            (1002, false),
            (4999, false),
            (999, true),
            (1005, true),
            (1006, true),
            (1015, true),
            (5000, true),
        ] {
            let mut scan = scan(10);
            let close = frame(0x88, &[&code.to_be_bytes()[..], b"why"].concat());
            let verdict = scan.scan(&[&b"\x81\x01a"[..], &close].concat(), Instant::now);
            let expected = illegal.then_some((3, FrameError::IllegalCloseCode { code }));
            assert_eq!(verdict.err(), expected);
        }
        let mut scan = scan(10);
        assert_eq!(scan.scan(&frame(0x88, b""), Instant::now), Ok(()));
        // In pieces, and with the payload of a message that looks like one.
        assert_eq!(scan.scan(b"\x82\x02\x03\xe7\x88\x02\x03", Instant::now), Ok(()));
        assert!(scan.scan(b"\xe7", Instant::now).is_err());
    }

    #[test]
    fn a_length_takes_as_many_bytes_as_it_needs() {
        let wide = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
        let medium = |length: u16| [&[0x82, 126][..], &length.to_be_bytes()].concat();
        for (header, length) in [
            (medium(0), 0),
            (medium(125), 125),
            (wide(0), 0),
            (wide(126), 126),
            (wide(65_535), 65_535),
        ] {
            let verdict = scan(10).scan(&[b"\x81\x01a", &header[..]].concat(), Instant::now);
            assert_eq!(verdict, Err((3, FrameError::LongLength { length })), "{header:x?}");
        }
        for header in [medium(126), medium(65_535), wide(65_536)] {
            assert_eq!(scan(10).scan(&header, Instant::now), Ok(()), "{header:x?}");
        }
    }

    proptest! {
        /// However the bytes are cut, it finds the same.
        #[test]
        fn cuts_change_nothing(
            frames in prop::collection::vec((0u8..3, any::<bool>(), prop_oneof![0usize..200, 65_530usize..65_540]), 1..20),
            cuts in prop::collection::vec(1usize..5_000, 1..50),
            limit in 1u32..6,
        ) {
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|&(opcode, last, len)| frame(opcode | if last { 0x80 } else { 0 }, &vec![0; len]))
                .collect();
            let now = Instant::now();
            let whole = scan(limit).scan(&bytes, || now).err();
            let (mut pieces, mut at, mut found) = (scan(limit), 0, None);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                if let Err((_, error)) = pieces.scan(&bytes[at..end], || now) {
                    found = Some(error);
                    break;
                }
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(whole.map(|(_, error)| error), found);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = scan(5).scan(&bytes, Instant::now);
        }
    }
}
