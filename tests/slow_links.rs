//! Messages that take minutes to send over links that move all the time. They arrive, over the
//! first connection.
//!
//! Two kinds of link: a relay with little memory, which lets what it does not take pile up on the
//! sender's side; and one shaped by the kernel, in a network namespace of the test's own (Linux,
//! root and `tc`). One takes some 80 seconds and runs always. The others, some three minutes, run
//! when `TOWER_WS_LONG` is set, and say otherwise that they were skipped.

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
async fn slower_through_a_relay_at_50_kilobytes_per_second() {
    if is_long() {
        through_a_relay(50, 8 << 20).await;
    }
}

#[tokio::test]
async fn slower_through_a_relay_at_8_kilobytes_per_second() {
    if is_long() {
        through_a_relay(8, 1 << 20).await;
    }
}

#[test]
fn slower_shaped_to_110_kilobytes_per_second() {
    shaped("slower_shaped_to_110_kilobytes_per_second", 110);
}

#[test]
fn slower_shaped_to_50_kilobytes_per_second() {
    shaped("slower_shaped_to_50_kilobytes_per_second", 50);
}

fn is_long() -> bool {
    let long = env::var_os("TOWER_WS_LONG").is_some();
    if !long {
        eprintln!("SKIPPED: takes minutes; `.ci/long` runs it");
    }
    long
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

/// Set in the process that runs a test again, within a namespace.
const SHAPED: &str = "TOWER_WS_SHAPED";

/// Runs this test again, in a network namespace whose loopback passes so much, answers included,
/// and buffers 64 KiB at most.
fn shaped(test: &str, kilobytes_per_second: usize) {
    if env::var_os(SHAPED).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(async {
            let server = Server::start(Script::json_rpc()).await.unwrap();
            upload(&server, &server.url(), 8 << 20).await;
        });
    }
    if !is_long() {
        return;
    }
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
    let status = in_a_namespace(&format!("exec \"$0\" --exact --nocapture {test}"))
        .arg(env::current_exe().unwrap())
        .env(SHAPED, "1")
        .status()
        .unwrap();
    assert!(status.success(), "it did not arrive: {status}");
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
