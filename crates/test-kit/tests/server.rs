//! What the server's handle does while it runs.

mod support;

use std::io;

use futures_util::SinkExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tower_ws_test_kit::{Cut, Script, Server, trace_init};

use support::{QUIET, ask, bounded, connect, next, raw, rest, text, try_connect};

#[tokio::test]
async fn the_ledger_adds_up() {
    let _trace = trace_init();
    let server = Server::start(Script::Echo).await.unwrap();
    assert_eq!(server.url(), format!("ws://{}/", server.addr()));
    let mut first = connect(server.addr()).await;
    let mut second = connect(server.addr()).await;
    first.send(Message::text("a")).await.unwrap();
    bounded(server.wait_received(1)).await;
    second.send(Message::binary(&b"b"[..])).await.unwrap();
    bounded(server.wait_received(2)).await;
    drop(ask(server.addr()).await);
    bounded(server.wait_requests(3)).await;

    let received: Vec<_> = server
        .received()
        .into_iter()
        .map(|got| (got.connection, got.message))
        .collect();
    assert_eq!(
        received,
        [
            (1, tower_ws_test_kit::Message::text("a")),
            (2, tower_ws_test_kit::Message::binary(&b"b"[..]))
        ]
    );
    let requests = server.requests();
    assert_eq!(requests[2].connection, 3);
    assert_eq!(requests[2].method, "GET");
    assert_eq!(requests[2].path, "/path?query");
    assert_eq!(requests[2].headers["sec-websocket-version"], "13");
    assert!(requests[0].at <= requests[2].at);
    assert_eq!(server.dials(), 3);
    bounded(server.wait_live(2)).await;
    first.close(None).await.unwrap();
    while next(&mut first).await.is_some() {}
    bounded(server.wait_live(1)).await;
}

#[tokio::test]
async fn scripts_are_consumed_one_per_connection_and_the_last_stays() {
    let server = Server::start(Script::Echo).await.unwrap();
    server.play_each([Script::status(503, &[]), Script::CutBeforeReply(Cut::Fin), Script::Echo]);
    server.play_each([]);
    assert!(try_connect(server.addr()).await.is_err());
    assert!(try_connect(server.addr()).await.is_err());
    connect(server.addr()).await;
    connect(server.addr()).await;
    assert_eq!(server.dials(), 4);
}

#[tokio::test]
async fn pushes_reach_everybody_before_the_end() {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut clients = [connect(server.addr()).await, connect(server.addr()).await];
    for n in 0..1000 {
        server.push(tower_ws_test_kit::Message::text(n.to_string()));
    }
    server.cut(Cut::Fin);
    for client in &mut clients {
        for n in 0..1000 {
            assert_eq!(text(client).await, n.to_string());
        }
        assert!(next(client).await.unwrap().is_err());
    }
    bounded(server.wait_live(0)).await;
}

#[tokio::test]
async fn ends_on_demand() {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut tcp = raw(server.addr()).await;
    server.cut(Cut::Fin);
    assert_eq!(rest(&mut tcp).await, (vec![], Cut::Fin));

    let mut tcp = raw(server.addr()).await;
    server.cut(Cut::Rst);
    assert_eq!(rest(&mut tcp).await, (vec![], Cut::Rst));

    let mut client = connect(server.addr()).await;
    server.push(tower_ws_test_kit::Message::text("last words"));
    server.close(4401, "expired");
    assert_eq!(text(&mut client).await, "last words");
    let Message::Close(Some(frame)) = next(&mut client).await.unwrap().unwrap() else {
        panic!("no close frame");
    };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4401, "expired"));
    assert!(next(&mut client).await.is_none());
    bounded(server.wait_live(0)).await;
}

#[tokio::test]
async fn cuts_a_script_that_never_pauses() {
    let server = Server::start(Script::Echo).await.unwrap();
    for script in [
        Script::FragmentBomb,
        Script::EndlessHeader,
        Script::PingFlood(1_000_000),
        Script::NeverReply,
    ] {
        server.play(script);
        let mut tcp = ask(server.addr()).await;
        let mut cut = false;
        let mut buffer = vec![0; 1 << 16];
        let end = async {
            loop {
                match tcp.read(&mut buffer).await {
                    Ok(0) => panic!("ended politely"),
                    Ok(_) if cut => {}
                    Ok(_) => {
                        cut = true;
                        server.cut(Cut::Rst);
                    }
                    Err(_) => return,
                }
            }
        };
        if timeout(QUIET, end).await.is_err() {
            server.cut(Cut::Rst);
            assert_eq!(rest(&mut tcp).await.1, Cut::Rst);
        }
        bounded(server.wait_live(0)).await;
    }
}

#[tokio::test]
async fn frozen_does_nothing_and_thaws() {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut client = connect(server.addr()).await;
    server.freeze();
    client.send(Message::text("a")).await.unwrap();
    let mut tcp = ask(server.addr()).await;
    bounded(server.wait_dials(2)).await;
    assert!(timeout(QUIET, tcp.read_u8()).await.is_err());
    assert!(server.received().is_empty());
    server.thaw();
    assert_eq!(text(&mut client).await, "a");
    assert_eq!(bounded(tcp.read_u8()).await.unwrap(), b'H');

    server.freeze();
    server.cut(Cut::Rst);
    assert!(next(&mut client).await.unwrap().is_err());
    bounded(server.wait_live(0)).await;
}

#[tokio::test]
async fn refuses_and_listens_on_the_same_port() {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut before = connect(server.addr()).await;
    for _ in 0..3 {
        server.refuse();
        server.refuse();
        let error = TcpStream::connect(server.addr()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        before.send(Message::text("a")).await.unwrap();
        assert_eq!(text(&mut before).await, "a");
        server.listen().unwrap();
        server.listen().unwrap();
        connect(server.addr()).await;
    }
    assert_eq!(server.dials(), 4);
}

#[tokio::test]
async fn drop_ends_everything() {
    let server = Server::start(Script::StopReading).await.unwrap();
    let addr = server.addr();
    let mut tcp = raw(addr).await;
    drop(server);
    assert!(TcpStream::connect(addr).await.is_err());
    let (bytes, _) = rest(&mut tcp).await;
    assert!(bytes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections() {
    let server = Server::start(Script::Echo).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(connect(server.addr()).await);
    }
    assert_eq!(server.live(), 1000);
    server.push(tower_ws_test_kit::Message::text("all"));
    for client in &mut clients {
        assert_eq!(text(client).await, "all");
    }
    server.cut(Cut::Rst);
    bounded(server.wait_live(0)).await;
}
