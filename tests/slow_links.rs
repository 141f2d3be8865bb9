//! Messages that take minutes to send over links that move all the time. They arrive, over the
//! first connection.
//!
//! Two kinds of link: a relay with little memory, which lets what it does not take pile up on the
//! sender's side; and one shaped by the kernel, in a network namespace of the test's own (Linux,
//! root and `tc`). One takes some 80 seconds and runs always. The others, some three minutes:
//! `cargo test --test slow_links -- --ignored slower`.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(clippy::print_stderr, reason = "to say what was skipped")]

use std::{env, net::SocketAddr, process::Command, time::Duration};

use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws::{
    connector::tcp_connector,
    core::{Event, Outgoing},
    health::HealthLayer,
    queue::QueueLayer,
    reconnect::ReconnectLayer,
    transport::{Message, TransportLayer},
};
use tower_ws_test_kit::{Script, Server};

const KILOBYTE: usize = 1000;

#[tokio::test]
async fn through_a_relay_at_110_kilobytes_per_second() {
    through_a_relay(110, 8 << 20).await;
}

#[tokio::test]
#[ignore = "takes three minutes"]
async fn slower_through_a_relay_at_50_kilobytes_per_second() {
    through_a_relay(50, 8 << 20).await;
}

#[tokio::test]
#[ignore = "takes more than two minutes"]
async fn slower_through_a_relay_at_8_kilobytes_per_second() {
    through_a_relay(8, 1 << 20).await;
}

#[test]
#[ignore = "takes more than a minute, and wants root"]
fn slower_shaped_to_110_kilobytes_per_second() {
    shaped(110, 8 << 20);
}

#[test]
#[ignore = "takes three minutes, and wants root"]
fn slower_shaped_to_50_kilobytes_per_second() {
    shaped(50, 8 << 20);
}

async fn through_a_relay(kilobytes_per_second: usize, size: usize) {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let relay = relay(server.addr(), kilobytes_per_second * KILOBYTE);
    upload(&server, &format!("ws://{relay}/"), size).await;
}

/// Passes on so many bytes per second, with 32 KiB of its own. What comes back is not held up.
fn relay(server: SocketAddr, bytes_per_second: usize) -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut slice = vec![0; bytes_per_second / 20];
                while let Ok(read @ 1..) = from_client.read(&mut slice).await {
                    to_server.write_all(&slice[..read]).await.unwrap();
                    sleep(Duration::from_secs_f64(read as f64 / bytes_per_second as f64)).await;
                }
            });
        }
    });
    address
}

/// Tells the test inside the namespace how much to send, in bytes.
const SIZE: &str = "TOWER_WS_UPLOAD";

/// Runs [`in_a_namespace`] in one whose loopback passes so much, answers included, and buffers 64
/// KiB at most.
fn shaped(kilobytes_per_second: usize, size: usize) {
    let setup = format!(
        "ip link set lo up mtu 1500 && tc qdisc add dev lo root tbf rate {kilobytes_per_second}kbps burst 4k limit 64k"
    );
    let in_a_namespace = |then: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", &format!("{setup} && {then}")]);
        unshare
    };
    if !in_a_namespace("true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIPPED: no network namespace, or no `tc` in it");
        return;
    }
    let status = in_a_namespace("exec \"$0\" --exact --ignored --nocapture in_a_namespace")
        .arg(env::current_exe().unwrap())
        .env(SIZE, size.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "it did not arrive: {status}");
}

#[tokio::test]
#[ignore = "run in a namespace by the others"]
async fn in_a_namespace() {
    let Ok(size) = env::var(SIZE) else { return };
    let server = Server::start(Script::json_rpc()).await.unwrap();
    upload(&server, &server.url(), size.parse().unwrap()).await;
}

/// One message of this size, with all defaults.
async fn upload(server: &Server, url: &str, size: usize) {
    let connect = ServiceBuilder::new()
        .layer(QueueLayer::new())
        .layer(ReconnectLayer::new())
        .layer(HealthLayer::new())
        .layer(TransportLayer::new())
        .service(tcp_connector());
    let session = connect.oneshot(Request::get(url).body(()).unwrap()).await.unwrap();
    let (mut sink, mut events) = session.split();
    // A notification: nobody answers it.
    let message = format!(
        r#"{{"jsonrpc":"2.0","method":"blob","params":["{}"]}}"#,
        "x".repeat(size)
    );
    let send = tokio::spawn(async move {
        sink.send(Outgoing::new(Message::text(message))).await.unwrap();
        sink
    });
    let read = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            assert!(!matches!(event, Event::Down(_) | Event::Dropped(..)), "{event:?}");
        }
    });
    tokio::select! {
        arrived = timeout(Duration::from_secs(400), server.wait_received(1)) => arrived.expect("it arrives in time"),
        ended = read => panic!("the session ended: {ended:?}"),
    }
    assert_eq!(server.dials(), 1);
    drop(send);
}
