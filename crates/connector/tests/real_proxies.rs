//! Through tinyproxy, squid and microsocks, as they are installed; `tests/peers/install-proxies`
//! installs them.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

#[path = "support/daemon.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod daemon;
mod support;

use daemon::{Daemon, PASSWORD, missing};
use futures_util::{SinkExt, StreamExt};
use support::{bounded, get, nobody, shown};
use tower::{Layer, ServiceExt};
use tower_ws_connector::{
    Connect, connector,
    proxy::{Proxies, ProxyError, ProxyLayer, Reply},
};
use tower_ws_core::{Disposition, Event, Failure, FailureKind, find};
use tower_ws_test_kit::{Authority, Script, Server};
use tower_ws_transport::{Message, TransportLayer, UpgradeError};

const RIGHT: Option<(&str, &str)> = Some(("user", PASSWORD));
const WRONG: Option<(&str, &str)> = Some(("user", "wr0ng"));

fn proxies(url: &str) -> Proxies {
    Proxies::all(url).unwrap().loopback(true)
}

/// One message there and back.
async fn echo(proxy: &str, url: &str, authority: &Authority) -> Result<(), UpgradeError> {
    let through = ProxyLayer::new(proxies(proxy)).layer(connector());
    let connector = Connect::new().tls(authority.client().unwrap()).over(through);
    let mut connection = bounded(TransportLayer::new().layer(connector).oneshot(get(url))).await?;
    assert!(matches!(bounded(connection.next()).await, Some(Event::Up(_))));
    connection.send(Message::text("through").into()).await.unwrap();
    match bounded(connection.next()).await {
        Some(Event::Message(message)) => assert_eq!(message, Message::text("through")),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// `ws` and `wss`, by address and by name; nothing of the proxy's arrives at the server.
async fn works(proxy: &str) {
    let authority = Authority::new().unwrap();
    let plain = Server::start(Script::Echo).await.unwrap();
    let secure = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    for server in [&plain, &secure] {
        for url in [server.url(), server.url().replace("127.0.0.1", "localhost")] {
            if let Err(error) = echo(proxy, &url, &authority).await {
                panic!("{url}: {}", shown(&error));
            }
        }
        assert_eq!(server.requests().len(), 2);
        for request in server.requests() {
            // The client's own, and not one more.
            let names: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
            assert_eq!(
                names,
                [
                    "host",
                    "connection",
                    "upgrade",
                    "sec-websocket-version",
                    "sec-websocket-key"
                ]
            );
        }
    }
}

/// The failure of a dial that must fail at the proxy, before anything gets to the server, without a
/// secret in it.
async fn fails(proxy: &str, url: &str) -> Failure {
    let error = echo(proxy, url, &Authority::new().unwrap()).await.unwrap_err();
    let text = shown(&error);
    assert!(!text.contains(PASSWORD) && !text.contains("wr0ng"), "{text}");
    let failure = Failure::of(error);
    assert!(
        matches!(failure.kind(), FailureKind::Proxy | FailureKind::Auth),
        "{text}"
    );
    assert!(find::<ProxyError>(&failure).is_some(), "{text}");
    failure
}

/// Missing and wrong credentials are final, and are not the server's business.
async fn wants_credentials(proxy: &Daemon, scheme: &str, statuses: &[u16]) {
    let server = Server::start(Script::Echo).await.unwrap();
    for credentials in [None, WRONG] {
        let failure = fails(&proxy.url(scheme, credentials), &server.url()).await;
        assert_eq!(failure.kind(), FailureKind::Auth, "{failure}");
        assert_eq!(failure.disposition(), Disposition::Final, "{failure}");
        assert!(failure.to_string().contains("user:password@"), "{failure}");
        match failure.status() {
            Some(status) => assert!(statuses.contains(&status), "{failure}"),
            None => assert!(matches!(find(&failure), Some(ProxyError::Credentials)), "{failure:?}"),
        }
    }
    assert_eq!(server.dials(), 0);
    works(&proxy.url(scheme, RIGHT)).await;
}

fn refuses_with(failure: &Failure, status: u16, disposition: Disposition) {
    assert_eq!(failure.status(), Some(status), "{failure}");
    assert_eq!(failure.disposition(), disposition, "{failure}");
}

#[tokio::test]
async fn tinyproxy() {
    if missing("tinyproxy") {
        return;
    }
    let daemon = Daemon::tinyproxy(false, None).await;
    let proxy = daemon.url("http", None);
    works(&proxy).await;
    let (_held, closed) = nobody();
    refuses_with(
        &fails(&proxy, &format!("ws://{closed}/")).await,
        500,
        Disposition::Backoff,
    );
    let server = Server::start(Script::Echo).await.unwrap();
    let strict = Daemon::tinyproxy(false, Some(server.addr().port())).await;
    let failure = fails(&strict.url("http", None), &server.url()).await;
    refuses_with(&failure, 403, Disposition::Final);
    assert_eq!(server.dials(), 0);
    wants_credentials(&Daemon::tinyproxy(true, None).await, "http", &[401, 407]).await;
}

#[tokio::test]
async fn squid() {
    if missing("squid") {
        return;
    }
    let daemon = Daemon::squid(false, None).await;
    let proxy = daemon.url("http", None);
    works(&proxy).await;
    let (_held, closed) = nobody();
    refuses_with(
        &fails(&proxy, &format!("ws://{closed}/")).await,
        503,
        Disposition::Backoff,
    );
    let server = Server::start(Script::Echo).await.unwrap();
    let strict = Daemon::squid(false, Some(server.addr().port())).await;
    let failure = fails(&strict.url("http", None), &server.url()).await;
    refuses_with(&failure, 403, Disposition::Final);
    assert_eq!(server.dials(), 0);
    wants_credentials(&Daemon::squid(true, None).await, "http", &[407]).await;
}

#[tokio::test]
async fn microsocks() {
    if missing("microsocks") {
        return;
    }
    let daemon = Daemon::microsocks(false).await;
    let (_held, closed) = nobody();
    for scheme in ["socks5", "socks5h"] {
        works(&daemon.url(scheme, None)).await;
        let failure = fails(&daemon.url(scheme, None), &format!("ws://{closed}/")).await;
        assert!(
            matches!(find(&failure), Some(ProxyError::Socks(Reply::Refused))),
            "{failure:?}"
        );
        assert_eq!(failure.disposition(), Disposition::Backoff);
    }
    for scheme in ["socks5", "socks5h"] {
        wants_credentials(&Daemon::microsocks(true).await, scheme, &[]).await;
    }
}
