//! Credentials in the handshake, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::join_all};
use http::{HeaderName, Request};
use support::{Server, counted, within};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_ws_auth::{AuthLayer, Credential, Credentials, SchemeError};
use tower_ws_connector::{Connect, guard::Profile, proxy::Proxies, tcp_connector};
use tower_ws_core::{BoxConnection, BoxError, Disposition, DispositionTable, Event, Failure, FailureKind, boxed, find};
use tower_ws_reconnect::{Backoff, ReconnectLayer};
use tower_ws_transport::{Message, TransportLayer};

type Session = BoxConnection<Message>;

fn request(url: &str) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

async fn session(url: &str, auth: AuthLayer) -> Result<Session, BoxError> {
    session_by(DispositionTable::default(), url, auth).await
}

async fn session_by(table: DispositionTable, url: &str, auth: AuthLayer) -> Result<Session, BoxError> {
    let eager = Backoff::default().cap(Duration::from_secs(1));
    let stack = ServiceBuilder::new()
        .layer(ReconnectLayer::new().policy(eager).dispositions(table))
        .layer(auth)
        .layer(
            TransportLayer::new()
                .subprotocols(["chat"])
                .subprotocol_mode(tower_ws_transport::Subprotocols::Lenient),
        )
        .service(tcp_connector());
    Ok(boxed(within(stack.oneshot(request(url))).await?))
}

async fn up(session: &mut Session) -> u64 {
    loop {
        match within(session.next()).await.expect("the session lives") {
            Event::Up(up) => {
                assert!(up.layers.contains(&"auth"));
                return up.epoch;
            }
            _ => continue,
        }
    }
}

#[tokio::test]
async fn each_scheme_gets_in() {
    let cases: [(fn(Credentials) -> AuthLayer, &str); 6] = [
        (AuthLayer::bearer, "Bearer s3 cr3t"),
        // user:s3 cr3t
        (
            |credentials| AuthLayer::basic("user", credentials),
            "Basic dXNlcjpzMyBjcjN0",
        ),
        (
            |credentials| AuthLayer::header(HeaderName::from_static("x-api-key"), credentials),
            "s3 cr3t",
        ),
        (|credentials| AuthLayer::query("key", credentials), "key=s3%20cr3t"),
        (
            |credentials| {
                AuthLayer::signed(credentials, |uri, secret| {
                    Ok(format!("{uri}?signature={}", secret.len()).parse()?)
                })
            },
            "signature=7",
        ),
        (
            |credentials| AuthLayer::subprotocol("bearer.", credentials),
            "chat, bearer.czMgY3IzdA",
        ),
    ];
    for (layer, expected) in cases {
        let server = Server::start(expected).await;
        let mut session = session(&server.url, layer(Credentials::fixed("s3 cr3t")))
            .await
            .unwrap();
        assert_eq!(up(&mut session).await, 1);
        assert_eq!(server.shown(), [expected]);
    }
}

#[tokio::test]
async fn a_refusal_is_answered_with_another_credential_once_and_then_it_is_final() {
    let server = Server::start("token-2").await;
    let (credentials, fetches) = counted();
    let mut first = session(&server.url, AuthLayer::bearer(credentials.clone()))
        .await
        .unwrap();
    up(&mut first).await;
    assert_eq!(server.shown(), ["Bearer token-1", "Bearer token-2"]);

    server.set_token("none");
    let refused = session(&server.url, AuthLayer::bearer(credentials)).await.map(drop);
    let error = refused.unwrap_err();
    let failure = find::<Failure>(&*error).unwrap();
    assert_eq!((failure.status(), failure.kind()), (Some(401), FailureKind::Auth));
    assert_eq!(server.shown()[2..], ["Bearer token-2", "Bearer token-3"]);
    assert_eq!(fetches.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_close_with_4401_is_answered_with_another_credential() {
    let server = Server::start("token-").await;
    let (credentials, _) = counted();
    let mut session = session(&server.url, AuthLayer::bearer(credentials)).await.unwrap();
    up(&mut session).await;
    server.close(4401);
    assert_eq!(up(&mut session).await, 2);
    // Any other reason is none.
    server.close(1001);
    assert_eq!(up(&mut session).await, 3);
    assert_eq!(server.shown(), ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
}

/// A protocol with codes of its own: reconnect and auth have the same table.
#[tokio::test]
async fn a_close_that_the_table_takes_for_a_refusal_is_answered_with_another_credential() {
    let table = DispositionTable::default().on_close(4100..=4100, Disposition::RefreshCredentials);
    let server = Server::start("token-").await;
    let (credentials, _) = counted();
    let auth = AuthLayer::bearer(credentials.dispositions(table.clone()));
    let mut session = session_by(table, &server.url, auth).await.unwrap();
    up(&mut session).await;
    server.close(4100);
    assert_eq!(up(&mut session).await, 2);
    assert_eq!(server.shown(), ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn many_sessions_fetch_once_and_refuse_once() {
    let server = Server::start("token-").await;
    let (credentials, fetches) = counted();
    let connecting = (0..20).map(|_| session(&server.url, AuthLayer::bearer(credentials.clone())));
    let mut sessions: Vec<_> = join_all(connecting).await.into_iter().map(Result::unwrap).collect();
    join_all(sessions.iter_mut().map(up)).await;
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    server.close(4401);
    join_all(sessions.iter_mut().map(up)).await;
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_secret_stays_on_this_machine_unless_it_is_encrypted() {
    let auth = AuthLayer::bearer(Credentials::fixed("hunter2"));
    // Nothing is dialled: the connector would say so.
    let dialled = tower::service_fn(|_: http::Uri| async { panic!("it is dialled") as Result<NoStream, BoxError> });
    let dial = auth.layer(TransportLayer::new().layer(dialled));
    let error = within(dial.oneshot(request("ws://example.com/"))).await.unwrap_err();
    assert!(matches!(find::<SchemeError>(&*error), Some(SchemeError::Plaintext)));
    let failure = find::<Failure>(&*error).unwrap();
    assert_eq!(failure.disposition(), Disposition::Final);
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

/// A byte stream that never is.
type NoStream = hyper_util::rt::TokioIo<tokio::io::DuplexStream>;

#[tokio::test]
async fn a_provider_that_hangs_fails_the_dial_in_time_and_is_not_waited_for_again() {
    let credentials = Credentials::new(std::future::pending).deadline(Duration::from_millis(200));
    let auth = AuthLayer::bearer(credentials.clone());
    let dial = auth.layer(TransportLayer::new().layer(tcp_connector()));
    let error = within(dial.oneshot(request("ws://127.0.0.1:9/"))).await.unwrap_err();
    let failure = find::<Failure>(&*error).unwrap();
    assert_eq!(
        (failure.kind(), failure.disposition()),
        (FailureKind::Auth, Disposition::Backoff)
    );
    // At once.
    let again = credentials.get_for("ws://127.0.0.1:9").now_or_never();
    let again = again.expect("nobody is asked again so soon");
    assert!(again.unwrap_err().retry_after().is_some());
}

#[tokio::test]
async fn whoever_gives_up_does_not_take_the_fetch_along() {
    let (gate, open) = tokio::sync::oneshot::channel::<()>();
    let open = std::sync::Mutex::new(Some(open));
    let credentials = Credentials::new(move || {
        let open = open.lock().unwrap().take();
        async move {
            let _ = open.expect("it is fetched once").await;
            Ok(Credential::new("late"))
        }
    });
    assert!(credentials.get().now_or_never().is_none());
    let waiting = tokio::spawn({
        let credentials = credentials.clone();
        async move { credentials.get().await.map(|shown| shown.secret().to_owned()) }
    });
    tokio::task::yield_now().await;
    gate.send(()).unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap(), "late");
}

/// It has failed: who waits hears of it, and who comes later is not kept waiting either.
#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_leaves_nobody_waiting() {
    for before_its_future in [true, false] {
        let first = AtomicBool::new(true);
        let credentials = Credentials::new(move || {
            let first = first.swap(false, Ordering::SeqCst);
            assert!(!(first && before_its_future), "the provider has a bug");
            async move {
                assert!(!first, "the provider has a bug");
                Ok(Credential::new("second"))
            }
        });
        let failures = join_all((0..3).map(|_| credentials.get())).await;
        for failure in failures.into_iter().map(Result::unwrap_err) {
            assert_eq!(
                (failure.kind(), failure.disposition()),
                (FailureKind::Auth, Disposition::Backoff)
            );
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(within(credentials.get()).await.unwrap().secret(), "second");
    }
}

#[test]
fn a_runtime_that_ends_in_a_fetch_leaves_nobody_waiting() {
    let started = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    for polls in 0..2 {
        let first = AtomicBool::new(true);
        let credentials = Credentials::new(move || {
            let first = first.swap(false, Ordering::SeqCst);
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok(Credential::new("second"))
            }
        });
        let one = started();
        one.block_on(async {
            assert!(credentials.get().now_or_never().is_none());
            // The fetch has begun, or has not.
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        });
        drop(one);
        let other = started();
        other.block_on(async {
            let failure = within(credentials.get()).await.unwrap_err();
            assert!(failure.to_string().contains("ended without a word"), "{failure}");
        });
    }
}

/// What one server refuses the other is still shown.
#[tokio::test]
async fn each_endpoint_has_a_credential_of_its_own() {
    let (one, other) = (Server::start("token-").await, Server::start("none").await);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let credentials = Credentials::per_endpoint({
        let asked = asked.clone();
        move |endpoint| {
            asked.lock().unwrap().push(endpoint.clone());
            std::future::ready(Ok(Credential::new(format!("token-for-{endpoint}"))))
        }
    });
    let dial = |server: &Server| {
        let auth = AuthLayer::bearer(credentials.clone());
        let dial = auth.layer(TransportLayer::new().layer(tcp_connector()));
        within(dial.oneshot(request(&server.url)))
    };
    let endpoint = |server: &Server| server.url.trim_end_matches("/path").to_owned();
    dial(&one).await.unwrap();
    // Twice: shown no more there.
    for _ in 0..2 {
        let failure = Failure::of(dial(&other).await.map(drop).unwrap_err());
        assert_eq!(failure.status(), Some(401));
    }
    dial(&one).await.unwrap();
    let shown = |server: &Server| format!("Bearer token-for-{}", endpoint(server));
    assert_eq!(one.shown(), [shown(&one), shown(&one)]);
    assert_eq!(other.shown(), [shown(&other), shown(&other)]);
    assert_eq!(
        *asked.lock().unwrap(),
        [endpoint(&one), endpoint(&other), endpoint(&other)]
    );
}

#[tokio::test]
async fn an_address_that_is_signed_into_plaintext_is_not_dialled() {
    let auth = AuthLayer::signed(Credentials::fixed("hunter2"), |_, secret| {
        Ok(format!("ws://elsewhere.example/?signature={secret}").parse()?)
    });
    let dialled = tower::service_fn(|_: http::Uri| async { panic!("it is dialled") as Result<NoStream, BoxError> });
    let dial = auth.layer(TransportLayer::new().layer(dialled));
    let error = within(dial.oneshot(request("wss://example.com/"))).await.unwrap_err();
    assert!(matches!(find::<SchemeError>(&*error), Some(SchemeError::Plaintext)));
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

/// A proxy's loopback is another machine's: neither it nor anybody beyond it is shown a secret.
#[tokio::test]
async fn this_machine_through_a_proxy_is_another_one() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxies = Proxies::all(&format!("http://{}", proxy.local_addr().unwrap())).unwrap();
    for profile in [Profile::operator(), Profile::operator().allow_plaintext()] {
        for url in ["ws://127.0.0.1:9/", "ws://localhost.:9/"] {
            let connector = Connect::new()
                .guard(profile.clone())
                .through(proxies.clone().loopback(true));
            let auth = AuthLayer::bearer(Credentials::fixed("hunter2"));
            let dial = auth.layer(TransportLayer::new().layer(connector));
            let error = within(dial.oneshot(request(url))).await.map(drop).unwrap_err();
            assert_eq!(Failure::of(error).kind(), FailureKind::Policy, "{url}");
        }
    }
    assert!(proxy.accept().now_or_never().is_none(), "nobody was there");
}

#[tokio::test]
async fn a_token_that_a_server_repeats_is_in_no_error() {
    let server = Server::start("bearer.").await;
    server.repeat_subprotocols();
    let auth = AuthLayer::subprotocol("bearer.", Credentials::fixed("s3cr3t-token"));
    let dial = auth.layer(TransportLayer::new().subprotocols(["chat"]).layer(tcp_connector()));
    let error = within(dial.oneshot(request(&server.url))).await.map(drop).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("[cut]"), "{shown}");
    assert!(!shown.contains("czNjcjN0LXRva2Vu"), "{shown}");
}
