use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use pin_project::pin_project;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{trace::Stage, url};

/// How much of a connection the system may hold that it has not sent: 16 KiB, one piece of a
/// fragmented message. What waits longer waits on this side, where a ping overtakes it.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 16 << 10;

/// A TCP connector whose sockets hold at most 16 KiB that were not sent yet
/// (`TCP_NOTSENT_LOWAT`, [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html)).
///
/// By itself the system takes megabytes, whether or not the network moves, and says that there is
/// room again in steps of a third of that. On a slow link a ping then stands behind a minute of
/// other bytes, and a write that moves all the time looks stuck: both end in a connection that is
/// taken for dead in the middle of an upload. With this bound bytes that the socket takes are bytes
/// that the network took, but for the last 16 KiB. What is in flight, sent and unacknowledged, is
/// not bounded, so that a fast and far link is not slowed.
///
/// On other systems than Linux and Android, and where the system refuses, it changes nothing.
#[derive(Clone, Debug)]
pub struct BoundUnsent<C> {
    inner: C,
}

/// The future of [`BoundUnsent`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Bounding<F> {
    #[pin]
    inner: F,
}

impl<C> BoundUnsent<C> {
    /// Bounds the sockets of `inner`.
    pub fn new(inner: C) -> Self {
        Self { inner }
    }
}

impl<C> Service<Uri> for BoundUnsent<C>
where
    C: Service<Uri, Response = TokioIo<TcpStream>>,
{
    type Response = TokioIo<TcpStream>;
    type Error = C::Error;
    type Future = Bounding<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Some(host) = uri.host() {
            let secure = uri.scheme_str() == Some("https");
            let begun = Stage::Begun {
                host: host.trim_matches(['[', ']']).to_owned(),
                port: uri.port_u16().unwrap_or(url::default_port(secure)),
            };
            begun.note();
        }
        Bounding {
            inner: self.inner.call(uri),
        }
    }
}

impl<F, E> Future for Bounding<F>
where
    F: Future<Output = Result<TokioIo<TcpStream>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = ready!(self.project().inner.poll(cx))?;
        Stage::Tcp(stream.inner().peer_addr().ok()).note();
        bound(stream.inner());
        Poll::Ready(Ok(stream))
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn bound(stream: &TcpStream) {
    // Where it is refused, the system's own bound stays.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bound(_: &TcpStream) {}

#[cfg(all(test, any(target_os = "android", target_os = "linux")))]
mod tests {
    use hyper_util::client::legacy::connect::HttpConnector;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_socket_has_the_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let stream = BoundUnsent::new(HttpConnector::new()).call(uri).await.unwrap();
        let socket = socket2::SockRef::from(stream.inner());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
