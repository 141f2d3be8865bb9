use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_ws_core::Progress;

/// A byte stream that first gives what was read ahead of it, and counts what passes.
#[pin_project]
#[derive(Debug)]
pub struct Counted<IO> {
    #[pin]
    io: IO,
    /// `None` once it has been given: even empty it would keep the buffer that it was read into.
    early: Option<Bytes>,
    progress: Progress,
}

impl<IO> Counted<IO> {
    pub(crate) fn new(io: IO, early: Bytes, progress: Progress) -> Self {
        let early = Some(early).filter(Buf::has_remaining);
        Self { io, early, progress }
    }
}

impl<IO: AsyncRead> AsyncRead for Counted<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if let Some(early) = this.early {
            let first = early.split_to(early.len().min(buf.remaining()));
            buf.put_slice(&first);
            this.progress.add_read(first.len());
            if early.is_empty() {
                *this.early = None;
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match this.io.poll_read(cx, buf) {
            Poll::Ready(done) => {
                this.progress.add_read(buf.filled().len() - before);
                Poll::Ready(done)
            }
            Poll::Pending => {
                this.progress.add_dry_read();
                Poll::Pending
            }
        }
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn early_bytes_come_first_and_everything_is_counted() {
        let (near, mut far) = duplex(64);
        let progress = Progress::new();
        let mut io = Counted::new(near, Bytes::from_static(b"early "), progress.clone());
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
}
