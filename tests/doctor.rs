//! What the doctor says of servers that are well, and of those that are not.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../examples/support/mcp_server.rs"]
#[allow(dead_code, reason = "the doctor calls no tool, and restarts nothing")]
mod mcp_server;
mod support;

use std::{future::IntoFuture, io, time::Duration};

use hyper_util::rt::TokioIo;
use mcp_server::McpServer;
use serde_json::{Value, json};
use support::{SECOND, bounded, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_ws::{
    Builder,
    auth::Credentials,
    connector::{Connect, Stage, guard::Profile, proxy::Proxies, tls::Tls},
    doctor::{Details, Fault, Report, State},
    http::Uri,
    mcp::{self, Era, Implementation},
    transport::TransportLayer,
};
use tower_ws_test_kit::{Authority, Cut, Script, Server};

/// With a short limit for the dial.
fn builder(url: impl AsRef<str>) -> Builder {
    tower_ws::builder(url).transport(TransportLayer::new().timeout(SECOND))
}

async fn examine(builder: Builder) -> Report {
    bounded(builder.examine()).await
}

/// The step that fails, whose fault it is, and a word of what is said.
fn assert_fails(report: &Report, step: &str, fault: Fault, word: &str) {
    let failure = report.failure().unwrap_or_else(|| panic!("it is well: {report}"));
    assert_eq!((failure.name, failure.fault), (step, Some(fault)), "{report}");
    assert!(failure.text.contains(word), "{word}: {report}");
    assert!(failure.advice.is_some() && failure.cause.is_some(), "{report}");
}

#[tokio::test]
async fn a_server_that_is_well() {
    let server = Server::start(Script::Echo).await.unwrap();
    let report = examine(builder(server.url())).await;
    assert!(report.is_ok(), "{report}");
    let steps: Vec<_> = report.steps.iter().map(|step| (step.name, step.state)).collect();
    let expected = [
        ("url", State::Ok),
        ("proxy", State::Ok),
        ("guard", State::Ok),
        ("dns", State::Skipped),
        ("tcp", State::Ok),
        ("upgrade", State::Ok),
        ("ping", State::Ok),
        ("close", State::Ok),
    ];
    assert_eq!(steps, expected, "{report}");
    let json: Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["steps"][5]["state"], "ok");
    assert!(json["steps"][5]["took_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(json["steps"][6]["trips_ms"].as_array().unwrap().len(), 3);
    assert!(report.to_string().contains("in order"), "{report}");
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    assert_fails(
        &examine(builder("http://example.com")).await,
        "url",
        Fault::Settings,
        "write `ws`",
    );
    let report = examine(builder("wss://nowhere.invalid/")).await;
    assert_fails(&report, "dns", Fault::Names, "nowhere.invalid");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = examine(builder(format!("ws://{closed}/"))).await;
    assert_fails(&report, "tcp", Fault::Server, "refused");
}

#[tokio::test]
async fn servers_that_refuse() {
    for (script, fault, word) in [
        (Script::status(401, &[]), Fault::Credentials, "401"),
        (Script::status(403, &[]), Fault::Credentials, "403"),
        (Script::status(404, &[]), Fault::Settings, "404"),
        (Script::status(429, &[("retry-after", "30")]), Fault::Server, "429"),
        (Script::status(503, &[]), Fault::Server, "503"),
        (
            Script::status(302, &[("location", "https://example.com/login")]),
            Fault::Settings,
            "302",
        ),
        (Script::status(200, &[]), Fault::Server, "200"),
        (Script::NeverReply, Fault::Server, "within 1s"),
        (Script::WrongAccept, Fault::Server, "accept"),
        (Script::CutBeforeReply(Cut::Rst), Fault::Network, "reset"),
        (Script::Subprotocol("other".into()), Fault::Server, "other"),
    ] {
        let told = format!("{script:?}");
        let server = Server::start(script).await.unwrap();
        let report = examine(builder(server.url())).await;
        println!("{told}\n{report}");
        assert_fails(&report, "upgrade", fault, word);
    }
}

/// What hangs is named, with whose it is.
#[tokio::test]
async fn steps_that_have_no_end() {
    // The system takes connections for it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let through = |proxy: String| {
        let proxies = Proxies::all(&proxy).unwrap().loopback(true);
        Connect::new().guard(Profile::unguarded()).through(proxies)
    };
    let tunnel = builder("wss://server.example/").connector(through(format!("http://{addr}")));
    for (builder, step, fault) in [
        (builder(format!("ws://{addr}/")), "upgrade", Fault::Server),
        (builder(format!("wss://{addr}/")), "tls", Fault::Tls),
        (tunnel, "tunnel", Fault::Proxy),
    ] {
        assert_fails(&examine(builder).await, step, fault, "within 1s");
    }
    // A name that is never found.
    let lost = tower::service_fn(|_: Uri| async {
        let (host, port) = ("server.example".to_owned(), 443);
        Stage::Begun { host, port }.note();
        std::future::pending::<Result<TokioIo<TcpStream>, io::Error>>().await
    });
    let report = examine(builder("wss://server.example/").connector(lost)).await;
    assert_fails(&report, "dns", Fault::Names, "within 1s");
}

#[tokio::test]
async fn which_proxy_is_used() {
    let refuses = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = refuses.local_addr().unwrap();
    let serving = async {
        for status in ["403 Forbidden", "407 Proxy Authentication Required"] {
            let (mut peer, _) = refuses.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = peer.read(&mut request).await.unwrap();
            let answer =
                format!("HTTP/1.1 {status}\r\nproxy-authenticate: Basic realm=\"corp\"\r\ncontent-length: 0\r\n\r\n");
            peer.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let asking = async {
        for word in ["403", "407"] {
            let proxies = Proxies::all(&format!("http://{addr}")).unwrap();
            let through = Connect::new().through(proxies);
            let report = examine(builder("wss://tools.corp.example/").connector(through)).await;
            assert_fails(&report, "tunnel", Fault::Proxy, word);
            let text = format!("through {addr}, by the settings");
            assert!(
                report
                    .steps
                    .iter()
                    .any(|step| step.name == "proxy" && step.text == text),
                "{report}"
            );
        }
    };
    tokio::join!(serving, asking);
}

/// A program need not read the text.
#[tokio::test]
async fn failures_have_a_class() {
    let throttles = Server::start(Script::status(429, &[("retry-after", "30")]))
        .await
        .unwrap();
    let closes = Server::start(Script::close(1008, "go away")).await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, cause) in [
        ("http://example.com".to_owned(), json!({ "kind": "usage" })),
        ("wss://nowhere.invalid/".to_owned(), json!({ "kind": "dns" })),
        (format!("ws://{closed}/"), json!({ "kind": "network" })),
        (
            throttles.url(),
            json!({ "kind": "handshake", "status": 429, "retry_after_ms": 30_000.0 }),
        ),
        (closes.url(), json!({ "kind": "closed", "close_code": 1008 })),
    ] {
        let report = examine(builder(url)).await;
        let failed = serde_json::to_value(report.failure().unwrap()).unwrap();
        assert_eq!(failed["cause"], cause, "{report}");
    }
    let report = examine(builder(throttles.url())).await;
    assert!(report.to_string().contains("left alone for 30 s"), "{report}");
}

#[tokio::test]
async fn certificates_and_crossed_schemes() {
    let authority = Authority::new().unwrap();
    let trusting = |server: &Server| {
        let tls = Tls::new().only_roots_pem(authority.pem()).unwrap();
        builder(server.url()).connector(Connect::new().tls(tls).connector())
    };
    let good = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let report = examine(trusting(&good)).await;
    assert!(report.is_ok(), "{report}");
    let tls = report.steps.iter().find(|step| step.name == "tls").unwrap();
    assert_eq!(tls.state, State::Warning, "a private authority: {report}");
    assert!(
        tls.text.contains("TLS 1.3") && tls.text.contains("no public authority"),
        "{report}"
    );
    let report = examine(builder(good.url())).await;
    assert_fails(&report, "tls", Fault::Tls, "unknown issuer");
    let told = serde_json::to_value(report.failure().unwrap()).unwrap();
    assert_eq!(told["certificates"][0]["is_publicly_issued"], false, "{told}");
    assert!(told["certificates"][0]["pin"].as_str().unwrap().starts_with("sha256/"));
    for (config, word, advice) in [
        (authority.expired().unwrap(), "expired", "have it renewed"),
        (
            authority.not_yet_valid().unwrap(),
            "not valid yet",
            "this machine's clock, which says 2",
        ),
        (authority.wrong_host().unwrap(), "name", "dial a name that it is for"),
        (
            authority.self_signed().unwrap(),
            "self-signed",
            "trust it, if it is your own",
        ),
    ] {
        let server = Server::start_tls(Script::Echo, config).await.unwrap();
        let report = examine(trusting(&server)).await;
        assert_fails(&report, "tls", Fault::Tls, word);
        assert!(report.to_string().contains(advice), "{advice}: {report}");
    }
    // Both are wrong with it.
    let old = Server::start_tls(Script::Echo, authority.expired().unwrap())
        .await
        .unwrap();
    let report = examine(builder(old.url())).await;
    let all = "in all, the certificate has expired, is from no public authority";
    assert_fails(&report, "tls", Fault::Tls, all);
    let Some(Details::Tls { pem, .. }) = &report.failure().unwrap().details else {
        panic!("{report}")
    };
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    // Plain where TLS is spoken, and the reverse.
    let report = examine(builder(good.url().replace("wss://", "ws://"))).await;
    assert!(!report.is_ok(), "{report}");
    let plain = Server::start(Script::Echo).await.unwrap();
    let report = examine(builder(plain.url().replace("ws://", "wss://"))).await;
    assert_fails(&report, "tls", Fault::Tls, "does it speak `ws`");
}

#[tokio::test]
async fn servers_that_accept_and_are_not_well() {
    let silent = Server::start(Script::Silent).await.unwrap();
    let report = within(60 * SECOND, builder(silent.url()).examine()).await;
    let ping = report.steps.iter().find(|step| step.name == "ping").unwrap();
    assert_eq!(
        (ping.state, ping.fault),
        (State::Warning, Some(Fault::Server)),
        "{report}"
    );
    // At once, and after a look at who has come.
    for after in [Duration::ZERO, Duration::from_millis(50)] {
        let closes = Server::start(Script::Close {
            code: 1008,
            reason: "go away".into(),
            after,
        });
        let report = examine(builder(closes.await.unwrap().url())).await;
        assert_fails(&report, "ping", Fault::Server, "1008");
    }
}

#[tokio::test]
async fn what_an_mcp_server_says_of_itself() {
    let server = McpServer::start().await.unwrap();
    let url = format!("ws://{}/mcp", server.addr());
    let me = || Implementation::new("doctor", "1");
    let report = bounded(mcp::builder(&url, me()).only(Era::Legacy).examine()).await;
    assert!(report.is_ok(), "{report}");
    let step = report.steps.iter().find(|step| step.name == "mcp").unwrap();
    assert!(
        step.text.contains("(legacy)") && step.text.contains("it offers tools"),
        "{report}"
    );
    // Nobody asked.
    let plain = examine(builder(&url)).await;
    assert!(plain.steps.iter().all(|step| step.name != "mcp"), "{plain}");

    let echo = Server::start(Script::Echo).await.unwrap();
    let report = bounded(mcp::builder(echo.url(), me()).opening_timeout(SECOND).examine()).await;
    assert_fails(&report, "opening", Fault::Server, "");
}

/// Neither is looked up, nor connected to, what the guard refuses.
#[tokio::test]
async fn the_guard_is_not_passed_by() {
    // Plaintext to another machine; an address that nobody has.
    let report = examine(builder("ws://192.0.2.1/")).await;
    assert_fails(&report, "guard", Fault::Settings, "");
    let looked_at: Vec<_> = report
        .steps
        .iter()
        .filter(|step| step.state != State::Skipped)
        .map(|step| step.name)
        .collect();
    assert_eq!(looked_at, ["url", "proxy", "guard"], "{report}");

    let server = Server::start(Script::Echo).await.unwrap();
    let untrusting = Connect::new().guard(Profile::untrusted()).connector();
    let report = examine(builder(server.url()).connector(untrusting)).await;
    assert_fails(&report, "guard", Fault::Settings, "");
    assert_eq!(server.dials(), 0, "{report}");
}

/// Who judges tokens by a clock refuses those from another time.
#[tokio::test]
async fn clocks_that_differ() {
    let old = Script::status(401, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    let server = Server::start(old).await.unwrap();
    let report = examine(builder(server.url())).await;
    let advice = report.failure().unwrap().advice.clone().unwrap();
    assert!(advice.ends_with("days ahead of the server's"), "{report}");
}

#[tokio::test]
async fn whether_a_credential_was_shown() {
    let server = Server::start(Script::status(401, &[])).await.unwrap();
    let without = examine(builder(server.url())).await;
    assert!(without.to_string().contains("no credential was shown"), "{without}");
    let with = examine(builder(server.url()).bearer(Credentials::fixed("x"))).await;
    assert!(with.to_string().contains("is not good"), "{with}");
}

#[tokio::test]
async fn nothing_secret_is_told() {
    let refuses = Script::status(401, &[("www-authenticate", "Bearer error=\"s3cr3t\"")]);
    let server = Server::start(refuses).await.unwrap();
    let url = format!("{}/s3cr3t?token=s3cr3t", server.url().trim_end_matches('/'));
    let report = examine(
        builder(url)
            .header("x-key", "s3cr3t")
            .bearer(Credentials::fixed("s3cr3t")),
    )
    .await;
    assert_fails(&report, "upgrade", Fault::Credentials, "401");
    let told = serde_json::to_value(report.failure().unwrap()).unwrap();
    assert_eq!(told["headers"]["www-authenticate"], "Bearer error=\"[cut]\"");
    let told = format!("{report}{report:?}{}", serde_json::to_string(&report).unwrap());
    assert!(!told.contains("s3cr3t"), "{told}");
}

/// Who ends what is silent is found by being silent.
#[tokio::test]
async fn how_long_a_silence_is_borne() {
    let server = Server::start(Script::Echo).await.unwrap();
    let report = bounded(builder(server.url()).examine().hold(SECOND / 10)).await;
    let hold = report.steps.iter().find(|step| step.name == "hold").unwrap();
    assert_eq!(hold.state, State::Ok, "{report}");
    assert!(hold.took >= SECOND / 10);

    // After the pings.
    let cut = async {
        tokio::time::sleep(2 * SECOND).await;
        server.cut(Cut::Rst);
    };
    let held = builder(server.url()).examine().hold(30 * SECOND);
    let (report, ()) = bounded(async { tokio::join!(held.into_future(), cut) }).await;
    let hold = report.steps.iter().find(|step| step.name == "hold").unwrap();
    assert_eq!(
        (hold.state, hold.fault),
        (State::Warning, Some(Fault::Network)),
        "{report}"
    );
    assert_eq!(report.steps.last().map(|step| step.name), Some("hold"), "{report}");
}

/// A connector that tells nothing of its steps.
#[tokio::test]
async fn a_connector_of_ones_own() {
    let own = tower::service_fn(|_: Uri| async {
        Err::<TokioIo<TcpStream>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
    });
    let report = examine(builder("ws://server.example/").connector(own)).await;
    assert_fails(&report, "connect", Fault::Network, "refused");
}

/// Of several defects of a certificate each is told.
#[tokio::test]
async fn all_that_is_wrong_with_a_certificate() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.self_signed().unwrap())
        .await
        .unwrap();
    let there = Connect::new().address(&server.addr().to_string()).unwrap().connector();
    let report = examine(builder("wss://server.example/").connector(there)).await;
    assert_fails(
        &report,
        "tls",
        Fault::Tls,
        "in all, the certificate is for another host, is self-signed",
    );
    // An address of one's own is no proxy.
    let proxy = report.steps.iter().find(|step| step.name == "proxy").unwrap();
    let expected = format!("{} is dialled, by the settings", server.addr());
    assert!(proxy.text.starts_with(&expected), "{report}");
}

#[tokio::test]
async fn a_port_of_the_other_scheme_is_warned_of_and_a_name_is_looked_up() {
    for (url, word) in [("wss://127.0.0.1:80/", "port 80"), ("ws://127.0.0.1:443/", "port 443")] {
        let report = examine(builder(url)).await;
        let step = &report.steps[0];
        assert_eq!(
            (step.name, step.state, step.fault),
            ("url", State::Warning, Some(Fault::Settings)),
            "{report}"
        );
        assert!(
            step.advice.as_deref().is_some_and(|advice| advice.contains(word)),
            "{report}"
        );
    }
    let server = Server::start(Script::Echo).await.unwrap();
    let report = examine(builder(server.url().replace("127.0.0.1", "localhost"))).await;
    let dns = report.steps.iter().find(|step| step.name == "dns").unwrap();
    assert_eq!(dns.state, State::Ok, "{report}");
    assert!(
        dns.text.starts_with("localhost is ") && dns.text.contains("127.0.0.1"),
        "{report}"
    );
}

/// Each status has an advice of its own.
#[tokio::test]
async fn what_a_status_means() {
    for (status, fault, word) in [
        (400, Fault::Settings, "subprotocols"),
        (426, Fault::Settings, "subprotocols"),
        (407, Fault::Proxy, "credentials"),
    ] {
        let server = Server::start(Script::status(status, &[])).await.unwrap();
        let report = examine(builder(server.url())).await;
        let failure = report.failure().unwrap();
        assert_eq!((failure.name, failure.fault), ("upgrade", Some(fault)), "{report}");
        assert!(
            failure.advice.as_deref().is_some_and(|advice| advice.contains(word)),
            "{report}"
        );
    }
    // It comes up, and says goodbye at once.
    let server = Server::start(Script::close(4001, "not here")).await.unwrap();
    let report = examine(builder(server.url())).await;
    assert!(!report.is_ok() && report.to_string().contains("4001"), "{report}");
    let examination = builder(server.url()).examine();
    let shown = format!("{:?}", examination.hold(SECOND));
    assert!(shown.starts_with("Examination") && shown.contains("silence"), "{shown}");
}
