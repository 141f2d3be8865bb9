//! A stream that is read slowly.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

const SLICE: Duration = Duration::from_millis(100);

/// A TCP stream of which no more than so many bytes are read each second, if there is a limit.
#[derive(Debug)]
pub(crate) struct Throttle {
    stream: TcpStream,
    /// In each slice of time.
    limit: usize,
    left: usize,
    slice: Pin<Box<Sleep>>,
}

impl Throttle {
    pub(crate) fn new(stream: TcpStream, bytes_per_second: Option<usize>) -> Self {
        let limit = bytes_per_second.map_or(usize::MAX, |bytes| bytes / 10);
        Self {
            stream,
            limit,
            left: limit,
            slice: Box::pin(sleep(SLICE)),
        }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Throttle {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.limit == usize::MAX {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        if this.left == 0 {
            ready!(this.slice.as_mut().poll(cx));
            this.slice.as_mut().reset(Instant::now() + SLICE);
            this.left = this.limit;
        }
        let mut part = vec![0; this.left.min(buf.remaining())];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        this.left -= part.filled().len();
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Throttle {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
