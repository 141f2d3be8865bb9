//! The guard, at real sockets: what is refused is not even touched.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::{
    collections::VecDeque,
    future::{Pending, Ready, pending, ready},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use futures_util::{FutureExt, future::Either};
use http::{Request, Uri};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use support::{bounded, get, shown};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::{Layer, Service, ServiceExt};
use tower_ws_connector::{
    Connect, WsUrl,
    guard::{Checked, Guard, GuardLayer, Profile},
    tcp_connector, unguarded_tcp_connector,
};
use tower_ws_core::{BoxError, Disposition, Failure, FailureKind};
use tower_ws_transport::TransportLayer;

const SECRET: &str = "/secret?secret";

/// A listener that nobody is to come to.
struct Watch(TcpListener);

impl Watch {
    async fn at(ip: &str, port: u16) -> io::Result<Self> {
        TcpListener::bind((ip, port)).await.map(Self)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Connections are accepted in the order in which they came: if the first is this one, there
    /// was none before.
    async fn is_untouched(&self) {
        let me = TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap();
        let (_, first) = bounded(self.0.accept()).await.unwrap();
        assert_eq!(first, me.local_addr().unwrap(), "somebody was here before");
    }

    async fn is_touched(&self) {
        bounded(self.0.accept()).await.unwrap();
    }
}

/// The same port at an address that the tests allow and at one that they refuse. Both are of this
/// machine.
async fn pair() -> (Watch, Watch) {
    for _ in 0..100 {
        let allowed = Watch::at("127.0.0.1", 0).await.unwrap();
        if let Ok(refused) = Watch::at("127.0.0.2", allowed.port()).await {
            return (allowed, refused);
        }
    }
    panic!("no port is free at both addresses");
}

/// 127.0.0.1 stands for the internet here.
fn profile() -> Profile {
    Profile::untrusted()
        .allow_network(IpAddr::from([127, 0, 0, 1]))
        .allow_any_port()
}

#[derive(Clone)]
enum Answer {
    Found(Vec<IpAddr>),
    Failed(&'static str),
    Never,
}

fn found(ips: &[&str]) -> Answer {
    Answer::Found(ips.iter().map(|ip| ip.parse().unwrap()).collect())
}

/// A resolver that gives one answer after the other, then panics.
#[derive(Clone)]
struct Scripted(Arc<Mutex<VecDeque<Answer>>>);

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }

    /// A connector whose `https` is the TCP part alone.
    fn guarded(&self, profile: Profile) -> Guard<HttpConnector<Checked<Self>>> {
        Guard::new(profile, self.clone(), |resolver| {
            let mut tcp = unguarded_tcp_connector(resolver);
            tcp.enforce_http(false);
            tcp
        })
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Service<Name> for Scripted {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Either<Ready<io::Result<Self::Response>>, Pending<io::Result<Self::Response>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        let answer = self.0.lock().unwrap().pop_front().expect("nobody asks once more");
        Either::Left(ready(match answer {
            Answer::Found(ips) => Ok(ips.into_iter().map(|ip| (ip, 0).into()).collect::<Vec<_>>().into_iter()),
            Answer::Failed(why) => Err(io::Error::other(why)),
            Answer::Never => return Either::Right(pending()),
        }))
    }
}

async fn connect<C>(connector: C, url: &str) -> Result<C::Response, Failure>
where
    C: Service<Uri, Error = BoxError>,
{
    bounded(connector.oneshot(url.parse().unwrap())).await.map_err(|error| {
        assert!(!shown(&*error).contains("secret"), "{error:?}");
        Failure::of(error)
    })
}

#[track_caller]
fn assert_policy<T>(result: Result<T, Failure>, says: &str) {
    let Err(failure) = result else { panic!("it was dialled") };
    assert_eq!(failure.kind(), FailureKind::Policy, "{failure:?}");
    assert_eq!(failure.disposition(), Disposition::Final);
    assert!(failure.to_string().contains(says), "{failure}");
}

#[tokio::test]
async fn this_machine_is_not_had_by_any_spelling() {
    let watch = Watch::at("127.0.0.1", 0).await.unwrap();
    // Where IPv6 is there, it is watched as well.
    let watch6 = Watch::at("::1", watch.port()).await.ok();
    let strict = Profile::untrusted().allow_any_port().allow_plaintext();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "0X7F.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "0x0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:FFFF:7F00:0001]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "localhost",
        "LocalHost.",
        "a.localhost",
    ] {
        let url = format!("ws://{host}:{}{SECRET}", watch.port());
        let transport = TransportLayer::new().layer(Connect::new().guard(strict.clone()).tcp());
        let error = bounded(transport.oneshot(get(&url))).await.map(drop).unwrap_err();
        assert!(!shown(&error).contains("secret"), "{error:?}");
        assert_policy::<()>(Err(Failure::of(error)), "");

        // The guard alone, without the layers above it.
        let url = format!("http://{host}:{}{SECRET}", watch.port());
        assert_policy(connect(Connect::new().guard(strict.clone()).tcp(), &url).await, "");
    }
    watch.is_untouched().await;
    if let Some(watch) = watch6 {
        watch.is_untouched().await;
    }
}

#[tokio::test]
async fn what_no_url_may_hold_is_refused_before_the_guard() {
    let watch = Watch::at("127.0.0.1", 0).await.unwrap();
    for host in [
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "%31%32%37.0.0.1",
        "[::1%25lo]",
        "a@127.0.0.1",
        "a\\@127.0.0.1",
        "127.0.0.1\t",
    ] {
        let url = format!("ws://{host}:{}/", watch.port());
        assert!(WsUrl::parse(&url).is_err(), "{url}");
        if let Ok(request) = Request::get(&url).body(()) {
            let transport = TransportLayer::new().layer(tcp_connector());
            assert!(bounded(transport.oneshot(request)).await.is_err(), "{url}");
        }
    }
    watch.is_untouched().await;
}

#[tokio::test]
async fn by_default_this_machine_is_allowed_and_no_address_means_none() {
    let watch = Watch::at("127.0.0.1", 0).await.unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        connect(tcp_connector(), &format!("http://{host}:{}/", watch.port()))
            .await
            .unwrap();
        watch.is_touched().await;
    }
    // Most systems take these for this machine, too.
    for host in ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"] {
        let url = format!("http://{host}:{}/", watch.port());
        assert_policy(connect(tcp_connector(), &url).await, "unspecified");
    }
    watch.is_untouched().await;
}

#[tokio::test]
async fn a_name_that_changes_its_address_between_two_dials() {
    let (allowed, refused) = pair().await;
    let resolver = Scripted::new([found(&["127.0.0.1"]), found(&["127.0.0.2"]), found(&["127.0.0.1"])]);
    let url = format!("https://rebind.example:{}{SECRET}", allowed.port());

    connect(resolver.guarded(profile()), &url).await.unwrap();
    allowed.is_touched().await;
    assert_policy(
        connect(resolver.guarded(profile()), &url).await,
        "rebind.example at 127.0.0.2: a loopback address",
    );
    refused.is_untouched().await;
    // One lookup per dial, and none is remembered.
    connect(resolver.guarded(profile()), &url).await.unwrap();
    allowed.is_touched().await;
    assert_eq!(resolver.left(), 0);
}

#[tokio::test]
async fn of_a_mix_the_allowed_ones_are_dialled() {
    let (allowed, refused) = pair().await;
    let url = format!("https://mix.example:{}{SECRET}", allowed.port());
    for answer in [
        found(&["127.0.0.2", "127.0.0.1"]),
        found(&["127.0.0.1", "127.0.0.2"]),
        found(&["::ffff:127.0.0.2", "169.254.169.254", "127.0.0.1", "::1"]),
    ] {
        connect(Scripted::new([answer]).guarded(profile()), &url).await.unwrap();
        allowed.is_touched().await;
    }
    for answer in [
        found(&["127.0.0.2"]),
        found(&["127.0.0.2", "::1", "10.0.0.1"]),
        found(&["::ffff:127.0.0.2"]),
        found(&["64:ff9b::7f00:2", "2002:7f00:2::", "::7f00:2"]),
    ] {
        assert_policy(
            connect(Scripted::new([answer]).guarded(profile()), &url).await,
            "mix.example at ",
        );
    }
    refused.is_untouched().await;
}

#[tokio::test]
async fn the_allowed_one_does_not_fall_back_to_a_refused_one() {
    let refused = Watch::at("127.0.0.2", 0).await.unwrap();
    // Bound and not listening: whoever dials it is turned away.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(SocketAddr::from(([127, 0, 0, 1], refused.port()))).unwrap();
    let resolver = Scripted::new([found(&["127.0.0.1", "127.0.0.2"])]);
    let url = format!("https://mix.example:{}{SECRET}", refused.port());

    let failure = connect(resolver.guarded(profile()), &url).await.unwrap_err();
    assert_ne!(failure.kind(), FailureKind::Policy, "{failure:?}");
    refused.is_untouched().await;
}

#[tokio::test]
async fn a_network_may_be_refused_to_the_operator() {
    let (allowed, refused) = pair().await;
    let profile = Profile::operator().refuse_network(IpAddr::from([127, 0, 0, 2]));
    for host in ["127.0.0.2", "[::ffff:127.0.0.2]"] {
        let url = format!("http://{host}:{}/", refused.port());
        assert_policy(
            connect(Connect::new().guard(profile.clone()).tcp(), &url).await,
            "told to refuse",
        );
    }
    let url = format!("http://127.0.0.1:{}/", allowed.port());
    connect(Connect::new().guard(profile).tcp(), &url).await.unwrap();
    refused.is_untouched().await;
}

#[tokio::test]
async fn plaintext_goes_to_this_machine_only() {
    let watch = Watch::at("127.0.0.1", 0).await.unwrap();
    let url = format!("http://plain.example:{}{SECRET}", watch.port());
    let guarded = |answer| Scripted::new([answer]).guarded(Profile::operator());

    connect(guarded(found(&["192.0.2.1", "127.0.0.1"])), &url)
        .await
        .unwrap();
    watch.is_touched().await;
    for ips in [&["192.0.2.1"][..], &["192.0.2.1", "10.0.0.1", "64:ff9b::7f00:1"]] {
        assert_policy(connect(guarded(found(ips)), &url).await, "use `wss`");
    }
    assert_policy(connect(tcp_connector(), "http://192.0.2.1/").await, "use `wss`");
    // By permission it goes anywhere; this machine is all that a test may reach.
    let anywhere = profile().allow_plaintext();
    connect(Scripted::new([found(&["127.0.0.1"])]).guarded(anywhere), &url)
        .await
        .unwrap();
    watch.is_touched().await;
    // But what is called this machine is this machine, with a dot at its end as well.
    for name in ["localhost", "localhost.", "a.localhost"] {
        let url = format!("http://{name}:{}{SECRET}", watch.port());
        let guarded = |answer| Scripted::new([answer]).guarded(Profile::operator().allow_plaintext());
        assert_policy(connect(guarded(found(&["192.0.2.1"])), &url).await, "use `wss`");
        connect(guarded(found(&["192.0.2.1", "127.0.0.1"])), &url)
            .await
            .unwrap();
        watch.is_touched().await;
    }
    let url = format!("http://localhost.:{}/", watch.port());
    connect(tcp_connector(), &url).await.unwrap();
    watch.is_touched().await;
    let elsewhere = Connect::new().guard(Profile::operator().allow_plaintext());
    let elsewhere = elsewhere.address("192.0.2.1:80").unwrap().tcp();
    assert_policy(connect(elsewhere, &url).await, "use `wss`");
    let url = format!("http://plain.example:{}{SECRET}", watch.port());
    // The untrusted one does not even ask for the name.
    let resolver = Scripted::new([]);
    assert_policy(connect(resolver.guarded(profile()), &url).await, "use `wss`");
    watch.is_untouched().await;
}

#[tokio::test]
async fn ports_and_names_are_judged_before_a_lookup() {
    let resolver = Scripted::new([]);
    for (url, says) in [
        ("https://a.example:22/", "a.example:22: not a standard port"),
        ("https://8.8.8.8:22/", "8.8.8.8:22: not a standard port"),
        ("https://intranet/", "not the name of a host on the internet"),
        ("https://metadata.google.internal/", "not the name of a host"),
        ("ftp://a.example/", "neither `ws` nor `wss`"),
    ] {
        assert_policy(connect(resolver.guarded(Profile::untrusted()), url).await, says);
    }
}

#[tokio::test]
async fn an_allowed_host_may_be_anywhere() {
    let (_, refused) = pair().await;
    let profile = Profile::untrusted()
        .allow_host("mine.example")
        .allow_port(refused.port());
    let guarded = || Scripted::new([found(&["127.0.0.2"])]).guarded(profile.clone());

    let other = format!("https://other.example:{}/", refused.port());
    assert_policy(connect(guarded(), &other).await, "`Profile::allow_host`");
    refused.is_untouched().await;
    let mine = format!("https://MINE.example.:{}/", refused.port());
    connect(guarded(), &mine).await.unwrap();
    refused.is_touched().await;
}

#[tokio::test]
async fn a_resolver_that_fails_is_tried_again() {
    let watch = Watch::at("127.0.0.1", 0).await.unwrap();
    let resolver = Scripted::new([
        Answer::Failed("nxdomain"),
        Answer::Failed("servfail"),
        found(&[]),
        found(&["127.0.0.1"]),
    ]);
    let url = format!("https://late.example:{}{SECRET}", watch.port());
    for says in ["could not resolve", "could not resolve", "has no address"] {
        let failure = connect(resolver.guarded(profile()), &url).await.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Dns, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Backoff);
        assert!(failure.to_string().contains(says), "{failure}");
        assert!(failure.to_string().contains("late.example"), "{failure}");
    }
    connect(resolver.guarded(profile()), &url).await.unwrap();
    watch.is_touched().await;
}

#[tokio::test]
async fn a_resolver_that_is_silent_ends_with_the_dial() {
    let connector = Scripted::new([Answer::Never]).guarded(Profile::operator());
    let transport = TransportLayer::new()
        .timeout(Duration::from_millis(50))
        .layer(connector);
    let error = bounded(transport.oneshot(get("ws://slow.example/")))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(Failure::of(error).kind(), FailureKind::Timeout);
}

#[tokio::test]
async fn unguarded_is_unguarded() {
    let (_, refused) = pair().await;
    let resolver = Scripted::new([found(&["127.0.0.2"])]);
    let url = format!("http://metadata.google.internal:{}/", refused.port());
    connect(resolver.guarded(Profile::unguarded()), &url).await.unwrap();
    refused.is_touched().await;
}

/// Something that resolves far from here: it keeps what it was asked for.
#[derive(Clone, Default)]
struct Far(Arc<Mutex<Vec<Uri>>>);

impl Service<Uri> for Far {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.0.lock().unwrap().push(uri);
        ready(Ok(()))
    }
}

#[tokio::test]
async fn through_a_proxy_the_url_is_judged() {
    let far = Far::default();
    let dial = |profile: Profile, url: &'static str| {
        let guarded = GuardLayer::new(profile).layer(far.clone());
        async move { connect(guarded, url).await }.boxed()
    };
    for url in [
        "https://10.0.0.1/",
        "https://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
        "https://metadata.google.internal/",
        "https://a.example:22/",
        "http://a.example/",
    ] {
        assert_policy(dial(Profile::untrusted(), url).await, "");
    }
    for url in [
        "http://a.example/",
        "https://169.254.169.254/",
        "https://metadata.google.internal/",
        "https://metadata/",
        "http://127.0.0.1/",
        "http://localhost/",
    ] {
        assert_policy(dial(Profile::operator(), url).await, "");
    }
    // There it is the proxy's machine, and whoever shows a secret to this one would show it there.
    for url in ["http://127.0.0.1/", "http://[::1]/", "http://localhost./"] {
        assert_policy(dial(Profile::operator().allow_plaintext(), url).await, "");
    }
    assert!(far.0.lock().unwrap().is_empty(), "the proxy was not asked");

    dial(Profile::untrusted(), "https://a.example/").await.unwrap();
    dial(Profile::operator(), "https://10.0.0.1/").await.unwrap();
    dial(Profile::operator().allow_plaintext(), "http://a.example/")
        .await
        .unwrap();
    assert_eq!(far.0.lock().unwrap().len(), 3);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn the_connector_with_tls_is_guarded_too() {
    use tower_ws_connector::connector;
    use tower_ws_test_kit::{Authority, Script, Server};

    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let dial = |connector, url: String| async move {
        let transport = TransportLayer::new().layer(connector);
        bounded(transport.oneshot(get(&url)))
            .await
            .map(drop)
            .map_err(Failure::of)
    };
    assert_policy(
        dial(Connect::new().guard(Profile::untrusted()).connector(), server.url()).await,
        "loopback",
    );
    let strict = Connect::new()
        .guard(Profile::untrusted())
        .tls(authority.client().unwrap())
        .connector();
    assert_policy(dial(strict, server.url()).await, "loopback");
    assert_policy(dial(connector(), "wss://169.254.169.254/".into()).await, "link-local");
    assert_policy(dial(connector(), "ws://10.0.0.1/".into()).await, "use `wss`");
    assert_eq!(server.dials(), 0);

    dial(
        Connect::new().tls(authority.client().unwrap()).connector(),
        server.url(),
    )
    .await
    .unwrap();
    let allowed = profile();
    dial(
        Connect::new()
            .guard(allowed)
            .tls(authority.client().unwrap())
            .connector(),
        server.url(),
    )
    .await
    .unwrap();
    assert_eq!(server.dials(), 2);
}
