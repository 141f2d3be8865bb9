//! Scripts that go wrong before or during the upgrade.

mod support;

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tower_ws_test_kit::{Cut, Script, Server};

use support::{ACCEPT, ask, bounded, head, is_quiet, rest, try_connect};

#[tokio::test]
async fn refused_by_a_client_that_follows_the_protocol() {
    let table = [
        (Script::Garbage, "Protocol(HttparseError("),
        (Script::WrongAccept, "Protocol(SecWebSocketAcceptKeyMismatch)"),
        (Script::NoAccept, "Protocol(SecWebSocketAcceptKeyMismatch)"),
        (Script::NoUpgradeHeader, "Protocol(MissingUpgradeWebSocketHeader)"),
        (Script::NoConnectionHeader, "Protocol(MissingConnectionUpgradeHeader)"),
        (
            Script::Subprotocol("mcp".into()),
            "Protocol(SecWebSocketSubProtocolError(ServerSentSubProtocolNoneRequested))",
        ),
        (Script::ManyHeaders(500), "Capacity(TooManyHeaders)"),
        (Script::EndlessHeader, "AttackAttempt"),
        (Script::CutBeforeReply(Cut::Fin), "Protocol(HandshakeIncomplete)"),
        (Script::CutBeforeReply(Cut::Rst), "Io(Os { code: 104"),
        (Script::CutMidReply(Cut::Fin), "Protocol(HandshakeIncomplete)"),
        (Script::CutMidReply(Cut::Rst), "Io(Os { code: 104"),
        (Script::status(401, &[]), "Http("),
    ];
    let server = Server::start(Script::Echo).await.unwrap();
    for (script, expected) in table {
        server.play(script.clone());
        let error = format!("{:?}", try_connect(server.addr()).await.map(drop).unwrap_err());
        assert!(error.starts_with(expected), "{script:?}: {error}");
    }
}

#[tokio::test]
async fn raw_replies() {
    let table = [
        (Script::CutBeforeReply(Cut::Fin), "", Cut::Fin),
        (Script::CutBeforeReply(Cut::Rst), "", Cut::Rst),
        (Script::CutMidReply(Cut::Fin), "HTTP/1.1 101", Cut::Fin),
        (Script::CutMidReply(Cut::Rst), "HTTP/1.1 101", Cut::Rst),
        (Script::Garbage, "SSH-2.0", Cut::Fin),
        (Script::status(403, &[]), "HTTP/1.1 403 Forbidden\r\n", Cut::Fin),
        (Script::status(799, &[]), "HTTP/1.1 799 Unknown\r\n", Cut::Fin),
    ];
    let server = Server::start(Script::Echo).await.unwrap();
    for (script, start, cut) in table {
        server.play(script.clone());
        let (bytes, end) = rest(&mut ask(server.addr()).await).await;
        let reply = String::from_utf8(bytes).unwrap();
        assert!(reply.starts_with(start), "{script:?}: {reply}");
        assert_eq!(reply.is_empty(), start.is_empty(), "{script:?}: {reply}");
        assert!(
            !reply.starts_with("HTTP/1.1 101") || !reply.contains("\r\n\r\n"),
            "{script:?}: {reply}"
        );
        assert_eq!(end, cut, "{script:?}");
    }
}

#[tokio::test]
async fn accept_headers() {
    let table = [
        (Script::Echo, 1, true),
        (Script::NoAccept, 0, false),
        (Script::WrongAccept, 1, false),
        (Script::DoubleAccept, 2, true),
    ];
    let server = Server::start(Script::Echo).await.unwrap();
    for (script, count, right) in table {
        server.play(script.clone());
        let head = head(&mut ask(server.addr()).await).await;
        assert_eq!(head.matches("Sec-WebSocket-Accept").count(), count, "{script:?}");
        assert_eq!(head.contains(ACCEPT), right, "{script:?}");
    }
}

#[tokio::test]
async fn extensions_and_subprotocols() {
    let server = Server::start(Script::Extension("permessage-deflate".into()))
        .await
        .unwrap();
    let reply = head(&mut ask(server.addr()).await).await;
    assert!(reply.contains("Sec-WebSocket-Extensions: permessage-deflate\r\n"));

    let table = [
        (Script::Echo, Ok("mcp")),
        (Script::NoSubprotocol, Err("NoSubProtocol")),
        (Script::Subprotocol("other".into()), Err("InvalidSubProtocol")),
        (Script::Subprotocol("graphql".into()), Ok("graphql")),
    ];
    for (script, expected) in table {
        server.play(script.clone());
        let mut request = server.url().into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", "mcp, graphql".parse().unwrap());
        let tcp = TcpStream::connect(server.addr()).await.unwrap();
        match (bounded(client_async(request, tcp)).await, expected) {
            (Ok((_, response)), Ok(name)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], name);
            }
            (Err(Error::Protocol(error)), Err(name)) => {
                assert!(format!("{error:?}").contains(name), "{error:?}");
            }
            (other, _) => panic!("{script:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn status_with_headers_and_body() {
    let server = Server::start(Script::Status {
        code: 503,
        headers: vec![("Retry-After".into(), "7".into())],
        body: "come back".into(),
    })
    .await
    .unwrap();
    let Err(Error::Http(response)) = try_connect(server.addr()).await else {
        panic!("upgraded");
    };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.body().as_deref(), Some(&b"come back"[..]));

    server.play(Script::status(302, &[("Location", "ws://169.254.169.254/")]));
    let Err(Error::Http(response)) = try_connect(server.addr()).await else {
        panic!("upgraded");
    };
    assert_eq!(response.headers()["location"], "ws://169.254.169.254/");
}

#[tokio::test]
async fn a_request_that_is_none_gets_400() {
    use tokio::io::AsyncWriteExt;

    let server = Server::start(Script::Echo).await.unwrap();
    // The beginning of a TLS ClientHello, and requests without key or without sense.
    for request in [
        &b"\x16\x03\x01"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\r\n\r\n",
        b"G\r\n\xff: a\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(server.addr()).await.unwrap();
        tcp.write_all(request).await.unwrap();
        let (reply, cut) = rest(&mut tcp).await;
        assert!(reply.starts_with(b"HTTP/1.1 400 "));
        assert_eq!(cut, Cut::Fin);
    }
    assert!(server.requests().is_empty());
    assert_eq!(server.dials(), 4);
}

#[tokio::test]
async fn never_reply() {
    let server = Server::start(Script::NeverReply).await.unwrap();
    let mut tcp = ask(server.addr()).await;
    bounded(server.wait_requests(1)).await;
    assert!(is_quiet(&mut tcp).await);
    server.close(1000, "");
    assert_eq!(rest(&mut tcp).await, (vec![], Cut::Fin));
}

#[tokio::test]
async fn slow_reply_comes_byte_by_byte() {
    let server = Server::start(Script::SlowReply {
        interval: Duration::from_millis(5),
    })
    .await
    .unwrap();
    let start = Instant::now();
    let mut tcp = ask(server.addr()).await;
    let reply = head(&mut tcp).await;
    assert!(start.elapsed() >= Duration::from_millis(5) * u32::try_from(reply.len()).unwrap());
    assert!(reply.contains(ACCEPT));

    // A client may take so many small reads for an attack, as this one does.
    let error = try_connect(server.addr()).await.unwrap_err();
    assert!(matches!(error, Error::AttackAttempt), "{error:?}");
}

#[tokio::test]
async fn early_data_is_glued_to_the_reply() {
    let server = Server::start(Script::EarlyData("early".into())).await.unwrap();
    let mut tcp = ask(server.addr()).await;
    let mut bytes = vec![0; 4096];
    let read = bounded(tcp.read(&mut bytes)).await.unwrap();
    assert!(bytes[..read].ends_with(b"\r\n\r\n\x81\x05early"));
}
