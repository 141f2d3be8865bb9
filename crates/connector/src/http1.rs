//! HTTP/1.1 up to the moment where the byte stream becomes something else: for a proxy's tunnel,
//! for the upgrade to WebSocket, and for a handshake of your own.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, header::RETRY_AFTER};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection},
    rt,
};
use tokio::time::{Instant, timeout_at};
use tower_ws_core::RetryAfter;

use self::spelling::Spelled;

mod spelling;

/// The most that an answer's head may take: 16 KiB, twice what common servers allow for a
/// request's.
const HEAD: usize = 16 << 10;

/// How much of a refusal's body is kept: 4 KiB, more than any explanation needs.
pub const BODY: usize = 4 << 10;

/// One HTTP/1.1 exchange on a byte stream that is wanted back.
///
/// hyper's connection has to be polled beside whatever waits for it; here nothing is spawned, so
/// that dropping this and its futures ends it all, byte stream included. It has no time limit of
/// its own. The names of header fields are written as RFCs spell them, `Sec-WebSocket-Key`: some
/// devices compare bytes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use http::{Request, StatusCode};
/// use http_body_util::Empty;
/// use hyper_util::rt::TokioIo;
/// use tower_ws_connector::http1::Http1;
///
/// # let (near, mut far) = tokio::io::duplex(1024);
/// # let server = async move {
/// #     far.read_buf(&mut Vec::new()).await?;
/// #     far.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nearly").await?;
/// #     std::io::Result::Ok(far)
/// # };
/// # let client = async move {
/// let request = Request::get("/").header("upgrade", "echo").header("connection", "upgrade").body(Empty::new())?;
/// let (mut http, answer) = Http1::send(TokioIo::new(near), request).await?;
/// let answer = http.drive(answer).await?;
/// assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
/// let (stream, early) = http.into_io().await?;
/// # assert_eq!(&early[..], b"early"); drop(stream);
/// # Ok::<(), Box<dyn std::error::Error>>(()) };
/// # let (far, client) = tokio::join!(server, client);
/// # far?; client }
/// ```
pub struct Http1<IO>
where
    IO: rt::Read + rt::Write,
{
    connection: Connection<Spelled<IO>, Empty<Bytes>>,
    ended: Option<hyper::Result<()>>,
}

impl<IO> Http1<IO>
where
    IO: rt::Read + rt::Write + Unpin,
{
    /// Begins the exchange; the future waits for the answer's head, and has to be
    /// [driven](Self::drive).
    ///
    /// # Errors
    ///
    /// hyper's. A head of more than 16 KiB or 100 headers is one that cannot be parsed.
    pub async fn send(
        io: IO,
        request: Request<Empty<Bytes>>,
    ) -> hyper::Result<(Self, impl Future<Output = hyper::Result<Response<Incoming>>>)>
    where
        IO: Send + 'static,
    {
        // RFC 9112, section 5.2: a client reads a folded header line as if blanks had stood there.
        let (mut sender, connection) = Builder::new()
            .max_buf_size(HEAD)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(Spelled::new(io))
            .await?;
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

    /// Resolves what depends on the connection. Dropped, it may be called again.
    pub async fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            // What goes wrong here reaches the future through hyper's channels.
            let _ = self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// The first bytes of a body: what comes until the deadline, and no more than 4 KiB. One that
    /// breaks off is given as far as it came.
    pub async fn read_some(&mut self, mut body: Incoming, deadline: Instant) -> Bytes {
        let mut read = BytesMut::new();
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
    ///
    /// # Errors
    ///
    /// hyper's, if the connection broke.
    pub async fn into_io(mut self) -> hyper::Result<(IO, Bytes)> {
        poll_fn(|cx| self.poll(cx)).await;
        match self.ended {
            Some(Err(error)) => Err(error),
            _ => {
                let parts = self.connection.into_parts();
                Ok((parts.io.into_inner(), parts.read_buf))
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

impl<IO: rt::Read + rt::Write> fmt::Debug for Http1<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1")
            .field("ended", &self.ended.is_some())
            .finish_non_exhaustive()
    }
}

/// When to come again, as `retry-after` has it, in seconds or as a date: [RFC 9110, section
/// 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3). `None` for what is neither.
pub fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    // Of digits alone: the parser would take a plus, too.
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs).map(RetryAfter::Delay);
    }
    let date: SystemTime = httpdate::parse_http_date(value).ok()?;
    Some(RetryAfter::Date(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let of = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(of("7"), Some(RetryAfter::Delay(Duration::from_secs(7))));
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(RetryAfter::Date(date)));
        for junk in ["-1", "+7", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(of(junk), None, "{junk}");
        }
    }
}
