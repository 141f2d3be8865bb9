//! Secrets are planted in every place that holds some, and must show up in none that is shown: our
//! logs down to `TRACE`, the `Debug` of whatever is public, the texts of errors and of their
//! sources, the metrics as an exporter renders them.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{
    error::Error,
    fmt::Debug,
    io,
    sync::{Arc, Mutex},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use support::{SECOND, bounded, builder, eager, impatient, millis};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_ws::{
    CallError, Client, Inbound, Incoming, Message, Request,
    auth::{self, AuthLayer, Credentials, LoginLayer},
    client::ClientLayer,
    connector::{
        Connect, WsUrl, connector,
        guard::Profile,
        proxy::Proxies,
        tls::{Pin, Tls},
    },
    core::{Event, Failure, FailureKind, OpeningContext, Outgoing},
    reconnect::{Handle, ReconnectLayer},
    transport::{JsonText, Limits, TransportLayer, UpgradeError},
};
use tower_ws_test_kit::{Cut, Script, Server};
use tracing::{Level, Metadata, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Stands in each place; what follows says which.
const SECRET: &str = "hunter2";

/// The same in base64, wherever in the text it begins.
const ENCODED: [&str; 3] = ["aHVudGVyM", "h1bnRlcj", "odW50ZXIy"];

fn secret(place: &str) -> String {
    format!("{SECRET}-{place}")
}

/// What was shown.
#[derive(Clone, Default)]
struct IssuedCredential(Arc<Mutex<Vec<u8>>>);

impl IssuedCredential {
    /// From now on our crates' traces go here, those of this thread.
    fn trace(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(Ours(self.clone()))
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self, text: impl AsRef<str>) {
        self.0.lock().unwrap().extend(text.as_ref().bytes().chain([b'\n']));
    }

    fn debug(&self, value: impl Debug) {
        self.text(format!("{value:?}\n{value:#?}"));
    }

    fn error(&self, error: &(dyn Error + 'static)) {
        self.debug(error);
        let mut next = Some(error);
        while let Some(error) = next {
            self.text(error.to_string());
            self.debug(error);
            is_well_put(error);
            next = error.source();
        }
    }

    fn check(&self) {
        let shown = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(shown.contains("tower_ws"), "nothing was logged");
        for line in shown.lines() {
            assert!(!line.contains(SECRET), "{line}");
            assert!(!ENCODED.iter().any(|encoded| line.contains(encoded)), "{line}");
        }
    }
}

/// Says what happened, in a text of its own: not that of its source over again.
fn is_well_put(error: &(dyn Error + 'static)) {
    // Others' errors have a style of their own.
    if !(error.is::<Failure>() || error.is::<tower_ws::ConnectError>() || error.is::<CallError>()) {
        return;
    }
    let text = error.to_string();
    let first = text.chars().next().expect("it says something");
    assert!(!first.is_uppercase() && !text.ends_with('.'), "{text}");
    assert!(!text.contains(['\r', '\n', '\u{1b}']), "{text:?}");
    // The first line of what a program prints: it names the cause, though the sources do so too.
    if error.is::<tower_ws::ConnectError>() {
        return;
    }
    if let Some(source) = error.source() {
        assert!(!text.contains(&source.to_string()), "`{text}` repeats its source");
    }
}

/// Writes what comes from our crates.
struct Ours(IssuedCredential);

impl<'a> MakeWriter<'a> for Ours {
    type Writer = Box<dyn io::Write>;

    fn make_writer(&'a self) -> Self::Writer {
        Box::new(self.0.clone())
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        // The server of the test kit is no part of the client.
        let ours = meta.target().starts_with("tower_ws") && !meta.target().starts_with("tower_ws_test_kit");
        if ours { self.make_writer() } else { Box::new(io::sink()) }
    }
}

impl io::Write for IssuedCredential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a server answers that repeats what it was sent.
fn repeated() -> String {
    format!(
        "Cannot GET /{}?token={} with Bearer {}, {}, {}",
        secret("path"),
        secret("query"),
        secret("authorization"),
        secret("header"),
        secret("subprotocol")
    )
}

fn address(server: &Server) -> String {
    format!("{}{}?token={}", server.url(), secret("path"), secret("query"))
}

/// A builder that holds secrets.
fn loaded(url: &str) -> tower_ws::Builder {
    builder(url)
        .header("authorization", &format!("Bearer {}", secret("authorization")))
        .header("x-key", &secret("header"))
        .transport(TransportLayer::new().subprotocols([secret("subprotocol")]))
}

async fn up(inbound: &mut Inbound, shown: &IssuedCredential) -> Option<Handle> {
    loop {
        let item = bounded(inbound.next()).await?;
        shown.debug(&item);
        if let Incoming::Up(up) = item {
            return up.extensions.get().cloned();
        }
    }
}

fn show_end(ended: Result<impl Debug, CallError>, shown: &IssuedCredential) {
    match ended {
        Ok(reply) => shown.debug(reply),
        Err(error) => shown.error(&error),
    }
}

/// Says everything that a session can say, through an outage.
#[tokio::test]
async fn a_session_with_all_that_happens_in_one() {
    let (shown, server) = (
        IssuedCredential::default(),
        Server::start(Script::json_rpc()).await.unwrap(),
    );
    let _guard = shown.trace();
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let layer = ClientLayer::new(JsonText).timeout(5 * SECOND).on_cancel(|id| {
        Request::new("cancel")
            .params(&json!({ "id": id, "because": secret("cancel") }))
            .unwrap()
    });
    let builder = loaded(&address(&server)).client(layer.clone());
    shown.debug(&builder);
    shown.debug(&layer);
    let (client, mut inbound) = bounded(builder.connect()).await.unwrap();
    shown.debug((&client, &inbound));
    let handle = up(&mut inbound, &shown).await.unwrap();
    let (mut state, mut transitions) = (handle.state(), handle.transitions());

    let request = Request::new("call")
        .params(&json!({ "password": secret("params") }))
        .unwrap();
    shown.debug(&request);
    let reply = bounded(client.send(request.clone())).await.unwrap();
    shown.debug(&reply);
    assert!(reply.result::<Value>().unwrap().to_string().contains(SECRET));
    // An answer of another type than expected, whose parser would quote it.
    show_end(reply.result::<u8>(), &shown);
    show_end(reply.result::<Vec<u8>>(), &shown);
    show_end(
        bounded(client.request::<_, u8>("call", &secret("params"))).await,
        &shown,
    );

    for said in [
        json!({ "jsonrpc": "2.0", "method": "told", "params": [secret("pushed")] }).to_string(),
        json!({ "jsonrpc": "2.0", "id": secret("id"), "method": "asked", "params": [secret("asked")] }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 77, "result": secret("stray") }).to_string(),
        json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 1, "message": "told", "data": secret("stray") } })
            .to_string(),
        json!({ "jsonrpc": "1.0", "secret": secret("version") }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "method": [secret("method")] }).to_string(),
        json!([secret("batch")]).to_string(),
        format!("{{ \"jsonrpc\": {} nonsense", secret("nonsense")),
        secret("plain"),
    ] {
        server.push(Message::text(said));
    }
    server.push(Message::binary(secret("binary")));
    for _ in 0..2 {
        let item = bounded(inbound.next()).await.unwrap();
        shown.debug(&item);
        match item {
            Incoming::Notification(said) => show_end(said.params::<u8>().map_err(CallError::from), &shown),
            Incoming::Request(asked) => {
                show_end(asked.params::<u8>().map_err(CallError::from), &shown);
                asked.respond(&secret("answer")).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    // Under way when the connection is lost, waiting during an outage, given up, too large.
    server.freeze();
    let under_way = client.send(request.clone());
    let lost = async {
        tokio::time::sleep(millis(50)).await;
        server.refuse();
        server.cut(Cut::Rst);
    };
    let (ended, ()) = tokio::join!(bounded(under_way), lost);
    assert!(matches!(ended, Err(CallError::Interrupted(_))), "{ended:?}");
    show_end(ended, &shown);
    server.thaw();
    let waiting = request.clone().timeout(millis(50));
    show_end(bounded(client.send(waiting.clone())).await, &shown);
    client.notify(waiting).await.unwrap();
    let mut ready = client.clone();
    let abandoned = ready.ready().await.unwrap().call(request.clone());
    shown.debug(&abandoned);
    drop(abandoned);
    tokio::time::sleep(millis(100)).await;
    server.listen().unwrap();
    assert!(up(&mut inbound, &shown).await.is_some());
    let large = Request::new("large").params(&secret("large").repeat(3 << 20)).unwrap();
    let ended = bounded(client.send(large)).await;
    assert!(matches!(ended, Err(CallError::NotSent(_))), "{ended:?}");
    show_end(ended, &shown);

    // Left behind.
    server.freeze();
    let last = tokio::spawn({
        let client = client.clone();
        async move { client.send(request).await }
    });
    tokio::time::sleep(millis(50)).await;
    shown.debug(bounded(client.close(millis(10))).await);
    show_end(bounded(last).await.unwrap(), &shown);
    show_end(client.request::<_, u8>("late", &secret("params")).await, &shown);
    while let Some(item) = bounded(inbound.next()).await {
        shown.debug(item);
    }
    shown.debug((&handle, &*state.borrow_and_update(), &inbound, &client));
    while let Ok(transition) = transitions.try_recv() {
        shown.debug(transition);
    }
    let asked = &server.requests()[0];
    assert!(asked.path.contains(&secret("query")) && asked.headers["x-key"] == secret("header"));
    assert!(
        server
            .received()
            .iter()
            .any(|received| received.message.as_text().unwrap().contains(&secret("params")))
    );
    let numbers = recorder.handle().render();
    for name in [
        "tower_ws_session_ups_total",
        "tower_ws_ack_settled_total",
        "tower_ws_health_connections",
    ] {
        assert!(numbers.contains(name), "{numbers}");
    }
    shown.text(numbers);
    shown.check();
}

/// Handshakes that fail, each in its way.
#[tokio::test]
async fn every_way_of_failing_to_connect() {
    let (shown, server) = (IssuedCredential::default(), Server::start(Script::Echo).await.unwrap());
    let _guard = shown.trace();
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let cookie = secret("cookie");
    let headers = [
        ("Set-Cookie", &*cookie),
        (
            "Location",
            "ws://hunter2-user:hunter2-password@elsewhere.example/hunter2-path?hunter2-query",
        ),
        // It repeats what it was sent.
        (
            "WWW-Authenticate",
            &format!("Bearer realm=\"{}\"", secret("authorization")),
        ),
    ];
    let status = |code| Script::Status {
        code,
        headers: headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: repeated(),
    };
    for script in [
        status(401),
        status(302),
        status(403),
        status(503),
        Script::NoAccept,
        Script::WrongAccept,
        Script::Garbage,
        Script::NeverReply,
        Script::CutMidReply(Cut::Rst),
        Script::NoSubprotocol,
        Script::ManyHeaders(200),
        Script::EndlessHeader,
    ] {
        server.play(script);
        let mut transport = impatient().timeout(millis(200));
        transport = transport.subprotocols([secret("subprotocol")]);
        let once = loaded(&address(&server))
            .transport(transport)
            .reconnect(eager().fail_fast());
        show(bounded(once.connect()).await, &shown);
    }
    let port = server.addr().port();
    for url in [
        format!("ws://user:{}@127.0.0.1:{port}/", secret("password")),
        format!("ws://{}@127.0.0.1:{port}/", secret("user")),
        format!("ws://127.0.0.1:{port}x/{}", secret("path")),
        format!("http://127.0.0.1:{port}/{}", secret("path")),
        format!("ws://127.0.0.1:{port}/ {}", secret("path")),
        format!("/{}", secret("path")),
        format!("ws://127.0.0.1:1/{}", secret("path")),
        format!("wss://127.0.0.1:{port}/{}", secret("path")),
        // The guard's.
        format!("ws://169.254.169.254/{}?{}", secret("path"), secret("query")),
        format!("ws://0x7f.0.0.1/{}?{}", secret("path"), secret("query")),
        format!("ws://192.0.2.1/{}?{}", secret("path"), secret("query")),
    ] {
        let once = loaded(&url).reconnect(eager().fail_fast());
        show(bounded(once.connect()).await, &shown);
    }
    for (name, value) in [("x-key", format!("{}\n", secret("value"))), ("host", secret("host"))] {
        let once = builder(server.url())
            .header(name, &value)
            .reconnect(ReconnectLayer::new().fail_fast());
        show(bounded(once.connect()).await, &shown);
    }
    let numbers = recorder.handle().render();
    assert!(numbers.contains("tower_ws_connection_dials_total"), "{numbers}");
    shown.text(numbers);
    shown.check();
}

fn show(connected: Result<(Client, Inbound), tower_ws::ConnectError>, shown: &IssuedCredential) {
    let error = connected.expect_err("no session can be had there");
    shown.error(&error);
    shown.error(&error.failure());
}

/// A server that closes with what it was sent.
#[tokio::test]
async fn reasons_for_closing() {
    let (shown, server) = (
        IssuedCredential::default(),
        Server::start(Script::json_rpc()).await.unwrap(),
    );
    let _guard = shown.trace();
    let (client, mut inbound) = bounded(loaded(&address(&server)).connect()).await.unwrap();
    for place in ["authorization", "header", "subprotocol", "path", "query"] {
        assert!(up(&mut inbound, &shown).await.is_some());
        server.close(4000, &format!("nobody knows /{}", secret(place)));
    }
    assert!(up(&mut inbound, &shown).await.is_some());
    assert!(String::from_utf8_lossy(&shown.0.lock().unwrap()).contains("nobody knows /[cut]"));
    bounded(client.close(SECOND)).await;
    shown.check();
}

/// What stands below the transport.
#[tokio::test]
async fn proxies_and_certificates() {
    let (shown, server) = (IssuedCredential::default(), Server::start(Script::Echo).await.unwrap());
    let _guard = shown.trace();
    let at = server.addr();
    for scheme in ["http", "https", "socks5", "socks5h"] {
        // The server is no proxy, and says so in its way.
        let url = format!("{scheme}://{}:{}@{at}", secret("user"), secret("password"));
        let proxies = Proxies::all(&url).unwrap().loopback(true);
        // Otherwise the proxy is not even asked: the server is this machine.
        let connector = Connect::new().guard(Profile::unguarded()).through(proxies.clone());
        shown.debug((&proxies, &connector));
        let once = loaded(&address(&server))
            .transport(impatient())
            .connector(connector)
            .reconnect(eager().fail_fast());
        show(bounded(once.connect()).await, &shown);
    }
    for url in [
        format!("ftp://{}:{}@proxy.example", secret("user"), secret("password")),
        format!("http://{}:{}@proxy.example:x", secret("user"), secret("password")),
        format!("http://{}", secret("no host at all")),
    ] {
        shown.error(&Proxies::all(&url).unwrap_err());
        let name = |wanted: &str| (wanted == "HTTPS_PROXY").then(|| url.clone());
        shown.error(&Proxies::from_vars(name).unwrap_err());
    }
    let pem = |what: &str| format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", secret("pem"));
    shown.error(&Tls::new().roots_pem(pem("CERTIFICATE")).unwrap_err());
    shown.error(
        &Tls::new()
            .client_cert_pem(pem("CERTIFICATE"), pem("PRIVATE KEY"))
            .unwrap_err(),
    );
    shown.error(&secret("pin").parse::<Pin>().unwrap_err());
    let url = format!("wss://{}@far.example/{}", secret("user"), secret("path"));
    shown.error(&WsUrl::parse(&url).unwrap_err());
    shown.debug(WsUrl::parse(&format!("wss://far.example/{}?{}", secret("path"), secret("query"))).unwrap());
    shown.check();
}

/// The layers below the client, by themselves.
#[tokio::test]
async fn services_and_connections() {
    let (shown, server) = (
        IssuedCredential::default(),
        Server::start(Script::Silent).await.unwrap(),
    );
    let _guard = shown.trace();
    let target = http::Request::get(address(&server))
        .header("authorization", secret("authorization"))
        .header("x-key", secret("header"));
    let target = target.body(()).unwrap();

    let transport = TransportLayer::new()
        .subprotocols([secret("subprotocol")])
        .limits(Limits::default().message_out(1 << 20))
        .layer(connector());
    shown.debug(&transport);
    let mut stack = ServiceBuilder::new().layer(eager()).service(transport);
    shown.debug(&stack);
    let dial = stack.ready().await.unwrap().call(target.clone());
    shown.debug(&dial);
    let mut session = Box::pin(bounded(dial).await.unwrap());
    let Some(Event::Up(up)) = bounded(futures_util::StreamExt::next(&mut session)).await else {
        panic!()
    };
    shown.debug((&up, &session));
    let outgoing = Outgoing::new(Message::text(secret("sent")));
    shown.debug((&outgoing, Event::Message(Message::text(secret("received")))));
    let send = futures_util::SinkExt::send(&mut session, outgoing);
    bounded(send).await.unwrap();
    shown.debug(&session);

    server.play(Script::Status {
        code: 418,
        headers: Vec::new(),
        body: repeated(),
    });
    let transport = TransportLayer::new().subprotocols([secret("subprotocol")]);
    let refused = bounded(transport.layer(connector()).oneshot(target)).await.unwrap_err();
    assert!(matches!(refused, UpgradeError::Refused(_)));
    shown.error(&refused);
    let refusal = refused.refusal().unwrap();
    assert_eq!(refusal.body(), &repeated());
    shown.debug(refusal);
    shown.check();
}

/// Credentials by every scheme, taken and refused.
#[tokio::test]
async fn credentials_are_not_shown() {
    let schemes: [fn(Credentials) -> AuthLayer; 6] = [
        AuthLayer::bearer,
        |credentials| AuthLayer::basic("user", credentials),
        |credentials| AuthLayer::header(http::HeaderName::from_static("x-api-key"), credentials),
        |credentials| AuthLayer::query("key", credentials),
        |credentials| AuthLayer::signed(credentials, |uri, secret| Ok(format!("{uri}?s={secret}").parse()?)),
        |credentials| AuthLayer::subprotocol("bearer.", credentials),
    ];
    let shown = IssuedCredential::default();
    let _traced = shown.trace();
    for scheme in schemes {
        let credentials = Credentials::fixed(secret("credential"));
        shown.debug(&credentials);
        shown.debug(credentials.get().await.unwrap());
        let layer = scheme(credentials.clone());
        shown.debug(&layer);
        for script in [Script::json_rpc(), Script::status(401, &[]), Script::status(403, &[])] {
            let server = Server::start(script).await.unwrap();
            let lenient = impatient().subprotocol_mode(tower_ws::transport::Subprotocols::Lenient);
            let connecting = builder(server.url()).transport(lenient).layer(layer.clone());
            shown.debug(&connecting);
            match bounded(connecting.connect()).await {
                Ok((client, mut inbound)) => {
                    shown.debug(&client);
                    up(&mut inbound, &shown).await;
                    bounded(client.close(SECOND)).await;
                }
                Err(error) => shown.error(&error),
            }
        }
    }
    let refused = Credentials::fixed(format!("{SECRET}\r\nx: y"));
    let error = bounded(builder("wss://127.0.0.1:9").layer(AuthLayer::bearer(refused)).connect()).await;
    shown.error(&error.unwrap_err());
    let error = bounded(
        builder("ws://192.0.2.1")
            .layer(AuthLayer::bearer(Credentials::fixed(SECRET)))
            .connect(),
    )
    .await;
    shown.error(&error.unwrap_err());
    let login = LoginLayer::new(
        Credentials::fixed(secret("in-band")),
        |mut talk: OpeningContext<Message>, credential: auth::IssuedCredential| async move {
            talk.send(Message::text(credential.secret())).await?;
            Err::<OpeningContext<Message>, _>(Failure::new(FailureKind::Auth, "the server did not take it"))
        },
    );
    shown.debug(&login);
    let server = Server::start(Script::Echo).await.unwrap();
    let error = bounded(builder(server.url()).layer(login).connect()).await;
    shown.error(&error.unwrap_err());
    shown.check();
}
