use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use tower_ws_core::Progress;

use crate::limits::LEAST_READ;

/// A byte stream that first gives what was read ahead of it, reads ahead itself when much comes in
/// at once, and counts what passes.
#[pin_project]
#[derive(Debug)]
pub struct Counted<IO> {
    #[pin]
    io: IO,
    /// It is there only while there is something to read.
    ahead: BytesMut,
    size: ReadSize,
    progress: Progress,
}

/// How much is read at once: as much as comes in at once. Fewer and larger reads cost less, and what
/// is idle should hold little.
#[derive(Debug)]
struct ReadSize {
    most: usize,
    now: usize,
    /// How many reads in a row have found far less.
    small: u8,
}

impl ReadSize {
    /// So many reads that found less than a quarter show that it is too much.
    const SMALL: u8 = 16;

    fn new(most: usize) -> Self {
        Self {
            most: most.max(LEAST_READ),
            now: LEAST_READ,
            small: 0,
        }
    }

    /// A read found so much, of what it had room for.
    fn found(&mut self, read: usize, room: usize) {
        self.small = if read < self.now / 4 { self.small + 1 } else { 0 };
        if read == room {
            self.now = self.most.min(self.now * 4);
        } else if self.small == Self::SMALL {
            self.now = LEAST_READ.max(self.now / 4);
            self.small = 0;
        }
    }
}

/// So much room of whoever reads is enough to do without a buffer in between, where little comes in
/// at once.
const ROOM: usize = 1 << 10;

impl<IO> Counted<IO> {
    pub(crate) fn new(io: IO, early: Bytes, progress: Progress, most: usize) -> Self {
        progress.add_read(early.len());
        Self {
            io,
            // A copy: the buffer that it was read into is as large as an HTTP head may be.
            ahead: BytesMut::from(&*early),
            size: ReadSize::new(most),
            progress,
        }
    }
}

impl<IO: AsyncRead> AsyncRead for Counted<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if this.ahead.is_empty() {
            let (before, room) = (buf.filled().len(), buf.remaining());
            let direct = room >= this.size.now || (room >= ROOM && this.size.now == LEAST_READ);
            let (polled, room) = match direct {
                true => (
                    this.io.poll_read(cx, buf).map_ok(|()| buf.filled().len() - before),
                    room,
                ),
                false => {
                    this.ahead.reserve(this.size.now);
                    let room = this.ahead.capacity();
                    (poll_read_buf(this.io, cx, this.ahead), room)
                }
            };
            let Poll::Ready(read) = polled else {
                *this.ahead = BytesMut::new();
                this.progress.add_dry_read();
                return Poll::Pending;
            };
            let read = read?;
            this.progress.add_read(read);
            this.size.found(read, room);
        }
        let some = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead.split_to(some));
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite> AsyncWrite for Counted<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = ready!(this.io.poll_write(cx, buf))?;
        this.progress.add_written(written);
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
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn early_bytes_come_first_and_everything_is_counted() {
        let (near, mut far) = duplex(64);
        let progress = Progress::new();
        let mut io = Counted::new(near, Bytes::from_static(b"early "), progress.clone(), 1 << 20);
        far.write_all(b"late").await.unwrap();
        let mut read = [0; 10];
        io.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"early late");
        io.write_all(b"abc").await.unwrap();
        assert_eq!((progress.read(), progress.written(), progress.dry_reads()), (10, 3, 0));

        let more = tokio::time::timeout(std::time::Duration::ZERO, io.read_u8()).await;
        assert!(more.is_err());
        assert!(progress.dry_reads() > 0);
    }

    #[tokio::test]
    async fn it_reads_as_much_as_comes_in_and_holds_nothing_while_idle() {
        let (near, mut far) = duplex(1 << 20);
        let mut io = Counted::new(near, Bytes::new(), Progress::new(), 64 << 10);
        let mut read = vec![0; 2 * LEAST_READ];
        for burst in 0..2 {
            far.write_all(&vec![1; 200_000]).await.unwrap();
            for _ in 0..200_000 / read.len() {
                io.read_exact(&mut read).await.unwrap();
            }
            io.read_exact(&mut read[..200_000 % (2 * LEAST_READ)]).await.unwrap();
            assert_eq!(io.size.now, 64 << 10, "{burst}");
            assert!(io.read_u8().now_or_never().is_none());
            assert_eq!(io.ahead.capacity(), 0);
        }
        for _ in 0..=2 * ReadSize::SMALL {
            far.write_all(b"little").await.unwrap();
            io.read_exact(&mut read[..6]).await.unwrap();
        }
        assert_eq!(io.size.now, LEAST_READ);
    }
}
