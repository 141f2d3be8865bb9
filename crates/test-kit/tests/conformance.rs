//! The conformance suite passes over what conforms.
#![allow(clippy::unwrap_used, reason = "a harness is part of its test")]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use http::Request;
use pin_project::pin_project;
use tokio::{
    io::DuplexStream,
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tower::{Layer, Service, ServiceExt};
use tower_ws_core::{BoxConnection, Closed, Connection, Lift, MapConnection, Outgoing, Wrap, boxed, forward_sink};
use tower_ws_test_kit::conformance::{self, Harness, Numbering, Outcome, Peer, Suite, Unsupported};
use tower_ws_transport::{Message, WebSocket, memory};

// === layers ===

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_nothing() {
    let report = conformance::layer(tower::layer::util::Identity::new()).await;
    assert_eq!(report.of("wrapping_is_transparent"), Some(Outcome::Held), "{report}");
    assert!(matches!(
        report.of("the_sink_half_never_dials"),
        Some(Outcome::NotRun(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_other_messages() {
    let numbering = Numbering::<Message>::default();
    Suite::layer_of(tower::layer::util::Identity::new(), numbering)
        .run()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_counts() {
    let counter = Arc::<AtomicUsize>::default();
    conformance::layer(CountLayer(counter.clone())).await;
    assert!(counter.load(Ordering::Relaxed) > 1000);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_erases() {
    conformance::layer(tower::layer::layer_fn(Erase)).await;
}

#[derive(Clone)]
struct CountLayer(Arc<AtomicUsize>);

#[derive(Clone)]
struct Count<S> {
    inner: S,
    counter: Arc<AtomicUsize>,
}

/// A connection that counts the messages that come in.
#[pin_project]
struct Counted<C> {
    #[pin]
    inner: C,
    counter: Arc<AtomicUsize>,
}

struct Counting(Arc<AtomicUsize>);

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count {
            inner,
            counter: self.0.clone(),
        }
    }
}

impl<S, T> Service<T> for Count<S>
where
    S: Service<T, Response: Connection>,
{
    type Response = Counted<S::Response>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, Counting>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.inner.call(target), Counting(self.counter.clone()))
    }
}

impl<C> Wrap<C> for Counting {
    type Connection = Counted<C>;

    fn wrap(self, inner: C) -> Counted<C> {
        Counted { inner, counter: self.0 }
    }
}

impl<C: Connection> Stream for Counted<C> {
    type Item = C::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Item>> {
        let this = self.project();
        let polled = this.inner.poll_next(cx);
        if let Poll::Ready(Some(_)) = polled {
            this.counter.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl<C: Connection> Sink<Outgoing<C::Message>> for Counted<C> {
    type Error = Closed;
    forward_sink!(inner);
}

#[derive(Clone)]
struct Erase<S>(S);

struct Erasing;

impl<S, T> Service<T> for Erase<S>
where
    S: Service<T, Response: Connection<Message: 'static> + Send + 'static>,
{
    type Response = BoxConnection<<S::Response as Connection>::Message>;
    type Error = S::Error;
    type Future = MapConnection<S::Future, Erasing>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        MapConnection::new(self.0.call(target), Erasing)
    }
}

impl<C: Connection<Message: 'static> + Send + 'static> Wrap<C> for Erasing {
    type Connection = BoxConnection<C::Message>;

    fn wrap(self, inner: C) -> Self::Connection {
        boxed(inner)
    }
}

// === transports ===

#[tokio::test(start_paused = true)]
async fn a_socket_in_memory() {
    for capacity in [1, 2, 16] {
        let report = conformance::transport(InMemory(capacity)).await;
        assert!(
            report.outcomes().iter().all(|(_, outcome)| *outcome == Outcome::Held),
            "{report}"
        );
    }
}

/// A sink that is never full breaks no law: what needs a full one is not claimed, or shown by other
/// means.
#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_everything() {
    let report = conformance::transport(InMemory(1 << 17)).await;
    let not_held: Vec<_> = report
        .outcomes()
        .iter()
        .filter(|(_, outcome)| *outcome != Outcome::Held)
        .map(|(law, _)| *law)
        .collect();
    assert!(not_held.contains(&"a_cancelled_ticket_is_never_written"), "{report}");
    assert!(not_held.contains(&"control_needs_no_readiness"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_websocket_over_a_pipe() {
    for buffer in [64, 1024] {
        let report = conformance::transport(Pipe(buffer)).await;
        assert!(
            report.outcomes().iter().all(|(_, outcome)| *outcome == Outcome::Held),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_websocket_over_tcp() {
    let report = conformance::transport(Tcp).await;
    assert!(
        report.outcomes().iter().all(|(_, outcome)| *outcome == Outcome::Held),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_over_tcp_on_two_threads() {
    conformance::transport(Tcp).await;
}

/// The memory transport, with sockets of this capacity.
struct InMemory(usize);

struct Far(Option<memory::Socket<String>>);

impl Harness for InMemory {
    type Message = String;
    type Connection = Lift<memory::Socket<String>, String>;
    type Peer = Far;

    async fn connect(&self) -> (Self::Connection, Far) {
        let (memory, mut listener) = memory::channel(self.0);
        let dial = tokio::spawn(memory.oneshot(Request::new(())));
        let far = listener.accept().await.unwrap();
        (dial.await.unwrap().unwrap(), Far(Some(far)))
    }
}

impl Peer<String> for Far {
    async fn send(&mut self, message: String) {
        if let Some(socket) = &mut self.0 {
            let _ = socket.send(message).await;
        }
    }

    async fn recv(&mut self) -> Option<String> {
        self.0.as_mut()?.next().await?.ok()
    }

    async fn close(&mut self) -> Result<(), Unsupported> {
        if let Some(socket) = &mut self.0 {
            let _ = socket.close().await;
        }
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.0 = None;
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}

/// tungstenite over a pipe with this many bytes of buffer.
struct Pipe(usize);

/// tungstenite over TCP.
struct Tcp;

struct Server<S>(Option<WebSocket<S>>);

type Lifted<S> = Lift<WebSocket<S>, Message>;

async fn connected<S>(near: S, far: S) -> (Lifted<S>, Server<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    (Lift::new(client.into()), Server(Some(server.into())))
}

impl Harness for Pipe {
    type Message = Message;
    type Connection = Lifted<DuplexStream>;
    type Peer = Server<DuplexStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        let (near, far) = tokio::io::duplex(self.0);
        connected(near, far).await
    }
}

impl Harness for Tcp {
    type Message = Message;
    type Connection = Lifted<TcpStream>;
    type Peer = Server<TcpStream>;

    async fn connect(&self) -> (Self::Connection, Self::Peer) {
        // Small buffers: the suite fills them, over and over.
        let near = TcpSocket::new_v4().unwrap();
        near.set_send_buffer_size(4096).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let near = near.connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        connected(near.unwrap(), far.unwrap().0).await
    }
}

impl<S> Peer<Message> for Server<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    async fn send(&mut self, message: Message) {
        if let Some(socket) = &mut self.0 {
            let _ = socket.send(message).await;
        }
    }

    async fn recv(&mut self) -> Option<Message> {
        let said = self.0.as_mut()?.next().await.and_then(Result::ok);
        if said.is_none() {
            // The server is the first to close the stream beneath (RFC 6455, section 7.1.1).
            self.0 = None;
        }
        said
    }

    async fn close(&mut self) -> Result<(), Unsupported> {
        if let Some(socket) = &mut self.0 {
            let _ = socket.close().await;
        }
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Unsupported> {
        self.0 = None;
        Ok(())
    }

    async fn stall(&mut self) -> Result<(), Unsupported> {
        Ok(())
    }
}
