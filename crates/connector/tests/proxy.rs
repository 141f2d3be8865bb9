//! Proxies that do as a test says: hang, talk nonsense, break off.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use http::Uri;
use hyper_util::{client::legacy::connect::dns::Name, rt::TokioIo};
use support::{bounded, get, nobody, shown};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_ws_connector::{
    proxy::{Proxies, ProxyError, ProxyLayer, Reply},
    tcp_connector,
};
use tower_ws_core::{Disposition, Event, Failure, FailureKind, RetryAfter, find};
use tower_ws_test_kit::{Script, Server};
use tower_ws_transport::TransportLayer;

const TARGET: &str = "ws://server.example/?secret";

fn through(url: &str) -> ProxyLayer {
    ProxyLayer::new(Proxies::all(url).unwrap())
}

/// Accepts once, and does this.
async fn accept<F, T>(then: impl FnOnce(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinHandle<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { then(listener.accept().await.unwrap().0).await });
    (addr, task)
}

/// The failure of a dial through a proxy; without a secret, with the proxy's name.
async fn fails(layer: ProxyLayer, proxy: SocketAddr) -> Failure {
    let dial = TransportLayer::new()
        .layer(layer.layer(tcp_connector()))
        .oneshot(get(TARGET));
    let error = bounded(dial).await.unwrap_err();
    let text = shown(&error);
    assert!(!text.contains("secret"), "{text}");
    let failure = Failure::of(error);
    assert!(failure.to_string().contains(&proxy.to_string()), "{failure}");
    failure
}

/// What a proxy does once it has read the request: says this, and then ends the connection, or
/// waits until the client does.
async fn answers(scheme: &str, answer: impl Into<Vec<u8>>, end: bool) -> Failure {
    let answer = answer.into();
    let (addr, task) = accept(async move |mut tcp| {
        let mut request = [0; 1024];
        let read = tcp.read(&mut request).await.unwrap();
        // The client may have had enough before all is said.
        let _ = tcp.write_all(&answer).await;
        if !end {
            let _ = tcp.read(&mut request).await;
        }
        String::from_utf8_lossy(&request[..read]).into_owned()
    })
    .await;
    let failure = fails(through(&format!("{scheme}://user:secret@{addr}")), addr).await;
    let request = bounded(task).await.unwrap();
    if scheme == "http" {
        assert_eq!(
            request.to_lowercase(),
            "connect server.example:80 http/1.1\r\nhost: server.example:80\r\n\
             proxy-authorization: basic dxnlcjpzzwnyzxq=\r\n\r\n"
        );
    }
    failure
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")
}

#[tokio::test]
async fn each_status_has_its_failure() {
    for (line, disposition, says) in [
        ("407 Proxy Authentication Required", Disposition::Final, "credentials"),
        ("401 Unauthorized", Disposition::Final, "credentials"),
        (
            "403 Forbidden",
            Disposition::Final,
            "forbids a tunnel to server.example:80",
        ),
        ("405 Method Not Allowed", Disposition::Final, "CONNECT"),
        ("302 Found", Disposition::Final, "refused"),
        ("502 Bad Gateway", Disposition::Backoff, "could not open"),
        ("504 Gateway Timeout", Disposition::Backoff, "could not open"),
    ] {
        let failure = answers("http", status(line), false).await;
        let kind = match says {
            "credentials" => FailureKind::Auth,
            _ => FailureKind::Proxy,
        };
        assert_eq!(failure.kind(), kind, "{failure:?}");
        assert_eq!(failure.disposition(), disposition, "{failure:?}");
        assert!(failure.to_string().contains(says), "{failure}");
        assert!(line.starts_with(&failure.status().unwrap().to_string()));
        assert!(
            matches!(find(&failure), Some(ProxyError::Refused { .. })),
            "{failure:?}"
        );
    }
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\n\r\n";
    let failure = answers("http", busy, true).await;
    assert_eq!(failure.retry_after(), Some(RetryAfter::Delay(Duration::from_secs(7))));
}

#[tokio::test]
async fn nonsense_and_broken_answers() {
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000));
    for (scheme, answer) in [
        ("http", b"SSH-2.0-OpenSSH_9\r\n\r\n".to_vec()),
        ("http", endless.into_bytes()),
        // It would be taken for the server's.
        (
            "http",
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(),
        ),
        ("socks5h", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ] {
        let failure = answers(scheme, answer, false).await;
        assert_eq!(failure.kind(), FailureKind::Proxy, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
        assert!(matches!(find(&failure), Some(ProxyError::Garbled)), "{failure:?}");
    }
    for (scheme, answer) in [
        ("http", ""),
        ("http", "HTTP/1.1 200 O"),
        ("socks5h", ""),
        ("socks5h", "\x05"),
    ] {
        let failure = answers(scheme, answer, true).await;
        assert_eq!(failure.kind(), FailureKind::Proxy, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
        assert!(matches!(find(&failure), Some(ProxyError::Broken(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn a_reset_is_the_proxys() {
    for scheme in ["http", "socks5h"] {
        let (addr, _task) = accept(async move |mut tcp| {
            tcp.read_u8().await.unwrap();
            // What has not been read makes a reset of the end.
            tcp.set_zero_linger().unwrap();
        })
        .await;
        let failure = fails(through(&format!("{scheme}://{addr}")), addr).await;
        assert_eq!(failure.kind(), FailureKind::Proxy, "{failure:?}");
        assert!(matches!(find(&failure), Some(ProxyError::Broken(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_is_named() {
    for scheme in ["http", "socks5", "socks5h"] {
        let (addr, task) = accept(async move |mut tcp| {
            let mut all = Vec::new();
            tcp.read_to_end(&mut all).await.unwrap();
        })
        .await;
        // A name that nobody has to look up for `socks5`.
        let layer = through(&format!("{scheme}://{addr}")).timeout(Duration::from_millis(200));
        let dial = TransportLayer::new()
            .layer(layer.layer(tcp_connector()))
            .oneshot(get("ws://192.0.2.1/"));
        let failure = Failure::of(bounded(dial).await.unwrap_err());
        assert_eq!(failure.kind(), FailureKind::Timeout, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
        assert!(matches!(find(&failure), Some(ProxyError::Timeout)), "{failure:?}");
        assert!(
            failure.to_string().contains(&format!("{scheme}://{addr} did not")),
            "{failure}"
        );
        // And the connection is given up.
        bounded(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_not_the_server_refusing() {
    for scheme in ["http", "socks5h"] {
        let (_held, addr) = nobody();
        let failure = fails(through(&format!("{scheme}://user:secret@{addr}")), addr).await;
        assert_eq!(failure.kind(), FailureKind::Proxy, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
        assert!(
            matches!(find(&failure), Some(ProxyError::Unreachable(_))),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn an_https_proxy_is_never_spoken_to_in_plaintext() {
    let (addr, task) = accept(async move |mut tcp| tcp.read(&mut [0; 1]).await.unwrap()).await;
    let failure = fails(through(&format!("https://user:secret@{addr}")), addr).await;
    assert_eq!(failure.kind(), FailureKind::Proxy, "{failure:?}");
    assert!(!task.is_finished(), "it was not even connected to");
    task.abort();
}

/// A CONNECT proxy that leads everything to one place.
async fn lead<IO>(mut io: IO, to: SocketAddr) -> String
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(io.read_u8().await.unwrap());
    }
    io.write_all(b"HTTP/1.0 200 Here you are\r\nvia: 1.0 proxy\r\n\r\n")
        .await
        .unwrap();
    let mut tcp = TcpStream::connect(to).await.unwrap();
    // Ends when either does.
    let _ = tokio::io::copy_bidirectional(&mut io, &mut tcp).await;
    String::from_utf8(request).unwrap()
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_with_the_proxy_and_tls_with_the_server_inside() {
    use tokio_rustls::TlsAcceptor;
    use tower_ws_connector::Connect;
    use tower_ws_test_kit::Authority;

    // The authorities do not know each other's certificates: each is used in its place only.
    let (of_proxy, of_server) = (Authority::new().unwrap(), Authority::new().unwrap());
    let server = Server::start_tls(Script::Echo, of_server.good().unwrap())
        .await
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(of_proxy.good().unwrap()));
    let to = server.addr();
    let (addr, task) = accept(async move |tcp| lead(acceptor.accept(tcp).await.unwrap(), to).await).await;

    let proxied = through(&format!("https://user:secret@{addr}"))
        .layer(Connect::new().tls(of_proxy.client().unwrap()).connector());
    let connector = Connect::new().tls(of_server.client().unwrap()).over(proxied);
    // The certificate is for `localhost`; that name is on the list, unless loopback goes through a
    // proxy.
    let url = server.url().replace("127.0.0.1", "localhost");
    let direct = TransportLayer::new().layer(connector).oneshot(get(&url));
    assert!(matches!(
        bounded(bounded(direct).await.unwrap().next()).await,
        Some(Event::Up(_))
    ));
    assert!(!task.is_finished(), "loopback does not go through a proxy");

    let proxies = Proxies::all(&format!("https://user:secret@{addr}"))
        .unwrap()
        .loopback(true);
    let proxied = ProxyLayer::new(proxies).layer(Connect::new().tls(of_proxy.client().unwrap()).connector());
    let connector = Connect::new().tls(of_server.client().unwrap()).over(proxied);
    let mut connection = bounded(TransportLayer::new().layer(connector).oneshot(get(&url)))
        .await
        .unwrap();
    assert!(matches!(bounded(connection.next()).await, Some(Event::Up(_))));
    drop(connection);
    let request = bounded(task).await.unwrap();
    assert!(
        request.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", to.port())),
        "{request}"
    );
    for request in server.requests() {
        let names: Vec<_> = request.headers.keys().map(http::HeaderName::as_str).collect();
        assert!(
            !names.iter().any(|name| name.contains("proxy") || *name == "via"),
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn above_it_is_the_server_and_below_it_the_proxy() {
    let server = Server::start(Script::Echo).await.unwrap();
    let to = server.addr();
    let (addr, _task) = accept(async move |tcp| lead(tcp, to).await).await;
    let below = Arc::new(Mutex::new(Vec::new()));
    let layer = ProxyLayer::new(
        Proxies::all(&format!("http://user:secret@{addr}"))
            .unwrap()
            .except("127.0.0.0/8"),
    );
    let noted = below.clone();
    let connector = layer.layer(service_fn(move |uri: Uri| {
        noted.lock().unwrap().push(uri.to_string());
        tcp_connector().oneshot(uri)
    }));
    let mut transport = TransportLayer::new().layer(connector);
    for url in [TARGET.to_owned(), server.url()] {
        let dial = transport.ready().await.unwrap();
        let mut connection = bounded(tower::Service::call(dial, get(&url))).await.unwrap();
        assert!(matches!(bounded(connection.next()).await, Some(Event::Up(_))));
    }
    assert_eq!(
        *below.lock().unwrap(),
        [format!("http://{addr}/"), format!("http://{to}/")]
    );
}

#[tokio::test]
async fn socks5_looks_names_up_here_and_socks5h_there() {
    for (scheme, said) in [
        ("socks5", &b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"[..]),
        ("socks5h", b"\x05\x01\x00\x03\x0eserver.example\x00\x50"),
    ] {
        let (addr, task) = accept(async move |mut tcp| {
            let mut bytes = vec![0; 3];
            tcp.read_exact(&mut bytes).await.unwrap();
            tcp.write_all(&[5, 0]).await.unwrap();
            let mut bytes = vec![0; said.len()];
            tcp.read_exact(&mut bytes).await.unwrap();
            tcp.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            bytes
        })
        .await;
        // IPv4 is told, even if it comes second.
        let resolver = service_fn(async |name: Name| {
            assert_eq!(name.as_str(), "server.example");
            let found: [SocketAddr; 2] = ["[2001:db8::1]:0".parse().unwrap(), "192.0.2.7:0".parse().unwrap()];
            Ok::<_, BoxError>(found.into_iter())
        });
        let connector = through(&format!("{scheme}://{addr}"))
            .resolver(resolver)
            .layer(tcp_connector());
        let failure = Failure::of(
            bounded(connector.oneshot(Uri::from_static("http://server.example/")))
                .await
                .map(drop)
                .unwrap_err(),
        );
        assert_eq!(bounded(task).await.unwrap(), said);
        assert!(
            matches!(find(&failure), Some(ProxyError::Socks(Reply::NotAllowed))),
            "{failure:?}"
        );
        assert_eq!(failure.disposition(), Disposition::Final);
    }
}

#[tokio::test]
async fn a_guard_in_the_resolver_or_below_has_its_say() {
    let forbidden = || Failure::new(FailureKind::Policy, "this address is forbidden");
    let (addr, _task) = accept(async move |mut tcp| tcp.read(&mut [0; 1]).await.unwrap_or(0)).await;
    let resolver = service_fn(move |_: Name| async move { Err::<std::vec::IntoIter<SocketAddr>, _>(forbidden()) });
    let connector = through(&format!("socks5://{addr}"))
        .resolver(resolver)
        .layer(tcp_connector());
    let below = service_fn(move |_: Uri| async move { Err::<TokioIo<TcpStream>, _>(forbidden()) });
    let uri = Uri::from_static("http://server.example/");
    for failure in [
        Failure::of(bounded(connector.oneshot(uri.clone())).await.map(drop).unwrap_err()),
        Failure::of(
            bounded(through("http://10.0.0.1").layer(below).oneshot(uri))
                .await
                .map(drop)
                .unwrap_err(),
        ),
    ] {
        assert_eq!(failure.kind(), FailureKind::Policy, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Final);
    }
}

/// In a process of its own, since a process with threads must not change its environment.
#[test]
fn the_environment_is_read() {
    const CHILD: &str = "TOWER_WS_TEST_EXPECTS";
    if let Ok(expected) = std::env::var(CHILD) {
        let shown = match Proxies::from_env() {
            Ok(proxies) => format!("{proxies:?}"),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(&expected), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        return;
    }
    let run = |name: &str, value: &std::ffi::OsStr, expected: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        for name in ["https_proxy", "all_proxy", "http_proxy", "no_proxy", "REQUEST_METHOD"] {
            child.env_remove(name).env_remove(name.to_uppercase());
        }
        child
            .args(["--exact", "the_environment_is_read"])
            .env(name, value)
            .env(CHILD, expected);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    };
    run(
        "HTTPS_PROXY",
        "http://user:secret@a.example:3128".as_ref(),
        "http://a.example:3128",
    );
    run(
        "ALL_PROXY",
        "socks5h://user:secret@b.example".as_ref(),
        "socks5h://b.example:1080",
    );
    run(
        "https_proxy",
        "gopher://user:secret@c.example".as_ref(),
        "https_proxy is not usable",
    );
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let not_unicode = std::ffi::OsStr::from_bytes(b"http://user:secret\xff@d.example");
        run("HTTPS_PROXY", not_unicode, "HTTPS_PROXY is not usable");
    }
}

/// What is wired together: the guard judges the target above the tunnel, the proxy's address below
/// it, and what goes directly in the dial.
#[cfg(feature = "tls")]
#[tokio::test]
async fn through_a_proxy_everything_is_guarded() {
    use tower_ws_connector::{
        Connect,
        guard::{Profile, Refused},
    };
    use tower_ws_test_kit::Authority;

    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let to = server.addr();
    let (addr, task) = accept(async move |tcp| lead(tcp, to).await).await;
    let proxies = Proxies::all(&format!("http://{addr}")).unwrap();
    let connect = Connect::new().tls(authority.client().unwrap());

    // Refused before the proxy hears of it: metadata, and plaintext that would leave this machine.
    for url in [
        "wss://169.254.169.254/",
        "wss://metadata.google.internal/",
        "ws://server.example/",
    ] {
        let transport = TransportLayer::new().layer(connect.through(proxies.clone()));
        let error = bounded(transport.oneshot(get(url))).await.map(drop).unwrap_err();
        assert_eq!(Failure::of(error).kind(), FailureKind::Policy, "{url}");
    }
    // A proxy that is none.
    let nowhere = Proxies::all("http://169.254.169.254:80").unwrap();
    let transport = TransportLayer::new().layer(connect.through(nowhere));
    let error = bounded(transport.oneshot(get("wss://server.example/")))
        .await
        .map(drop)
        .unwrap_err();
    assert!(find::<Refused>(&Failure::of(error)).is_some());
    // Directly, though there is a proxy: by the profile, which has the address.
    let strict = connect.clone().guard(Profile::untrusted().allow_any_port());
    let transport = TransportLayer::new().layer(strict.through(proxies.clone()));
    let error = bounded(transport.oneshot(get(&server.url())))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(Failure::of(error).kind(), FailureKind::Policy);
    assert!(!task.is_finished());
    assert_eq!(server.dials(), 0);

    // And what may go, goes: directly, and through the tunnel.
    let transport = TransportLayer::new().layer(connect.through(proxies.clone()));
    drop(bounded(transport.oneshot(get(&server.url()))).await.unwrap());
    assert!(!task.is_finished(), "loopback does not go through a proxy");
    let url = server.url().replace("127.0.0.1", "localhost");
    let transport = TransportLayer::new().layer(connect.through(proxies.loopback(true)));
    let mut connection = bounded(transport.oneshot(get(&url))).await.unwrap();
    assert!(matches!(bounded(connection.next()).await, Some(Event::Up(_))));
    drop(connection);
    assert!(bounded(task).await.unwrap().starts_with("CONNECT localhost:"));
}
