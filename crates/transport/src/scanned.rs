use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::scan::{FrameError, Scan};

/// A byte stream of a WebSocket, whose frames are looked at before whatever frames gets them: that
/// none has too many fragments, takes too long, or closes with a code that is forbidden
/// ([`FrameError`]).
#[pin_project]
#[derive(Debug)]
pub struct Scanned<IO> {
    #[pin]
    io: IO,
    scan: Scan,
    /// What the peer did wrong; told when what came before it has been read.
    broken: Option<FrameError>,
}

impl<IO> Scanned<IO> {
    pub(crate) fn new(io: IO, scan: Scan) -> Self {
        Self { io, scan, broken: None }
    }

    /// True if what has been read ends with a message: then, once a codec has found nothing more to
    /// read, none of it is left in its buffers.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.broken.is_none() && self.scan.is_between_messages()
    }
}

impl<IO: AsyncRead> AsyncRead for Scanned<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if let Some(broken) = *this.broken {
            return Poll::Ready(Err(io::Error::other(broken)));
        }
        let before = buf.filled().len();
        ready!(this.io.poll_read(cx, buf))?;
        if let Err((sound, broken)) = this.scan.scan(&buf.filled()[before..], Instant::now) {
            *this.broken = Some(broken);
            buf.set_filled(before + sound);
            if sound == 0 {
                return Poll::Ready(Err(io::Error::other(broken)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite> AsyncWrite for Scanned<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, buf)
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_sound_is_read_before_the_error() {
        let (near, mut far) = duplex(64);
        let mut io = Scanned::new(near, Scan::new(1, Duration::MAX));
        far.write_all(b"\x81\x02ok\x01\x01a\x80\x01b").await.unwrap();
        let mut read = [0; 64];
        // A message, and the first frame of another.
        assert_eq!(io.read(&mut read).await.unwrap(), 7);
        for _ in 0..2 {
            let error = io.read(&mut read).await.unwrap_err();
            assert!(error.to_string().contains("more than 1 frames"), "{error}");
        }
    }
}
