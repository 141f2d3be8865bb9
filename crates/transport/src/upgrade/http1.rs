use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection},
    rt,
};
use tokio::time::{Instant, timeout_at};

/// The most that an answer's head may take: 16 KiB, twice what common servers allow for a request's.
const HEAD: usize = 16 << 10;

/// How much of a refusal's body is kept: 4 KiB, more than any explanation needs.
const BODY: usize = 4 << 10;

/// One HTTP/1.1 exchange on a byte stream that is wanted back.
///
/// hyper's connection has to be polled beside whatever waits for it; here nothing is spawned, so that dropping the dial
/// ends it all.
pub(crate) struct Http1<IO>
where
    IO: rt::Read + rt::Write,
{
    connection: Connection<IO, Empty<Bytes>>,
    ended: Option<hyper::Result<()>>,
}

impl<IO> Http1<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    /// Begins the exchange; the future waits for the answer's head and has to be [driven](Self::drive).
    pub(crate) async fn send(
        io: IO,
        request: Request<Empty<Bytes>>,
    ) -> hyper::Result<(Self, impl Future<Output = hyper::Result<Response<Incoming>>>)>
    where
        IO: Send + 'static,
    {
        let (mut sender, connection) = Builder::new().max_buf_size(HEAD).handshake(io).await?;
        let answer = sender.send_request(request);
        // The sender goes along: without one, hyper would take the connection for done.
        let answer = async move {
            let answer = answer.await;
            drop(sender);
            answer
        };
        Ok((
            Self {
                connection,
                ended: None,
            },
            answer,
        ))
    }

    /// Resolves what depends on the connection.
    pub(crate) async fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            // What goes wrong here reaches the future through hyper's channels.
            let _ = self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// The first bytes of a body: what comes until the deadline, or until there is enough.
    pub(crate) async fn read_some(&mut self, mut body: Incoming, deadline: Instant) -> Bytes {
        let mut read = BytesMut::new();
        // A body that breaks off or stalls is shown as far as it came.
        while read.len() < BODY
            && let Ok(Some(Ok(frame))) = timeout_at(deadline, self.drive(body.frame())).await
        {
            if let Some(data) = frame.data_ref() {
                read.extend_from_slice(&data[..data.len().min(BODY - read.len())]);
            }
        }
        read.freeze()
    }

    /// After the upgrade: the byte stream, and what came in behind the answer.
    pub(crate) async fn into_io(mut self) -> hyper::Result<(IO, Bytes)> {
        poll_fn(|cx| self.poll(cx)).await;
        match self.ended {
            Some(Err(error)) => Err(error),
            _ => {
                let parts = self.connection.into_parts();
                Ok((parts.io, parts.read_buf))
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.is_none()
            && let Poll::Ready(ended) = self.connection.poll_without_shutdown(cx)
        {
            self.ended = Some(ended);
        }
        match self.ended {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }
}
