//! A credential that expires is renewed before, by the clock that it is given; and none is shown.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderName, Uri};
use tower::{Layer, Service};
use tower_ws_auth::{AuthLayer, Credential, Credentials, IssuedCredential, LoginLayer};
use tower_ws_core::{BoxError, Disposition, Failure, FailureKind, OpeningContext};

const SECOND: Duration = Duration::from_secs(1);
const SECRET: &str = "hunter2";

/// A clock on the wall that the test sets.
#[derive(Clone)]
struct Wall(Arc<Mutex<SystemTime>>);

impl Wall {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::UNIX_EPOCH)))
    }

    fn passes(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_ahead_while_the_old_one_is_shown() {
    let wall = Wall::new();
    let now = {
        let wall = wall.clone();
        move || *wall.0.lock().unwrap()
    };
    let fetches = Arc::new(AtomicU64::new(0));
    let (fetched, clock) = (fetches.clone(), now.clone());
    let credentials = Credentials::new(move || {
        let number = fetched.fetch_add(1, Ordering::SeqCst) + 1;
        let expires = clock() + 100 * SECOND;
        async move { Ok(Credential::new(format!("token-{number}")).expires(expires)) }
    })
    .clock(now)
    .ahead(10 * SECOND);
    let shown = async || credentials.get().await.unwrap().secret().to_owned();

    assert_eq!(shown().await, "token-1");
    wall.passes(84 * SECOND);
    assert_eq!(
        (shown().await, fetches.load(Ordering::SeqCst)),
        ("token-1".to_owned(), 1)
    );
    // From ten seconds on before its last five, in which it is not shown, another is fetched; nobody waits for it.
    wall.passes(2 * SECOND);
    assert_eq!(shown().await, "token-1");
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        (shown().await, fetches.load(Ordering::SeqCst)),
        ("token-2".to_owned(), 2)
    );
    // One that has expired meanwhile is shown to nobody.
    wall.passes(1_000 * SECOND);
    assert_eq!(shown().await, "token-3");
}

#[tokio::test(start_paused = true)]
async fn a_provider_may_say_what_its_failure_means() {
    let own = Failure::new(FailureKind::Policy, "the vault is sealed").with_disposition(Disposition::Final);
    let error = own.clone();
    let sealed = Credentials::new(move || {
        let error = error.clone();
        async move { Err(BoxError::from(error)) }
    });
    let failure = sealed.get().await.unwrap_err();
    assert_eq!(
        (failure.kind(), failure.disposition()),
        (FailureKind::Policy, Disposition::Final)
    );

    let unknown = Credentials::new(|| async { Err(BoxError::from("no answer")) });
    let failure = unknown.get().await.unwrap_err();
    assert_eq!(
        (failure.kind(), failure.disposition()),
        (FailureKind::Auth, Disposition::Backoff)
    );
    assert_eq!(failure.to_string(), "the credential could not be fetched");
}

type Talk = OpeningContext<String>;

#[tokio::test]
async fn no_secret_is_shown() {
    let credentials = || Credentials::fixed(SECRET);
    assert_eq!(format!("{:?}", credentials()), "Credentials { .. }");
    let credential = Credential::new(SECRET).expires(SystemTime::UNIX_EPOCH);
    let shown = format!("{credential:?}");
    assert!(shown.contains("expires") && !shown.contains(SECRET), "{shown}");

    let schemes = [
        (AuthLayer::bearer(credentials()), "bearer"),
        (AuthLayer::basic(SECRET, credentials()), "basic"),
        (
            AuthLayer::header(HeaderName::from_static("x-key"), credentials()),
            "header",
        ),
        (AuthLayer::query("key", credentials()), "query"),
        (
            AuthLayer::signed(credentials(), |uri: &Uri, _: &str| Ok(uri.clone())),
            "signed",
        ),
        (AuthLayer::subprotocol(SECRET, credentials()), "subprotocol"),
    ];
    for (layer, scheme) in schemes {
        let shown = format!("{layer:?}");
        assert_eq!(shown, format!("AuthLayer {{ scheme: {scheme}, .. }}"));
        assert_eq!(layer.credentials().get().await.unwrap().secret(), SECRET);
    }

    let dialogue = |talk: Talk, _: IssuedCredential| async move { Ok::<_, Failure>(talk) };
    let layer = LoginLayer::new(credentials(), dialogue).timeout(3 * SECOND);
    let mut login = layer.layer(tower::service_fn(|()| async {
        Err::<tower_ws_test_kit::ManualConnection<String>, _>(BoxError::from("nobody listens"))
    }));
    let shown = format!("{layer:?} {login:?}");
    assert_eq!(shown, "LoginLayer { timeout: 3s, .. } Login");
    assert!(login.clone().call(()).await.is_err());
    assert!(login.call(()).await.is_err());
}
