//! Scripts that go wrong after the upgrade.

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tower_ws_test_kit::{Cut, Script, Server};

use support::{bounded, connect, is_quiet, next, raw, rest, text};

/// A masked frame with a key of zero.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn faulty_frames_as_a_client_sees_them() {
    let table = [
        (Script::InvalidUtf8, "Some(Err(Utf8("),
        (Script::MaskedFrame, "Some(Err(Protocol(MaskedFrameFromServer)))"),
        (Script::Rsv1, "Some(Err(Protocol(NonZeroReservedBits)))"),
        (Script::BadOpcode, "Some(Err(Protocol(InvalidOpcode(3))))"),
        (
            Script::OversizeFrame { claims: 1 << 40 },
            "Some(Err(Capacity(MessageTooLong",
        ),
        (Script::FragmentBomb, "Some(Err(Capacity(MessageTooLong"),
        (Script::EmptyFragments(1000), "Some(Ok(Text(Utf8Bytes(b\"end\"))))"),
        (Script::EmptyFragments(0), "Some(Ok(Text(Utf8Bytes(b\"end\"))))"),
        (
            Script::EarlyData("early".into()),
            "Some(Ok(Text(Utf8Bytes(b\"early\"))))",
        ),
        (Script::UnsolicitedPong, "Some(Ok(Pong(b\"unsolicited\")))"),
        (
            Script::Raw(Bytes::from_static(b"\x81\x03raw")),
            "Some(Ok(Text(Utf8Bytes(b\"raw\"))))",
        ),
        (Script::fin(), "Some(Err(Protocol(ResetWithoutClosingHandshake)))"),
        (Script::rst(), "Some(Err(Io(Os { code: 104"),
        (
            Script::CutMidFrame(Cut::Fin),
            "Some(Err(Protocol(ResetWithoutClosingHandshake)))",
        ),
        (Script::CutMidFrame(Cut::Rst), "Some(Err(Io(Os { code: 104"),
        (
            Script::close(1013, "later"),
            "Some(Ok(Close(Some(CloseFrame { code: Again, reason: Utf8Bytes(b\"later\") }))))",
        ),
        (
            Script::close(1005, ""),
            "Some(Ok(Close(Some(CloseFrame { code: Protocol",
        ),
    ];
    let server = Server::start(Script::Echo).await.unwrap();
    for (script, expected) in table {
        server.play(script.clone());
        let seen = format!("{:?}", next(&mut connect(server.addr()).await).await);
        assert!(seen.starts_with(expected), "{script:?}: {seen}");
    }
}

#[tokio::test]
async fn close_codes_go_out_as_they_stand() {
    let server = Server::start(Script::Echo).await.unwrap();
    for code in [999, 1000, 1005, 1006, 1012, 1015, 2999, 4401, 5000_u16] {
        server.play(Script::close(code, "why"));
        let mut tcp = raw(server.addr()).await;
        let mut frame = [0; 7];
        bounded(tcp.read_exact(&mut frame)).await.unwrap();
        let [high, low] = code.to_be_bytes();
        assert_eq!(frame, [0x88, 5, high, low, b'w', b'h', b'y']);
        // Our answer ends the wait, and FIN follows.
        tcp.write_all(&masked(0x88, &frame[2..4])).await.unwrap();
        assert_eq!(rest(&mut tcp).await, (vec![], Cut::Fin));
    }
}

#[tokio::test]
async fn close_without_an_answer_ends_all_the_same() {
    let server = Server::start(Script::close(1000, "")).await.unwrap();
    assert_eq!(
        rest(&mut raw(server.addr()).await).await,
        (vec![0x88, 2, 3, 0xe8], Cut::Fin)
    );
}

#[tokio::test]
async fn close_without_fin() {
    let server = Server::start(Script::CloseNoFin {
        code: 1001,
        reason: String::new(),
    })
    .await
    .unwrap();
    let mut tcp = raw(server.addr()).await;
    bounded(tcp.read_exact(&mut [0; 4])).await.unwrap();
    tcp.write_all(&masked(0x88, &[3, 0xe9])).await.unwrap();
    tcp.shutdown().await.unwrap();
    assert!(is_quiet(&mut tcp).await);
    assert_eq!(server.live(), 1);
    server.cut(Cut::Fin);
    assert_eq!(rest(&mut tcp).await, (vec![], Cut::Fin));
}

#[tokio::test]
async fn data_after_close() {
    let server = Server::start(Script::DataAfterClose).await.unwrap();
    let (bytes, cut) = rest(&mut raw(server.addr()).await).await;
    assert_eq!((&bytes[..], cut), (&b"\x88\x02\x03\xe8\x81\x04late"[..], Cut::Fin));
}

#[tokio::test]
async fn mid_frame() {
    let server = Server::start(Script::CutMidFrame(Cut::Rst)).await.unwrap();
    let mut tcp = raw(server.addr()).await;
    let mut begun = [0; 14];
    bounded(tcp.read_exact(&mut begun)).await.unwrap();
    assert_eq!(&begun, b"\x81\x7e\x03\xe8aaaaaaaaaa");
    assert_eq!(rest(&mut tcp).await, (vec![], Cut::Rst));
}

#[tokio::test]
async fn works_first_when_asked_to() {
    let after = Duration::from_millis(300);
    let close = Script::Close {
        code: 1000,
        reason: String::new(),
        after,
    };
    let server = Server::start(Script::Echo).await.unwrap();
    for script in [close, Script::Fin { after }, Script::Rst { after }] {
        server.play(script.clone());
        let start = Instant::now();
        let mut client = connect(server.addr()).await;
        client.send(Message::text("a")).await.unwrap();
        assert_eq!(text(&mut client).await, "a", "{script:?}");
        while let Some(Ok(_)) = next(&mut client).await {}
        assert!(start.elapsed() >= after, "{script:?}");
    }
}

#[tokio::test]
async fn silent_answers_nothing_at_all() {
    let server = Server::start(Script::Silent).await.unwrap();
    let mut tcp = raw(server.addr()).await;
    for (first, payload) in [(0x81, &b"text"[..]), (0x89, b"ping")] {
        tcp.write_all(&masked(first, payload)).await.unwrap();
    }
    bounded(server.wait_received(1)).await;
    assert!(is_quiet(&mut tcp).await);
    // Its handle may speak all the same.
    server.push(tower_ws_test_kit::Message::text("pushed"));
    let mut pushed = [0; 8];
    bounded(tcp.read_exact(&mut pushed)).await.unwrap();
    assert_eq!(&pushed, b"\x81\x06pushed");

    tcp.write_all(&masked(0x88, &[3, 0xe8])).await.unwrap();
    assert!(is_quiet(&mut tcp).await);
    tcp.shutdown().await.unwrap();
    assert_eq!(rest(&mut tcp).await, (vec![], Cut::Fin));
}

#[tokio::test]
async fn stop_reading_blocks_the_peer() {
    let server = Server::start(Script::StopReading).await.unwrap();
    let mut client = connect(server.addr()).await;
    let block = Message::binary(vec![0; 1 << 20]);
    let blocked = async {
        for _ in 0..256 {
            if timeout(Duration::from_millis(300), client.send(block.clone()))
                .await
                .is_err()
            {
                return true;
            }
        }
        false
    };
    assert!(bounded(blocked).await, "256 MiB went out and nobody read");
    server.push(tower_ws_test_kit::Message::text("still writes"));
    assert_eq!(text(&mut client).await, "still writes");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn ping_flood_is_all_there_and_then_an_echo() {
    const PINGS: usize = 20_000;
    let server = Server::start(Script::PingFlood(PINGS)).await.unwrap();
    let mut client = connect(server.addr()).await;
    client.send(Message::text("through")).await.unwrap();
    for _ in 0..PINGS {
        assert_eq!(
            next(&mut client).await.unwrap().unwrap(),
            Message::Ping(Bytes::from_static(b"flood"))
        );
    }
    assert_eq!(text(&mut client).await, "through");
}

#[tokio::test]
async fn json_rpc_answers_requests_only() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let mut client = connect(server.addr()).await;
    for message in [
        r#"{"jsonrpc":"2.0","method":"notify"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        "no json",
        r#"{"jsonrpc":"2.0","id":2,"method":"a","params":{"b":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":"x","method":"a"}"#,
    ] {
        client.send(Message::text(message)).await.unwrap();
    }
    let answer: Value = serde_json::from_str(&text(&mut client).await).unwrap();
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 2, "result": {"b": [1]}}));
    let answer: Value = serde_json::from_str(&text(&mut client).await).unwrap();
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": "x", "result": null}));
    assert_eq!(server.received().len(), 5);
}

#[tokio::test]
async fn json_rpc_delays_overlap() {
    let delay = Duration::from_millis(300);
    let server = Server::start(Script::JsonRpc { delay }).await.unwrap();
    let mut client = connect(server.addr()).await;
    let start = Instant::now();
    for id in 0..20 {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "a"}).to_string();
        client.send(Message::text(request)).await.unwrap();
    }
    for id in 0..20 {
        let answer: Value = serde_json::from_str(&text(&mut client).await).unwrap();
        assert_eq!(answer["id"], id);
        assert!(start.elapsed() >= delay);
    }
    // One after the other would take six seconds.
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn flaky_answers_and_drops() {
    let server = Server::start(Script::Echo).await.unwrap();
    for cut in [Cut::Fin, Cut::Rst] {
        server.play(Script::Flaky { answers: 2, cut });
        let mut client = connect(server.addr()).await;
        for _ in 0..3 {
            client.send(Message::text(r#"{"id":1,"method":"a"}"#)).await.unwrap();
        }
        text(&mut client).await;
        text(&mut client).await;
        let end = format!("{:?}", next(&mut client).await.unwrap().unwrap_err());
        assert_eq!(end.starts_with("Io"), cut == Cut::Rst, "{end}");
    }
    assert_eq!(server.received().len(), 6);
    assert_eq!(server.received()[5].connection, 2);
}
