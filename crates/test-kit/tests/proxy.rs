//! Each fault of the proxy, with raw TCP on both sides.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::io;
use std::time::Duration;

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tower_ws_test_kit::{Cut, Direction, Fault, Proxy, Script, Server};

use support::{bounded, connect, is_quiet, rest, text};

struct Pair {
    proxy: Proxy,
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    async fn new(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        proxy.set(fault);
        let client = TcpStream::connect(proxy.addr()).await.unwrap();
        let (server, _) = bounded(listener.accept()).await.unwrap();
        Self {
            proxy,
            listener,
            client,
            server,
        }
    }

    /// Sends a byte each way and sees both arrive.
    async fn ping(&mut self) {
        self.client.write_all(b"u").await.unwrap();
        self.server.write_all(b"d").await.unwrap();
        assert_eq!(bounded(self.server.read_u8()).await.unwrap(), b'u');
        assert_eq!(bounded(self.client.read_u8()).await.unwrap(), b'd');
    }
}

#[tokio::test]
async fn passes_on_bytes_and_ends() {
    let mut pair = Pair::new(Fault::None).await;
    pair.ping().await;
    assert_eq!(pair.proxy.dials(), 1);
    // Half-closed: the other way stays open.
    pair.client.write_all(b"end").await.unwrap();
    pair.client.shutdown().await.unwrap();
    assert_eq!(rest(&mut pair.server).await, (b"end".to_vec(), Cut::Fin));
    pair.server.write_all(b"late").await.unwrap();
    pair.server.shutdown().await.unwrap();
    assert_eq!(rest(&mut pair.client).await, (b"late".to_vec(), Cut::Fin));
    bounded(pair.proxy.wait_live(0)).await;
    assert_eq!(pair.proxy.bytes(Direction::ToServer), 4);
    assert_eq!(pair.proxy.bytes(Direction::ToClient), 5);
}

#[tokio::test]
async fn passes_on_a_reset() {
    let mut pair = Pair::new(Fault::None).await;
    pair.server.set_zero_linger().unwrap();
    drop(pair.server);
    assert_eq!(rest(&mut pair.client).await, (vec![], Cut::Rst));
}

#[tokio::test]
async fn carries_bulk_whole() {
    let mut pair = Pair::new(Fault::None).await;
    let bulk: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (written, read) = tokio::join!(
        async {
            pair.client.write_all(&bulk).await.unwrap();
            pair.client.shutdown().await
        },
        rest(&mut pair.server)
    );
    written.unwrap();
    assert!(read == (bulk, Cut::Fin));
}

#[tokio::test]
async fn delays_without_limiting_the_rate() {
    let delay = Duration::from_millis(150);
    let mut pair = Pair::new(Fault::Delay(delay)).await;
    let start = Instant::now();
    for n in 0..20 {
        pair.client.write_all(&[n]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for n in 0..20 {
        assert_eq!(bounded(pair.server.read_u8()).await.unwrap(), n);
        assert!(start.elapsed() >= delay);
    }
    // Twenty bytes one after the other would take three seconds.
    assert!(start.elapsed() < Duration::from_secs(2));

    pair.proxy.set_one_way(Direction::ToServer, Fault::None);
    let start = Instant::now();
    pair.ping().await;
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn throttles() {
    let mut pair = Pair::new(Fault::Throttle {
        bytes_per_second: 10_000,
    })
    .await;
    let start = Instant::now();
    pair.client.write_all(&[0; 5_000]).await.unwrap();
    bounded(pair.server.read_exact(&mut [0; 5_000])).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());

    pair.proxy.set(Fault::Throttle {
        bytes_per_second: 2_000_000,
    });
    let start = Instant::now();
    let bulk = vec![0; 1_000_000];
    let mut read = vec![0; bulk.len()];
    let (written, read) = tokio::join!(pair.client.write_all(&bulk), bounded(pair.server.read_exact(&mut read)));
    written.unwrap();
    read.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_millis(2500), "{took:?}");

    // Lifting it lets the rest go at once.
    pair.proxy.set(Fault::Throttle { bytes_per_second: 0 });
    pair.client.write_all(&[0; 5_000]).await.unwrap();
    bounded(pair.server.read_u8()).await.unwrap();
    pair.proxy.set(Fault::None);
    bounded(pair.server.read_exact(&mut [0; 4_999])).await.unwrap();
}

#[tokio::test]
async fn stalls_and_resumes() {
    let mut pair = Pair::new(Fault::None).await;
    pair.ping().await;
    pair.proxy.set(Fault::Stall);
    pair.client.write_all(b"held").await.unwrap();
    pair.client.shutdown().await.unwrap();
    assert!(is_quiet(&mut pair.server).await);
    assert!(is_quiet(&mut pair.client).await);
    assert_eq!(pair.proxy.live(), 1);
    pair.proxy.set(Fault::None);
    assert_eq!(rest(&mut pair.server).await, (b"held".to_vec(), Cut::Fin));
}

#[tokio::test]
async fn one_way_partition() {
    let mut pair = Pair::new(Fault::None).await;
    pair.proxy.set_one_way(Direction::ToClient, Fault::Stall);
    pair.client.write_all(b"u").await.unwrap();
    pair.server.write_all(b"d").await.unwrap();
    assert_eq!(bounded(pair.server.read_u8()).await.unwrap(), b'u');
    assert!(is_quiet(&mut pair.client).await);
}

#[tokio::test]
async fn a_blackhole_swallows_for_ever() {
    let mut pair = Pair::new(Fault::None).await;
    pair.ping().await;
    pair.proxy.set(Fault::Blackhole);
    pair.client.write_all(b"lost").await.unwrap();
    assert!(is_quiet(&mut pair.server).await);
    pair.proxy.set(Fault::None);
    // What lost nothing goes on; what lost something never does.
    pair.server.write_all(b"d").await.unwrap();
    assert_eq!(bounded(pair.client.read_u8()).await.unwrap(), b'd');
    pair.client.write_all(b"after a hole").await.unwrap();
    pair.client.shutdown().await.unwrap();
    assert!(is_quiet(&mut pair.server).await);
    // New connections are whole.
    pair.client = TcpStream::connect(pair.proxy.addr()).await.unwrap();
    pair.server = bounded(pair.listener.accept()).await.unwrap().0;
    pair.ping().await;
}

#[tokio::test]
async fn cuts_at_a_byte() {
    for how in [Cut::Fin, Cut::Rst] {
        for byte in [0, 1, 4] {
            let fault = Fault::CutAt {
                byte,
                direction: Direction::ToClient,
                how,
            };
            let mut pair = Pair::new(Fault::None).await;
            pair.proxy.set(fault);
            if byte > 0 {
                // The other way does not count.
                pair.client.write_all(b"uncounted").await.unwrap();
                bounded(pair.server.read_exact(&mut [0; 9])).await.unwrap();
                pair.server.write_all(b"abcdef").await.unwrap();
            }
            let mut passed = vec![0; byte as usize];
            bounded(pair.client.read_exact(&mut passed)).await.unwrap();
            assert_eq!(passed, b"abcdef"[..byte as usize]);
            assert_eq!(rest(&mut pair.client).await, (vec![], how), "{fault:?}");
            assert_eq!(rest(&mut pair.server).await, (vec![], how), "{fault:?}");
            assert_eq!(pair.proxy.bytes(Direction::ToClient), byte);
        }
    }
}

#[tokio::test]
async fn cuts_now() {
    for (how, fault) in [
        (Cut::Fin, Fault::None),
        (Cut::Rst, Fault::None),
        (Cut::Rst, Fault::Stall),
    ] {
        let mut pair = Pair::new(fault).await;
        pair.proxy.cut_now(how);
        assert_eq!(rest(&mut pair.client).await, (vec![], how));
        assert_eq!(rest(&mut pair.server).await, (vec![], how));
        bounded(pair.proxy.wait_live(0)).await;
    }
}

#[tokio::test]
async fn refuses_and_listens_on_the_same_port() {
    let mut pair = Pair::new(Fault::None).await;
    pair.proxy.refuse();
    let error = TcpStream::connect(pair.proxy.addr()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    pair.ping().await;
    pair.proxy.listen().unwrap();
    TcpStream::connect(pair.proxy.addr()).await.unwrap();
    bounded(pair.proxy.wait_dials(2)).await;
}

#[tokio::test]
async fn resets_clients_when_nobody_is_upstream() {
    let server = Server::start(Script::Echo).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    server.refuse();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(rest(&mut client).await, (vec![], Cut::Rst));
    server.listen().unwrap();
    let mut client = connect(proxy.addr()).await;
    client.send(Message::text("a")).await.unwrap();
    assert_eq!(text(&mut client).await, "a");
    assert_eq!(proxy.url(), format!("ws://{}/", proxy.addr()));
}

#[tokio::test]
async fn drop_ends_everything() {
    let mut pair = Pair::new(Fault::Stall).await;
    let addr = pair.proxy.addr();
    drop(pair.proxy);
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(rest(&mut pair.client).await.0.is_empty());
}
