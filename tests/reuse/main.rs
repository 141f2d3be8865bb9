//! The same session over each transport: the layers and what is done with them stay as they are.
//!
//! One after the other: a pair in memory; lines over a Unix socket, and over a child process, which
//! is this program once more; WebSocket by either framing, and compressed. Over each, calls are cut
//! off and sent again, a dead peer is found and left, and at the end everything is said and
//! answered.
//!
//! It takes the names of transports as arguments, like a test harness.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "it belongs to the suites of the transport, too"
)]
#[path = "../../crates/transport/tests/support/deflating.rs"]
mod deflating;
#[allow(
    unreachable_pub,
    missing_docs,
    reason = "it belongs to the suites of the transport, too"
)]
#[path = "../../crates/transport/tests/support/far.rs"]
mod far;
#[path = "../support/mod.rs"]
mod support;

#[path = "../../crates/transport/tests/support/relay.rs"]
mod relay;
mod scenario;
mod server;

use std::{env, future::pending, net::Ipv4Addr};

use deflating::Deflating;
use far::{Far, FarLines};
use futures_util::FutureExt;
use http::Request;
use scenario::play;
use serde_json::json;
use server::{Book, Socket, serve};
use sockudo_ws::deflate::DeflateConfig;
use support::{SECOND, eager, millis, within};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_util::codec::{Framed, LinesCodec};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    Client, Inbound,
    ack::{AckLayer, JsonRpc},
    client::ClientLayer,
    connector::tcp_connector,
    core::{Ping, Probe},
    health::{HealthLayer, probe_fn},
    queue::QueueLayer,
    transport::{
        Framing, JsonText, TransportLayer, Tungstenite, WebSocket,
        lines::LinesLayer,
        memory,
        process::Process,
        sockudo::{Deflate, Sockudo},
    },
};

/// The layers, over any transport. It is a macro for nothing but the length of its type.
macro_rules! session {
    ($probe:expr, $transport:expr) => {
        ServiceBuilder::new()
            .layer(ClientLayer::new(JsonText).timeout(20 * SECOND).close_grace(5 * SECOND))
            .layer(QueueLayer::new())
            .layer(AckLayer::new(JsonRpc::new(JsonText)))
            .layer(eager())
            .layer(
                HealthLayer::new()
                    .probe($probe)
                    .interval(millis(200))
                    .timeout(2 * SECOND),
            )
            .service($transport)
    };
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Some(port) = relay::port() {
        relay::run(port);
    }
    let wanted: Vec<String> = env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    macro_rules! over {
        ($($transport:ident),+ $(,)?) => {
            $(if wanted(stringify!($transport)) {
                within(60 * SECOND, $transport()).await;
                println!("test {} ... ok", stringify!($transport));
            })+
        };
    }
    over!(
        a_pair_in_memory,
        lines_over_a_child_process,
        websocket,
        websocket_by_sockudo,
        websocket_compressed
    );
    #[cfg(unix)]
    over!(lines_over_a_unix_socket);
}

async fn a_pair_in_memory() {
    let (memory, mut listener) = memory::channel(16);
    let book = Book::default();
    let server = serve(async || listener.accept().await.map(Socket), &book);
    let connect = session!(request(), memory).oneshot(());
    run(connect, server, &book).await;
}

#[cfg(unix)]
async fn lines_over_a_unix_socket() {
    use tokio::net::{UnixListener, UnixStream};
    use tower::service_fn;

    let path = env::temp_dir().join(format!("tower-ws-reuse-{}.socket", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let accept = async || {
        let (stream, _) = listener.accept().await.unwrap();
        Some(FarLines(Some(Framed::new(stream, LinesCodec::new()))))
    };
    let address = path.clone();
    let dial = service_fn(move |()| UnixStream::connect(address.clone()));
    let transport = ServiceBuilder::new().layer(LinesLayer::new()).service(dial);
    let book = Book::default();
    let connect = session!(request(), transport).oneshot(());
    run(connect, serve(accept, &book), &book).await;
    std::fs::remove_file(path).unwrap();
}

async fn lines_over_a_child_process() {
    let (listener, _) = listen().await;
    let port = listener.local_addr().unwrap().port();
    let accept = async || {
        let (stream, _) = listener.accept().await.unwrap();
        Some(FarLines(Some(Framed::new(stream, LinesCodec::new()))))
    };
    let program = Process::new(move || relay::command(port));
    let transport = ServiceBuilder::new().layer(LinesLayer::new()).service(program);
    let book = Book::default();
    let connect = session!(request(), transport).oneshot(());
    run(connect, serve(accept, &book), &book).await;
}

async fn websocket() {
    over_tcp(Tungstenite).await;
}

async fn websocket_by_sockudo() {
    over_tcp(Sockudo::new()).await;
}

async fn over_tcp<F: Framing + Clone + Send + Sync + 'static>(framing: F) {
    let (listener, target) = listen().await;
    let accept = async || {
        let (stream, _) = listener.accept().await.unwrap();
        Some(Far(accept_async(stream).await.ok().map(WebSocket::from)))
    };
    let transport = ServiceBuilder::new()
        .layer(TransportLayer::new().framing(framing))
        .service(tcp_connector());
    let book = Book::default();
    let connect = session!(Ping, transport).oneshot(target);
    run(connect, serve(accept, &book), &book).await;
}

async fn websocket_compressed() {
    let (listener, target) = listen().await;
    let accept = async || {
        let (stream, _) = listener.accept().await.unwrap();
        Some(Deflating::accept(stream, DeflateConfig::default()).await)
    };
    let framing = Sockudo::new().deflate(Deflate::new().threshold(0));
    let transport = ServiceBuilder::new()
        .layer(TransportLayer::new().framing(framing))
        .service(tcp_connector());
    let book = Book::default();
    let connect = session!(Ping, transport).oneshot(target);
    run(connect, serve(accept, &book), &book).await;
}

async fn listen() -> (TcpListener, Request<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, Request::get(url).body(()).unwrap())
}

/// For transports without pings: a request of the protocol, whose answer is known by an id that no
/// call has.
fn request() -> impl Probe<String> + Clone + Send + Sync + 'static {
    probe_fn(
        |nonce| json!({ "jsonrpc": "2.0", "id": format!("ping {nonce}"), "method": "ping" }).to_string(),
        |line: &String| line.split_once("\"ping ")?.1.split_once('"')?.0.parse().ok(),
    )
}

/// Both sides, until the scenario is over.
async fn run<E: std::fmt::Debug>(
    connect: impl Future<Output = Result<(Client, Inbound), E>>,
    server: impl Future<Output = ()>,
    book: &Book,
) {
    let client = async {
        let (client, inbound) = connect.await.unwrap();
        play(client, inbound, book).await;
    };
    // Once nobody can dial any more the server is done, which may be a little earlier.
    let server = server.then(|()| pending::<()>());
    tokio::select! {
        () = client => {}
        () = server => {}
    }
}
