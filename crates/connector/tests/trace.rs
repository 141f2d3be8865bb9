//! What is seen of a dial, step by step.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use http::StatusCode;
use support::{bounded, get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::{Layer, ServiceExt};
use tower_ws_connector::{
    Connect, Connector, Stage, Trace,
    proxy::Proxies,
    tls::{Certificate, Pin, Tls, Version},
};
use tower_ws_test_kit::{Authority, Script, Server};
use tower_ws_transport::TransportLayer;

/// The stages of a dial, whatever comes of it.
async fn dialled(connector: &Connector, url: &str) -> Vec<Stage> {
    let trace = Trace::new();
    let dial = TransportLayer::new().layer(connector.clone()).oneshot(get(url));
    if let Ok(mut connection) = trace.watch(bounded(dial)).await {
        // TLS 1.3 hands out its tickets with what comes next.
        let _ = connection.next().await;
    }
    let steps = trace.steps();
    assert!(steps.is_sorted_by_key(|step| step.after));
    steps.into_iter().map(|step| step.stage).collect()
}

fn trusting(authority: &Authority) -> Connector {
    let tls = Tls::new().only_roots_pem(authority.pem()).unwrap();
    Connect::new().tls(tls.config()).connector()
}

fn first(certificates: &[Certificate]) -> &Certificate {
    certificates.first().unwrap()
}

#[tokio::test]
async fn a_dial_by_tls_shows_each_step_and_what_the_server_has_shown() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let url = server.url().replace("127.0.0.1", "localhost");
    let stages = dialled(&trusting(&authority), &url).await;
    let [
        Stage::Begun { host, port },
        Stage::Resolved(addresses),
        Stage::Tcp(Some(address)),
        Stage::Certificates(shown),
        Stage::Tls(negotiated),
        Stage::Answered(StatusCode::SWITCHING_PROTOCOLS),
    ] = &stages[..]
    else {
        panic!("{stages:?}")
    };
    assert_eq!(
        (host.as_str(), *port, *address),
        ("localhost", server.addr().port(), server.addr())
    );
    assert!(addresses.contains(&address.ip()), "{addresses:?}");
    assert_eq!(negotiated.version, Version::V1_3);
    assert!(negotiated.cipher.starts_with("TLS13_"), "{}", negotiated.cipher);
    assert!(!negotiated.is_resumed);
    assert_eq!(&negotiated.chain, shown);

    let certificates = shown.certificates();
    let own = first(&certificates);
    assert!(own.names.contains(&"localhost".to_owned()), "{own:?}");
    assert!(own.names.contains(&"127.0.0.1".to_owned()), "{own:?}");
    assert!(
        own.valid_for(SystemTime::now())
            .is_some_and(|time| time > Duration::from_secs(60))
    );
    assert!(!own.is_publicly_issued);
    // What is trusted by its PEM is the very one.
    let pem = shown.to_pem();
    assert_eq!(Pin::of_certificate_pem(&pem).unwrap(), own.pin);
}

#[tokio::test]
async fn what_is_resumed_says_so_and_has_the_certificates_of_the_first() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let connector = trusting(&authority);
    let _ = dialled(&connector, &server.url()).await;
    let stages = dialled(&connector, &server.url()).await;
    let [
        Stage::Begun { .. },
        Stage::Tcp(_),
        Stage::Tls(negotiated),
        Stage::Answered(_),
    ] = &stages[..]
    else {
        panic!("{stages:?}")
    };
    assert!(negotiated.is_resumed);
    assert!(!negotiated.chain.certificates().is_empty());
}

#[tokio::test]
async fn certificates_that_are_refused_are_seen() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.expired().unwrap())
        .await
        .unwrap();
    let stages = dialled(&trusting(&authority), &server.url()).await;
    let Some(Stage::Certificates(shown)) = stages.last() else {
        panic!("{stages:?}")
    };
    assert_eq!(first(&shown.certificates()).valid_for(SystemTime::now()), None);
}

#[tokio::test]
async fn what_the_guard_refuses_does_not_begin() {
    let stages = dialled(&Connect::new().connector(), "wss://169.254.169.254/").await;
    assert_eq!(stages, []);
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let server = Server::start(Script::status(401, &[])).await.unwrap();
    let stages = dialled(&Connect::new().connector(), &server.url()).await;
    assert_eq!(stages.last(), Some(&Stage::Answered(StatusCode::UNAUTHORIZED)));
}

#[tokio::test]
async fn the_way_to_a_proxy_comes_before_its_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 1024]).await;
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        // No TLS comes.
    });
    let proxies = Proxies::all(&format!("http://{proxy}")).unwrap();
    let trace = Trace::new();
    let dial = TransportLayer::new()
        .layer(Connect::new().through(proxies))
        .oneshot(get("wss://server.example/"));
    trace.watch(bounded(dial)).await.unwrap_err();
    let stages: Vec<_> = trace.steps().into_iter().map(|step| step.stage).collect();
    let [
        Stage::Begun { port, .. },
        Stage::Tcp(Some(address)),
        Stage::Proxy,
        Stage::Tunnel,
    ] = stages[..]
    else {
        panic!("{stages:?}")
    };
    assert_eq!((port, address), (proxy.port(), proxy));
    assert_eq!(trace.waits_for(), "the proxy's tunnel was up, tls was waited for");
}
