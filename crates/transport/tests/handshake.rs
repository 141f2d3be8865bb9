//! Dials against servers that misbehave before the connection is up.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use hyper_util::client::legacy::connect::dns::Name;
use support::{bounded, connected_with, dial, get, refused, shown, tcp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_ws_connector::{
    BoundUnsent,
    guard::{Guard, Profile},
    unguarded_tcp_connector,
};
use tower_ws_core::{BoxError, Disposition, Event, Failure, FailureKind, Progress, RetryAfter, find};
use tower_ws_test_kit::{Cut, Script, Server};
use tower_ws_transport::{
    Handshake, Limits, Message, Refusal, Subprotocols, TransportLayer, UpgradeError, UpgradeLayer,
};

fn quick() -> UpgradeLayer {
    UpgradeLayer::new().timeout(Duration::from_millis(400))
}

#[tokio::test]
async fn up_says_what_the_handshake_answered() {
    let server = Server::start(Script::Echo).await.unwrap();
    let layer = TransportLayer::new().subprotocols(["mcp", "other"]);
    let (_connection, up) = connected_with(layer, &format!("{}path?query=1", server.url())).await;
    assert_eq!((up.epoch, up.layers), (1, vec!["transport"]));
    let handshake = up.extensions.get::<Handshake>().unwrap();
    assert_eq!(handshake.subprotocol(), Some("mcp"));
    assert!(handshake.headers().contains_key("sec-websocket-accept"));
    assert!(up.extensions.get::<Progress>().is_some());

    let request = &server.requests()[0];
    assert_eq!(request.path, "/path?query=1");
    assert_eq!(request.headers["host"], server.addr().to_string());
    assert_eq!(request.headers["sec-websocket-protocol"], "mcp, other");
    assert_eq!(request.headers["sec-websocket-version"], "13");
}

#[tokio::test]
async fn names_of_fields_are_spelled_as_in_the_rfc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let dial = tokio::spawn(async move { refused(quick().subprotocols(["a"]), &url).await });
    let (mut tcp, _) = bounded(listener.accept()).await.unwrap();
    let mut head = vec![0; 4096];
    let read = bounded(tcp.read(&mut head)).await.unwrap();
    let head = std::str::from_utf8(&head[..read]).unwrap();
    for name in [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
    ] {
        assert!(head.contains(&format!("\r\n{name}: ")), "{name}: {head}");
    }
    drop(tcp);
    dial.await.unwrap();
}

#[tokio::test]
async fn one_deadline_for_the_whole_dial() {
    for script in [
        Script::NeverReply,
        Script::SlowReply {
            interval: Duration::from_millis(50),
        },
    ] {
        let server = Server::start(script).await.unwrap();
        let began = Instant::now();
        let error = refused(quick(), &server.url()).await;
        assert!(matches!(error, UpgradeError::Timeout(_)), "{error:?}");
        assert_eq!(error.failure().kind(), FailureKind::Timeout);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let text = error.failure().to_string();
        assert!(
            text.contains("400ms") && text.contains(&server.addr().to_string()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_connector_that_hangs_is_under_the_same_deadline() {
    let connector =
        service_fn(|_| std::future::pending::<Result<hyper_util::rt::TokioIo<tokio::net::TcpStream>, BoxError>>());
    let upgrade = quick().layer(connector);
    let error = bounded(upgrade.oneshot(get("ws://a/"))).await.unwrap_err();
    assert_eq!(error.failure().kind(), FailureKind::Timeout);
    assert!(error.failure().to_string().contains("no connection"), "{error:?}");
}

#[tokio::test]
async fn dropping_the_dial_drops_the_connection() {
    let server = Server::start(Script::NeverReply).await.unwrap();
    let upgrade = UpgradeLayer::new().layer(tcp());
    let dial = tokio::spawn(upgrade.oneshot(get(&server.url())));
    bounded(server.wait_requests(1)).await;
    dial.abort();
    bounded(server.wait_live(0)).await;
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/?token=secret", listener.local_addr().unwrap());
    drop(listener);
    let error = refused(UpgradeLayer::new(), &url).await;
    assert!(matches!(error, UpgradeError::Connect(_)));
    assert!(!shown(&error).contains("secret"));
    let failure = Failure::of(error);
    assert_eq!(failure.kind(), FailureKind::Network);
    assert!(failure.to_string().ends_with("refused the connection"), "{failure}");
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    // `.invalid` never exists (RFC 6761), whether there is a name server to ask or not.
    let error = refused(UpgradeLayer::new(), "ws://nowhere.invalid/").await;
    assert_eq!(error.failure().kind(), FailureKind::Dns);
    assert!(error.failure().to_string().contains("nowhere.invalid"));
}

#[tokio::test]
async fn plain_tcp_never_passes_for_tls() {
    let server = Server::start(Script::Echo).await.unwrap();
    let error = refused(UpgradeLayer::new(), &server.url().replace("ws:", "wss:")).await;
    assert!(matches!(error, UpgradeError::Connect(_)));
    assert_eq!(server.dials(), 0);
}

#[tokio::test]
async fn cut_off_before_and_in_the_answer() {
    for script in [
        Script::CutBeforeReply(Cut::Fin),
        Script::CutBeforeReply(Cut::Rst),
        Script::CutMidReply(Cut::Fin),
        Script::CutMidReply(Cut::Rst),
    ] {
        let server = Server::start(script.clone()).await.unwrap();
        let error = refused(UpgradeLayer::new(), &server.url()).await;
        assert!(matches!(error, UpgradeError::Broken(_)), "{script:?}: {error:?}");
        let failure = Failure::of(error);
        assert_eq!(failure.kind(), FailureKind::Network, "{script:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
    }
}

#[tokio::test]
async fn a_refusal_carries_all_that_was_said() {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(4_070_908_800);
    for (code, retry_after, expected) in [
        (401, None, None),
        (403, None, None),
        (429, Some("7"), Some(RetryAfter::Delay(Duration::from_secs(7)))),
        (503, Some("Thu, 01 Jan 2099 00:00:00 GMT"), Some(RetryAfter::Date(date))),
        (302, None, None),
        (200, None, None),
    ] {
        let mut headers = vec![
            (
                "WWW-Authenticate".to_owned(),
                "Bearer realm=\"secret-of-ours\"".to_owned(),
            ),
            ("Location".to_owned(), "ws://127.0.0.1:1/".to_owned()),
        ];
        headers.extend(retry_after.map(|value| ("Retry-After".to_owned(), value.to_owned())));
        let body = "you sent secret-of-ours ".repeat(300);
        let server = Server::start(Script::Status { code, headers, body }).await.unwrap();
        let error = refused(UpgradeLayer::new(), &format!("{}?key=secret-of-ours", server.url())).await;
        let refusal = error.refusal().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(refusal.status(), code);
        assert_eq!(refusal.headers()["www-authenticate"], "Bearer realm=\"secret-of-ours\"");
        assert_eq!(refusal.body().len(), 4096);
        assert!(!shown(&error).contains("secret"));
        let failure = Failure::of(error);
        let text = failure.to_string();
        assert!(text.contains(&format!("ws://{}", server.addr())), "{text}");
        assert!(text.contains("you sent [cut] you sent"), "{text}");
        assert_eq!(text.contains(r#"realm=\"[cut]\""#), code == 401, "{text}");
        let kind = match code {
            401 | 403 => FailureKind::Auth,
            _ => FailureKind::Handshake,
        };
        assert_eq!(failure.kind(), kind);
        assert_eq!(find::<Refusal>(&failure).unwrap().status(), code);
        assert_eq!((failure.status(), failure.retry_after()), (Some(code), expected));
        assert_eq!(server.dials(), 1, "no redirect is followed");
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_shown_as_far_as_it_came() {
    let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nsorry";
    let url = raw_server(answer.as_bytes(), true).await;
    let error = refused(quick(), &url).await;
    assert_eq!(error.refusal().unwrap().body(), "sorry");
}

#[tokio::test]
async fn answers_that_break_the_protocol() {
    for script in [
        Script::WrongAccept,
        Script::NoAccept,
        Script::DoubleAccept,
        Script::NoUpgradeHeader,
        Script::NoConnectionHeader,
        Script::Extension("permessage-deflate".into()),
    ] {
        let server = Server::start(script.clone()).await.unwrap();
        let error = refused(UpgradeLayer::new(), &server.url()).await;
        assert!(
            matches!(error, UpgradeError::Answer(_) | UpgradeError::Broken(_)),
            "{script:?}: {error:?}"
        );
        assert_eq!(error.failure().kind(), FailureKind::Handshake, "{script:?}: {error:?}");
    }
}

#[tokio::test]
async fn answers_that_are_too_much_or_no_http() {
    for script in [Script::ManyHeaders(500), Script::EndlessHeader, Script::Garbage] {
        let server = Server::start(script.clone()).await.unwrap();
        let error = refused(UpgradeLayer::new(), &server.url()).await;
        assert!(matches!(error, UpgradeError::Broken(_)), "{script:?}: {error:?}");
        assert_eq!(error.failure().kind(), FailureKind::Handshake, "{script:?}");
    }
}

/// An ssh server greets whoever comes, and others have nothing to say: neither is this side's fault.
#[tokio::test]
async fn whoever_speaks_or_leaves_before_the_request_is_named() {
    for (greeting, stays, kind, words) in [
        (
            "SSH-2.0-OpenSSH_9.2p1\r\n",
            true,
            FailureKind::Handshake,
            "is the port right?",
        ),
        (
            "SSH-2.0-OpenSSH_9.2p1\r\n",
            false,
            FailureKind::Handshake,
            "is the port right?",
        ),
        (
            "",
            false,
            FailureKind::Network,
            "ended the connection before it had answered",
        ),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(greeting.as_bytes()).await.unwrap();
        let _theirs = stays.then_some(theirs);
        let mut io = Some(hyper_util::rt::TokioIo::new(ours));
        let connector = service_fn(move |_| std::future::ready(io.take().ok_or("dialled twice")));
        let error = bounded(quick().layer(connector).oneshot(get("ws://a/")))
            .await
            .unwrap_err();
        let failure = error.failure();
        assert_eq!(failure.kind(), kind, "{greeting} {stays}: {failure}");
        assert!(failure.to_string().contains(words), "{greeting} {stays}: {failure}");
    }
}

#[tokio::test]
async fn the_servers_choice_of_a_subprotocol() {
    // What is offered, what the server does, and whether that passes in strict mode.
    for (offered, script, strict) in [
        (&["a"][..], Script::Echo, true),
        (&["a"], Script::NoSubprotocol, false),
        (&["a"], Script::Subprotocol("b".into()), false),
        (&[], Script::Subprotocol("b".into()), false),
        (&[], Script::Echo, true),
    ] {
        let server = Server::start(script.clone()).await.unwrap();
        let layer = TransportLayer::new().subprotocols(offered.iter().copied());
        match dial(layer.clone(), &server.url()).await {
            Ok(_) => assert!(strict, "{offered:?} {script:?}"),
            Err(error) => {
                assert!(!strict, "{offered:?} {script:?}: {error:?}");
                assert_eq!(Failure::of(error).disposition(), Disposition::Final);
            }
        }
        let (_, up) = connected_with(layer.subprotocol_mode(Subprotocols::Lenient), &server.url()).await;
        let handshake = up.extensions.get::<Handshake>().unwrap();
        let answered = match &script {
            Script::Subprotocol(name) => Some(name.as_str()),
            Script::NoSubprotocol => None,
            _ => offered.first().copied(),
        };
        assert_eq!(handshake.subprotocol(), answered);
    }
}

#[tokio::test]
async fn what_is_glued_to_the_answer_is_not_lost() {
    let server = Server::start(Script::EarlyData("early".into())).await.unwrap();
    // A read buffer smaller than what comes early, too.
    for limits in [Limits::default(), Limits::default().read_buffer(1)] {
        let (mut connection, _) = connected_with(TransportLayer::new().limits(limits), &server.url()).await;
        match bounded(connection.next()).await {
            Some(Event::Message(message)) => assert_eq!(message, Message::text("early")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn interim_answers_are_skipped_and_http_1_0_is_refused() {
    let url = raw_server(
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
        false,
    )
    .await;
    assert_eq!(refused(quick(), &url).await.failure().status(), Some(403));
    let url = raw_server(b"HTTP/1.0 101 Switching\r\nUpgrade: websocket\r\n\r\n", false).await;
    let failure = refused(quick(), &url).await.failure().clone();
    assert_eq!(failure.kind(), FailureKind::Handshake, "{failure:?}");
}

#[tokio::test]
async fn a_folded_header_line_is_read_as_blanks() {
    let answer = b"HTTP/1.1 503 No\r\nX-Why: one\r\n\ttwo\r\nRetry-After:\r\n 7\r\nContent-Length: 0\r\n\r\n";
    let error = refused(quick(), &raw_server(answer, false).await).await;
    let headers = error.refusal().unwrap().headers();
    assert_eq!(
        headers["x-why"]
            .to_str()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["one", "two"]
    );
    assert_eq!(
        error.failure().retry_after(),
        Some(RetryAfter::Delay(Duration::from_secs(7)))
    );
}

#[tokio::test]
async fn a_request_that_is_none_is_not_dialled() {
    let server = Server::start(Script::Echo).await.unwrap();
    let url = server.url().replace("ws:", "http:");
    let error = refused(UpgradeLayer::new(), &url).await;
    assert!(matches!(error, UpgradeError::Request(_)));
    assert_eq!(Failure::of(error).disposition(), Disposition::Final);
    assert_eq!(server.dials(), 0);
}

#[tokio::test]
async fn the_connector_that_is_ready_is_the_one_called() {
    let server = Server::start(Script::Echo).await.unwrap();
    let connector = tower_ws_test_kit::MustBeReady::new(tcp());
    let upgrade = UpgradeLayer::new().layer(connector);
    for _ in 0..3 {
        bounded(upgrade.clone().oneshot(get(&server.url()))).await.unwrap();
    }
}

/// Answers the first connection with these bytes; then holds it, or ends.
async fn raw_server(answer: &'static [u8], hold: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        AsyncReadExt::read(&mut tcp, &mut head).await.unwrap();
        tcp.write_all(answer).await.unwrap();
        if hold {
            std::future::pending::<()>().await;
        }
    });
    url
}

/// Of a name with two addresses, one takes connections and says nothing.
#[tokio::test]
async fn the_next_dial_begins_with_another_address() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = deaf.local_addr().unwrap().port();
    let server = Server::start(Script::Echo).await.unwrap();
    let healthy = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let to = server.addr();
    tokio::spawn(async move {
        let (mut client, _) = healthy.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    let resolver = service_fn(|_: Name| async {
        let addresses = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| std::net::SocketAddr::from((ip, 0)));
        Ok::<_, BoxError>(addresses.into_iter())
    });
    let connector = Guard::new(Profile::operator().allow_plaintext(), resolver, |resolver| {
        BoundUnsent::new(unguarded_tcp_connector(resolver))
    });
    let service = quick().layer(connector);
    let url = format!("ws://two.example:{port}/");
    let first = bounded(service.clone().oneshot(get(&url))).await.unwrap_err();
    assert_eq!(first.failure().kind(), FailureKind::Timeout);
    bounded(service.oneshot(get(&url))).await.unwrap();
}
