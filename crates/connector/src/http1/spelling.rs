use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use pin_project::pin_project;

/// Writes the names of a request's fields as RFCs spell them, `Sec-WebSocket-Key`: to HTTP it makes
/// no difference, to devices that compare bytes it does, and hyper writes them in lower case.
///
/// Only letters change, never the length, so that what is half written is no matter.
#[pin_project]
pub(super) struct Spelled<IO> {
    #[pin]
    io: IO,
    place: Place,
}

/// Where in the request's head the next byte belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// In the request line, or in a field's value.
    Line,
    /// Where a field begins, or the head ends.
    LineStart,
    /// In a field's name.
    Name {
        /// So many bytes into a word of it.
        at: usize,
        /// Whether the word began as [`WEBSOCKET`] does.
        websocket: bool,
    },
    /// Behind the head.
    Body,
}

/// The word with a capital within.
const WEBSOCKET: &[u8] = b"WebSocket";

impl<IO> Spelled<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self { io, place: Place::Line }
    }

    pub(super) fn into_inner(self) -> IO {
        self.io
    }
}

impl Place {
    const WORD: Self = Self::Name { at: 0, websocket: true };

    /// The byte as it is to be written; moves behind it.
    fn spell(&mut self, byte: u8) -> u8 {
        match *self {
            Self::Body => return byte,
            Self::Line if byte == b'\n' => *self = Self::LineStart,
            Self::Line => {}
            Self::LineStart if byte == b'\r' => *self = Self::Body,
            Self::LineStart => {
                *self = Self::WORD;
                return self.spell(byte);
            }
            Self::Name { .. } if byte == b':' => *self = Self::Line,
            Self::Name { .. } if byte == b'-' => *self = Self::WORD,
            Self::Name { at, websocket } => {
                let capital = WEBSOCKET.get(at).copied().filter(|_| websocket);
                let websocket = capital.is_some_and(|capital| capital.eq_ignore_ascii_case(&byte));
                *self = Self::Name { at: at + 1, websocket };
                return match capital.filter(|_| websocket) {
                    Some(capital) => capital,
                    None if at == 0 => byte.to_ascii_uppercase(),
                    None => byte,
                };
            }
        }
        byte
    }
}

impl<IO: Read> Read for Spelled<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buffer)
    }
}

impl<IO: Write> Write for Spelled<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        if *this.place == Place::Body {
            return this.io.poll_write(cx, bytes);
        }
        let mut place = *this.place;
        let spelled: Vec<u8> = bytes.iter().map(|&byte| place.spell(byte)).collect();
        let written = ready!(this.io.poll_write(cx, &spelled))?;
        for &byte in bytes.iter().take(written) {
            this.place.spell(byte);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_nothing_else() {
        let head = "GET /web-socket?a-b HTTP/1.1\r\nhost: a-b.example\r\nsec-websocket-key: web-socket==\r\n\
                    x-webhook: no: colon-s\r\nx-webs:\r\nwebsocket: a\r\nx: b\r\n\r\na-b\r\nc-d: e\r\n";
        let mut place = Place::Line;
        let spelled: Vec<u8> = head.bytes().map(|byte| place.spell(byte)).collect();
        assert_eq!(
            String::from_utf8(spelled).unwrap(),
            "GET /web-socket?a-b HTTP/1.1\r\nHost: a-b.example\r\nSec-WebSocket-Key: web-socket==\r\n\
             X-Webhook: no: colon-s\r\nX-WebS:\r\nWebSocket: a\r\nX: b\r\n\r\na-b\r\nc-d: e\r\n"
        );
    }

    #[test]
    fn a_head_in_pieces_is_the_same() {
        let mut io = Trickle::default();
        let head = b"GET / HTTP/1.1\r\nsec-websocket-version: 13\r\n\r\n";
        let mut spelled = Spelled::new(&mut io);
        let mut rest = &head[..];
        while !rest.is_empty() {
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(written) = Pin::new(&mut spelled).poll_write(cx, rest) {
                rest = &rest[written.unwrap()..];
            }
        }
        assert_eq!(io.0, b"GET / HTTP/1.1\r\nSec-WebSocket-Version: 13\r\n\r\n");
    }

    /// Takes a byte at a time, and none each third time.
    #[derive(Default)]
    struct Trickle(Vec<u8>, u8);

    impl Write for Trickle {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.1 = (self.1 + 1) % 3;
            if self.1 == 0 {
                return Poll::Pending;
            }
            self.0.extend(bytes.first());
            Poll::Ready(Ok(1))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
