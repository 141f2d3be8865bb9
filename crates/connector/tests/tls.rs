//! TLS, good and bad.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use rustls::HandshakeKind;
use support::{bounded, get, shown};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;
use tower::{Layer, ServiceExt};
use tower_ws_connector::{Connect, connector};
use tower_ws_core::{Disposition, Event, Failure, FailureKind};
use tower_ws_test_kit::{Authority, Cut, Script, Server};
use tower_ws_transport::{Message, TransportLayer, UpgradeLayer};

#[tokio::test]
async fn a_good_certificate_by_address_and_by_name() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let transport = TransportLayer::new().layer(Connect::new().tls(authority.client().unwrap()).connector());
    for url in [server.url(), server.url().replace("127.0.0.1", "localhost")] {
        let mut connection = bounded(transport.clone().oneshot(get(&url))).await.unwrap();
        assert!(matches!(connection.next().await, Some(Event::Up(_))));
        connection.send(Message::text("secret").into()).await.unwrap();
        match bounded(connection.next()).await {
            Some(Event::Message(message)) => assert_eq!(message, Message::text("secret")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn bad_certificates_are_final_and_say_why() {
    let authority = Authority::new().unwrap();
    let trusted = Connect::new().tls(authority.client().unwrap()).connector();
    for (config, connector, says) in [
        (authority.expired(), trusted.clone(), "expired"),
        (authority.wrong_host(), trusted.clone(), "another host"),
        (authority.self_signed(), trusted.clone(), "unknown issuer"),
        (authority.good(), connector(), "unknown issuer"),
    ] {
        let server = Server::start_tls(Script::Echo, config.unwrap()).await.unwrap();
        let transport = TransportLayer::new().layer(connector);
        let error = bounded(transport.oneshot(get(&server.url()))).await.unwrap_err();
        let failure = Failure::of(error);
        assert_eq!(failure.kind(), FailureKind::Tls, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Final);
        assert!(failure.to_string().contains(says), "{failure}");
        assert!(server.requests().is_empty(), "nothing was sent in plaintext");
    }
}

#[tokio::test]
async fn a_server_without_tls() {
    for script in [Script::Echo, Script::Garbage] {
        let server = Server::start(script).await.unwrap();
        let transport = TransportLayer::new().layer(connector());
        let url = server.url().replace("ws:", "wss:");
        let error = bounded(transport.oneshot(get(&url))).await.unwrap_err();
        let text = shown(&error);
        assert_eq!(Failure::of(error).kind(), FailureKind::Tls, "{text}");
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn cut_off_in_the_tls_handshake_is_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.read_u8().await.unwrap();
    });
    let transport = TransportLayer::new().layer(connector());
    let error = bounded(transport.oneshot(get(&url))).await.unwrap_err();
    let failure = Failure::of(error);
    assert_eq!(failure.kind(), FailureKind::Network, "{failure:?}");
    assert_eq!(failure.disposition(), Disposition::Backoff);
}

#[tokio::test]
async fn a_redial_resumes_the_session_and_speaks_http_1() {
    let authority = Authority::new().unwrap();
    let mut config = authority.good().unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = acceptor.accept(tcp).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            kinds.push(tls.get_ref().1.handshake_kind().unwrap());
            let mut ws = tokio_tungstenite::accept_async(tls).await.unwrap();
            while let Some(Ok(_)) = ws.next().await {}
        }
        kinds
    });
    let transport = TransportLayer::new().layer(Connect::new().tls(authority.client().unwrap()).connector());
    for _ in 0..2 {
        let mut connection = bounded(transport.clone().oneshot(get(&url))).await.unwrap();
        connection.close().await.unwrap();
        while bounded(connection.next()).await.is_some() {}
    }
    assert_eq!(
        bounded(server).await.unwrap(),
        [HandshakeKind::Full, HandshakeKind::Resumed]
    );
}

#[tokio::test]
async fn a_truncated_stream_is_no_clean_close() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let transport = TransportLayer::new().layer(Connect::new().tls(authority.client().unwrap()).connector());
    let mut connection = bounded(transport.oneshot(get(&server.url()))).await.unwrap();
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    server.cut(Cut::Fin);
    match bounded(connection.next()).await {
        Some(Event::Down(down)) => {
            assert_eq!(down.cause.kind(), FailureKind::Network, "{:?}", down.cause);
            assert!(
                down.cause.to_string().contains("without a close frame"),
                "{}",
                down.cause
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_default_connector_speaks_plain_ws_too() {
    let server = Server::start(Script::Echo).await.unwrap();
    let transport = TransportLayer::new().layer(connector());
    let mut connection = bounded(transport.oneshot(get(&server.url()))).await.unwrap();
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
}

fn quick() -> UpgradeLayer {
    UpgradeLayer::new().timeout(Duration::from_millis(400))
}

/// The step that a dial hangs in is in the text.
#[tokio::test]
async fn a_step_that_hangs_is_named() {
    // Takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (scheme, says) in [
        ("wss", "tcp was up, tls was waited for"),
        ("ws", "connected, the answer to the upgrade was waited for"),
    ] {
        let service = quick().layer(connector());
        let dial = service.oneshot(get(&format!("{scheme}://{address}/")));
        let error = bounded(dial).await.unwrap_err();
        assert_eq!(error.failure().kind(), FailureKind::Timeout);
        let text = error.failure().to_string();
        assert!(text.contains(says) && text.contains(&address.to_string()), "{text}");
    }
}

/// What is dialled, what TLS checks and what the server is told can be three names.
#[tokio::test]
async fn address_name_and_host_apart() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let connect = Connect::new().tls(authority.client().unwrap());
    let connector = connect.address(&server.addr().to_string()).unwrap().connector();
    let service = quick().host("tenant.example").layer(connector);
    // Nobody listens on its port; the certificate is for its name.
    bounded(service.clone().oneshot(get("wss://localhost:1/")))
        .await
        .unwrap();
    assert_eq!(server.requests()[0].headers["host"], "tenant.example");
    let other = bounded(service.oneshot(get("wss://elsewhere.example/")))
        .await
        .unwrap_err();
    assert_eq!(other.failure().kind(), FailureKind::Tls, "{other:?}");

    for none in ["10.0.0.7", "a b:1", "user@a:1", ""] {
        assert!(Connect::new().address(none).is_err(), "{none}");
    }
    let plain = Server::start(Script::Echo).await.unwrap();
    let odd = quick()
        .host("a\nb")
        .layer(Connect::new().connector())
        .oneshot(get(&plain.url()));
    let odd = bounded(odd).await.unwrap_err();
    assert_eq!(odd.failure().kind(), FailureKind::Usage);
    assert_eq!(plain.dials(), 0);
}
