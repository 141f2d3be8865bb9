use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use hyper::rt;
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};
use tokio_util::io::poll_read_buf;
use tower_ws_core::{BoxError, Halves};

use super::{Deflate, extension::Agreed, reader::Reader, writer::Writer};
use crate::{
    framing::Upgraded,
    limits::{LEAST_READ, Limits},
    message::{Kind, Message},
};

/// An upgraded WebSocket, framed by sockudo-ws: a sink and a stream of [`Message`]s, as
/// [`WebSocket`](crate::WebSocket) is.
///
/// Answers to pings (to each, and to the latest one if the peer does not read: RFC 6455, section 5.5.3)
/// and to a close frame leave while somebody reads or writes. Dropping it aborts the connection.
pub struct SockudoSocket<IO> {
    io: Upgraded<IO>,
    input: BytesMut,
    read_buffer: usize,
    reader: Reader,
    writer: Writer,
    /// So much gathers before it is written without a flush.
    piece: usize,
    write_buffer: usize,
    /// The latest ping, until it is answered.
    ping: Option<Bytes>,
    /// There is an answer among what waits to be written.
    answering: bool,
    said_close: bool,
    heard_close: bool,
    /// Nothing is read any more.
    ended: bool,
    halves: Halves,
}

/// How much is read at once at most, as this buffer never changes its size.
const READ: usize = 16 << 10;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Half {
    Reader,
    Writer,
}

impl<IO> SockudoSocket<IO> {
    pub(super) fn new(io: Upgraded<IO>, limits: &Limits, deflate: Option<(Deflate, Agreed)>) -> Self {
        let config = limits.config(LEAST_READ);
        Self {
            io,
            input: BytesMut::new(),
            read_buffer: limits.read_buffer.clamp(LEAST_READ, READ),
            reader: Reader::new(limits, deflate.map(|(_, agreed)| agreed)),
            writer: Writer::new(deflate),
            piece: config.write_buffer_size,
            write_buffer: config.max_write_buffer_size,
            ping: None,
            answering: false,
            said_close: false,
            heard_close: false,
            ended: false,
            halves: Halves::new(),
        }
    }

    fn hear(&mut self, message: &Message) {
        match message.kind() {
            Kind::Ping => {
                self.ping = Some(message.clone().into_bytes());
                // Before the next, which may be there already.
                self.answer_ping();
            }
            Kind::Close => {
                self.heard_close = true;
                self.answer_close(message.as_close().map_or(NO_CODE, |close| close.code));
            }
            _ => {}
        }
    }

    /// The same code, once.
    fn answer_close(&mut self, code: u16) {
        if std::mem::replace(&mut self.said_close, true) {
            return;
        }
        // Control messages can always be framed.
        let _ = self.writer.write(&Message::close(code, ""));
        self.answering = true;
    }

    /// Pings are answered where there is room: a peer that sends them and does not read cannot fill
    /// the memory.
    fn answer_ping(&mut self) {
        if self.writer.waiting() < self.piece
            && let Some(payload) = self.ping.take()
            // After a close frame, nothing.
            && !self.said_close
        {
            let _ = self.writer.write(&Message::pong(payload));
            self.answering = true;
        }
    }
}

impl<IO> SockudoSocket<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    /// Writes until less than `keep` bytes are left.
    fn poll_write(&mut self, cx: &mut Context<'_>, half: Half, keep: usize) -> Poll<Result<(), Error>> {
        if self.poll_write_with(cx, keep)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        match half {
            Half::Reader => self.halves.park_reader(cx),
            Half::Writer => self.halves.park_writer(cx),
        }
        let both = self.halves.both().clone();
        self.poll_write_with(&mut Context::from_waker(&both), keep)
    }

    fn poll_write_with(&mut self, cx: &mut Context<'_>, keep: usize) -> Poll<Result<(), Error>> {
        loop {
            self.answer_ping();
            if self.writer.waiting() < keep.max(1) {
                return Poll::Ready(Ok(()));
            }
            let out = self.writer.out();
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, out))?;
            if written == 0 {
                return Poll::Ready(Err(Error::Io(std::io::ErrorKind::WriteZero.into())));
            }
            out.advance(written);
        }
    }

    fn poll_flush_as(&mut self, cx: &mut Context<'_>, half: Half) -> Poll<Result<(), Error>> {
        ready!(self.poll_write(cx, half, 0))?;
        self.answering = false;
        Pin::new(&mut self.io).poll_flush(cx).map_err(Error::Io)
    }

    /// Reads more. False at the end of the bytes.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        if self.heard_close {
            // What comes after a close frame means nothing; only its end does.
            self.input.clear();
        }
        let room = self.input.capacity() - self.input.len();
        if room < self.read_buffer / 4 {
            self.input.reserve(self.read_buffer);
        }
        let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input))?;
        Poll::Ready(Ok(read > 0))
    }

    /// The next message out of what has been read.
    fn next(&mut self) -> Result<Option<Message>, Error> {
        let before = self.input.len();
        let next = self.reader.next(&mut self.input);
        // Rather a copy of the rest than all the memory of a large message for as long as the
        // connection lives.
        if before > LARGE && before - self.input.len() > LARGE / 2 {
            self.input = BytesMut::from(&self.input[..]);
        }
        next
    }
}

/// Closes without a code (RFC 6455, section 7.4.1).
pub(super) const NO_CODE: u16 = 1005;
/// A read buffer that is not kept: 256 KiB.
const LARGE: usize = 256 << 10;

impl<IO> Stream for SockudoSocket<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    type Item = Result<Message, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.ended {
            if !this.heard_close {
                match this.next() {
                    Ok(Some(message)) => {
                        this.hear(&message);
                        return Poll::Ready(Some(Ok(message)));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        this.ended = true;
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
            }
            if this.answering || this.ping.is_some() {
                // A write that fails is found by whoever writes; here, what the peer has said comes
                // first.
                let _ = this.poll_flush_as(cx, Half::Reader);
            }
            let error = match ready!(this.poll_fill(cx)) {
                Ok(true) => continue,
                Ok(false) => ProtocolError::ResetWithoutClosingHandshake.into(),
                Err(error) => error,
            };
            this.ended = true;
            if !this.heard_close {
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        Poll::Ready(None)
    }
}

impl<IO> Sink<Message> for SockudoSocket<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    type Error = BoxError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let piece = self.piece;
        self.poll_write(cx, Half::Writer, piece).map_err(Into::into)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), BoxError> {
        let is_close = message.kind() == Kind::Close;
        if self.said_close {
            return match is_close {
                // It has been said, by this side or in answer to the peer.
                true => Ok(()),
                false => Err(Error::from(ProtocolError::SendAfterClosing).into()),
            };
        }
        if self.writer.waiting() > 0 && self.writer.waiting() + message.len() > self.write_buffer {
            return Err(Error::WriteBufferFull(Box::new(message.0)).into());
        }
        self.writer.write(&message)?;
        self.said_close = is_close;
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll_flush_as(cx, Half::Writer).map_err(Into::into)
    }

    /// Says the close frame, if nobody has. The stream goes on to its end.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.answer_close(NO_CODE);
        self.poll_flush_as(cx, Half::Writer).map_err(Into::into)
    }
}

/// What is in its buffers is nobody's business.
impl<IO> fmt::Debug for SockudoSocket<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SockudoSocket").finish_non_exhaustive()
    }
}
