//! One connection of the peer: read what is there, answer it, write what goes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::BoxError;

use super::frame::{self, Frame};
use super::{Mode, call, upgrade};

/// What one read asks for at least: of a thousand connections, each should hold little.
const LEAST_CHUNK: usize = 16 * 1024;
/// And at most, once the reads before it were filled.
const MOST_CHUNK: usize = 256 * 1024;
/// How many answers, or bytes of them, are written at once at most: the client works on them while
/// the rest is answered. With the whole window in one write, client and peer would take turns and
/// neither would be busy.
const LUMP: u32 = 64;
const LUMP_BYTES: usize = 64 * 1024;
/// How often an idle connection asks the socket before it sleeps, if it is not to sleep at once:
/// some hundred microseconds.
const SPINS: u32 = 1_000;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    spins: u32,
    mode: Option<Mode>,
    input: Input,
    /// The fragments so far of a call that comes in several frames.
    fragments: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` has been written.
    written: usize,
    /// The client's close has been answered, and nothing follows.
    closing: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, sleeps: bool) -> Self {
        Self {
            stream,
            spins: if sleeps { 0 } else { SPINS },
            mode: None,
            input: Input {
                buffer: Vec::new(),
                start: 0,
                end: 0,
                chunk: LEAST_CHUNK,
            },
            fragments: Vec::new(),
            output: Vec::new(),
            written: 0,
            closing: false,
        }
    }

    /// Serves until the client leaves.
    pub(crate) fn serve(mut self) -> Result<(), BoxError> {
        self.stream.set_nodelay(true)?;
        self.stream.set_nonblocking(true)?;
        match self.take_turns() {
            Err(error) if error.downcast_ref().is_some_and(left) => Ok(()),
            ended => ended,
        }
    }

    fn take_turns(&mut self) -> Result<(), BoxError> {
        let mut idle = 0;
        loop {
            let answered = self.answer()?;
            let wrote = self.write()?;
            if self.closing && self.output.is_empty() {
                return Ok(());
            }
            if answered || wrote {
                idle = 0;
            }
            if answered {
                continue;
            }
            match self.read() {
                Ok(0) => return Ok(()),
                Ok(_) => idle = 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => idle += 1,
                Err(error) => return Err(error.into()),
            }
            if idle > self.spins && self.output.is_empty() {
                self.sleep()?;
                idle = 0;
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let room = self.input.room();
        let most = room.len();
        let read = self.stream.read(room)?;
        self.input.filled_by(read, most);
        Ok(read)
    }

    /// Waits for the next byte without taking it.
    fn sleep(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        // An error shows again in the read that follows.
        let _ = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(true)
    }

    /// Answers what is complete, a lump at most; whether there was anything.
    fn answer(&mut self) -> Result<bool, BoxError> {
        let Some(mode) = self.mode else {
            return self.accept();
        };
        let before = self.output.len();
        let mut answers = 0;
        while answers < LUMP && self.output.len() - before < LUMP_BYTES {
            let Some(frame) = frame::take(self.input.filled()) else {
                break;
            };
            self.answer_frame(mode, &frame)?;
            self.input.start += frame.payload.end;
            answers += 1;
        }
        Ok(answers > 0)
    }

    fn accept(&mut self) -> Result<bool, BoxError> {
        let Some(upgrade) = upgrade::take(self.input.filled())? else {
            return Ok(false);
        };
        self.mode = Some(upgrade.mode);
        self.input.start += upgrade.length;
        self.output.extend_from_slice(upgrade.response.as_bytes());
        Ok(true)
    }

    fn answer_frame(&mut self, mode: Mode, frame: &Frame) -> Result<(), BoxError> {
        let payload = &self.input.filled()[frame.payload.clone()];
        match (frame.head & frame::OPCODE, mode) {
            (frame::CLOSE, _) => {
                put(&mut self.output, frame.head, payload);
                self.closing = true;
            }
            (frame::PING, _) => put(&mut self.output, frame::FIN | frame::PONG, payload),
            (frame::PONG, _) => {}
            (_, Mode::Echo) => put(&mut self.output, frame.head, payload),
            (_, Mode::Rpc | Mode::Mcp) if frame.head & frame::FIN == 0 => {
                self.fragments.extend_from_slice(payload);
            }
            (_, Mode::Rpc | Mode::Mcp) if self.fragments.is_empty() => {
                call::answer(mode, payload, &mut self.output)?;
            }
            (_, Mode::Rpc | Mode::Mcp) => {
                self.fragments.extend_from_slice(payload);
                call::answer(mode, &self.fragments, &mut self.output)?;
                self.fragments.clear();
            }
        }
        Ok(())
    }

    /// Writes what goes; whether anything went.
    fn write(&mut self) -> io::Result<bool> {
        if self.output.is_empty() {
            return Ok(false);
        }
        match self.stream.write(&self.output[self.written..]) {
            Ok(written) => self.written += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        // A client that reads slowly must not make the written part grow for ever; moving at most
        // as much as is dropped keeps that cheap.
        if self.written * 2 >= self.output.len() {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(true)
    }
}

/// What has been read and not yet been answered: `start..end` of a buffer that only grows.
#[derive(Debug)]
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What the next read asks for at least.
    chunk: usize,
}

impl Input {
    fn filled(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn room(&mut self) -> &mut [u8] {
        // Moving on every read would move the start of a long frame again and again.
        if self.start == self.end || self.buffer.len() < self.end + self.chunk {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.end + self.chunk {
            self.buffer.resize(self.end + 2 * self.chunk, 0);
        }
        &mut self.buffer[self.end..]
    }

    fn filled_by(&mut self, read: usize, most: usize) {
        self.end += read;
        if read == most {
            self.chunk = MOST_CHUNK.min(self.chunk * 2);
        }
    }
}

/// Whether the error says no more than that the client has gone.
fn left(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn put(output: &mut Vec<u8>, head: u8, payload: &[u8]) {
    frame::put_head(output, head, payload.len());
    output.extend_from_slice(payload);
}
