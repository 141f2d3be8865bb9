//! The TLS configuration against real servers, good and bad.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData, date_time_ymd,
};
use rustls::{
    HandshakeKind, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use support::{bounded, get, shown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower::{Layer, ServiceExt};
use tower_ws_connector::{
    Connect, Connector,
    tls::{Material, Pin, PinMismatch, Pins, Tls, TlsError, Version},
};
use tower_ws_core::{Disposition, Event, Failure, FailureKind, find};
use tower_ws_test_kit::{Authority, Script, Server};
use tower_ws_transport::{Message, TransportLayer, UpgradeError};

/// Dials and has one message echoed.
async fn echo(connector: Connector, url: &str) -> Result<(), UpgradeError> {
    let transport = TransportLayer::new().layer(connector);
    let mut connection = bounded(transport.oneshot(get(url))).await?;
    assert!(matches!(connection.next().await, Some(Event::Up(_))));
    connection.send(Message::text("secret").into()).await.unwrap();
    match bounded(connection.next()).await {
        Some(Event::Message(message)) => assert_eq!(message, Message::text("secret")),
        other => panic!("{other:?}"),
    }
    Ok(())
}

async fn start(config: ServerConfig) -> Server {
    Server::start_tls(Script::Echo, config).await.unwrap()
}

/// The final failure of a dial, before which nothing may have been asked.
async fn refused(tls: &Tls, server: &Server) -> Failure {
    let error = echo(Connect::new().tls(tls.config()).connector(), &server.url())
        .await
        .unwrap_err();
    assert!(server.requests().is_empty(), "no request reached the server");
    let failure = Failure::of(error);
    assert_eq!(failure.kind(), FailureKind::Tls, "{failure:?}");
    assert_eq!(failure.disposition(), Disposition::Final, "{failure:?}");
    failure
}

fn trusting(authority: &Authority) -> Tls {
    Tls::new().only_roots_pem(authority.pem()).unwrap()
}

fn some_pin(byte: u8) -> Pin {
    Pin::from_sha256([byte; 32])
}

fn pinning(pin: Pin) -> Pins {
    Pins::new(some_pin(0xbb), pin, []).unwrap()
}

#[tokio::test]
async fn a_good_certificate_with_roots_added_and_alone() {
    let authority = Authority::new().unwrap();
    let server = start(authority.good().unwrap()).await;
    let (alone, added) = (trusting(&authority), Tls::new().roots_pem(authority.pem()).unwrap());
    for tls in [alone, added] {
        for url in [server.url(), server.url().replace("127.0.0.1", "localhost")] {
            echo(Connect::new().tls(tls.config()).connector(), &url).await.unwrap();
        }
    }
}

#[tokio::test]
async fn each_bad_certificate_is_final_and_says_which() {
    let authority = Authority::new().unwrap();
    let trusted = trusting(&authority);
    for (config, tls, says) in [
        (authority.expired(), &trusted, "expired"),
        (authority.not_yet_valid(), &trusted, "not valid yet"),
        (authority.wrong_host(), &trusted, r#"another host, "elsewhere.test""#),
        (authority.self_signed(), &trusted, "self-signed"),
        (authority.wrong_purpose(), &trusted, "not meant for servers"),
        (authority.good(), &Tls::new(), "unknown issuer"),
    ] {
        let failure = refused(tls, &start(config.unwrap()).await).await;
        assert!(failure.to_string().contains(says), "{failure}");
    }
}

#[tokio::test]
async fn a_pin_does_not_replace_the_other_checks() {
    let authority = Authority::new().unwrap();
    let root = Pin::of_certificate_pem(authority.pem()).unwrap();
    let tls = trusting(&authority).pin(pinning(root));
    echo(
        Connect::new().tls(tls.config()).connector(),
        &start(authority.good().unwrap()).await.url(),
    )
    .await
    .unwrap();
    for (config, says) in [
        (authority.expired(), "expired"),
        (authority.wrong_host(), "another host"),
        (authority.wrong_purpose(), "not meant for servers"),
    ] {
        let failure = refused(&tls, &start(config.unwrap()).await).await;
        assert!(failure.to_string().contains(says), "{failure}");
    }
    // The pinned key is the server's own, and nobody vouches for it.
    let chain = Chain::new();
    let server = start(chain.server(&[&TLS13])).await;
    let failure = refused(&tls.clone().pin(pinning(chain.leaf)), &server).await;
    assert!(failure.to_string().contains("unknown issuer"), "{failure}");
}

#[tokio::test]
async fn a_pin_of_any_key_in_the_chain_will_do() {
    let chain = Chain::new();
    for version in [&TLS12, &TLS13] {
        let server = start(chain.server(&[version])).await;
        for pin in [chain.leaf, chain.intermediate, chain.root] {
            let tls = chain.trusting().pin(pinning(pin));
            echo(Connect::new().tls(tls.config()).connector(), &server.url())
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_wrong_pin_is_final_and_shows_what_was_seen() {
    let chain = Chain::new();
    for version in [&TLS12, &TLS13] {
        let server = start(chain.server(&[version])).await;
        let failure = refused(&chain.trusting().pin(pinning(some_pin(0xaa))), &server).await;
        assert!(failure.to_string().contains(&chain.leaf.to_string()), "{failure}");
        let mismatch = find::<PinMismatch>(&failure).unwrap();
        assert_eq!(mismatch.seen, [chain.leaf, chain.intermediate, chain.root]);
        assert_eq!(mismatch.pinned, [some_pin(0xbb), some_pin(0xaa)]);
    }
}

#[tokio::test]
async fn a_pinned_certificate_that_is_only_sent_along_does_not_count() {
    let (chain, pinned) = (Chain::new(), Chain::new());
    let mut sent = chain.sent.clone();
    sent.extend(pinned.sent.clone());
    let server = start(server_config(sent, &chain.key, &[&TLS13])).await;
    let both = chain.trusting().roots_pem(&pinned.root_pem).unwrap();
    for pin in [pinned.leaf, pinned.intermediate, pinned.root] {
        let failure = refused(&both.clone().pin(pinning(pin)), &server).await;
        let mismatch = find::<PinMismatch>(&failure).unwrap();
        assert!(!mismatch.seen.contains(&pin), "{mismatch}");
    }
    echo(
        Connect::new().tls(both.pin(pinning(chain.root)).config()).connector(),
        &server.url(),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_redial_with_pins_resumes_and_other_pins_check_again() {
    let chain = Chain::new();
    let acceptor = TlsAcceptor::from(Arc::new(chain.server(&[&TLS13])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut kinds = Vec::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(tls) = acceptor.accept(tcp).await else {
                return kinds;
            };
            kinds.push(tls.get_ref().1.handshake_kind().unwrap());
            let mut ws = tokio_tungstenite::accept_async(tls).await.unwrap();
            while let Some(Ok(message)) = ws.next().await {
                if message.is_text() {
                    ws.send(message).await.unwrap();
                }
            }
        }
    });
    let tls = chain.trusting().pin(pinning(chain.leaf));
    let connector = Connect::new().tls(tls.config()).connector();
    for _ in 0..2 {
        echo(connector.clone(), &url).await.unwrap();
    }
    let error = echo(
        Connect::new().tls(tls.pin(pinning(some_pin(1))).config()).connector(),
        &url,
    )
    .await
    .unwrap_err();
    assert!(find::<PinMismatch>(&error).is_some(), "{error:?}");
    assert_eq!(
        bounded(server).await.unwrap(),
        [HandshakeKind::Full, HandshakeKind::Resumed]
    );
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_unless_it_is_an_authority() {
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let server = start(server_config(vec![certificate.der().clone()], &key, &[&TLS13])).await;
        let failure = refused(&Tls::new(), &server).await;
        assert!(failure.to_string().contains("self-signed"), "{failure}");
        let trusting = Tls::new().only_roots_pem(certificate.pem()).unwrap();
        if is_ca == IsCa::NoCa {
            let pinned = trusting.pin(pinning(Pin::of_certificate_pem(certificate.pem()).unwrap()));
            echo(Connect::new().tls(pinned.config()).connector(), &server.url())
                .await
                .unwrap();
        } else {
            let failure = refused(&trusting, &server).await;
            assert!(failure.to_string().contains("CA:FALSE"), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_certificate_with_nothing_but_a_common_name() {
    let authority = Authority::new().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
    params.not_after = date_time_ymd(4000, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let server = start(server_config(vec![certificate.der().clone()], &key, &[&TLS13])).await;
    let tls = trusting(&authority).roots_pem(certificate.pem()).unwrap();
    let failure = refused(&tls, &server).await;
    assert!(failure.to_string().contains("common name does not count"), "{failure}");
}

#[tokio::test]
async fn mutual_tls() {
    let authority = Authority::new().unwrap();
    let server = start(authority.mutual().unwrap()).await;
    let (chain, key) = authority.client_pem().unwrap();
    let tls = trusting(&authority).client_cert_pem(chain, key).unwrap();
    for version in [Version::V1_2, Version::V1_3] {
        let connector = Connect::new()
            .tls(tls.clone().min_version(version).config())
            .connector();
        for _ in 0..2 {
            echo(connector.clone(), &server.url()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_missing_or_unknown_client_certificate_is_final() {
    let authority = Authority::new().unwrap();
    let anonymous = trusting(&authority);
    let (chain, key) = Authority::new().unwrap().client_pem().unwrap();
    let stranger = anonymous.clone().client_cert_pem(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(authority.mutual().unwrap()));
    for (tls, says) in [
        (anonymous, "the server wants a client certificate"),
        (stranger, "does not know the issuer of this side's client certificate"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/", listener.local_addr().unwrap());
        let acceptor = acceptor.clone();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let (_, mut tcp) = acceptor.accept(tcp).into_fallible().await.map(drop).unwrap_err();
            // In TLS 1.3 the client asks before it can know. To close with that unread would reset
            // the connection, and the reset could overtake the alert.
            while tcp.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        });
        let failure = Failure::of(
            echo(Connect::new().tls(tls.config()).connector(), &url)
                .await
                .unwrap_err(),
        );
        assert_eq!(failure.kind(), FailureKind::Tls, "{failure:?}");
        assert_eq!(failure.disposition(), Disposition::Final, "{failure:?}");
        assert!(failure.to_string().contains(says), "{failure}");
        bounded(server).await.unwrap();
    }
}

#[tokio::test]
async fn the_oldest_version_is_kept() {
    let chain = Chain::new();
    let (tls, old) = (chain.trusting(), start(chain.server(&[&TLS12])).await);
    let failure = refused(&tls.clone().min_version(Version::V1_3), &old).await;
    assert!(failure.to_string().contains("no tls version"), "{failure}");
    echo(Connect::new().tls(tls.config()).connector(), &old.url())
        .await
        .unwrap();
}

/// What servers of the past answer: an alert (`protocol_version`), or a hello in TLS 1.0.
#[tokio::test]
async fn a_server_from_before_tls_1_2() {
    let alert = [0x15, 3, 1, 0, 2, 2, 70].to_vec();
    let mut hello = vec![0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    for answer in [alert, hello] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.read_u8().await.unwrap();
            tcp.write_all(&answer).await.unwrap();
            while tcp.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        });
        let failure = Failure::of(
            echo(Connect::new().tls(Tls::new().config()).connector(), &url)
                .await
                .unwrap_err(),
        );
        assert_eq!(failure.disposition(), Disposition::Final, "{failure:?}");
        assert!(failure.to_string().contains("no tls version"), "{failure:?}");
        bounded(server).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_cut_off_without_a_goodbye_is_the_network() {
    let chain = Chain::new();
    let acceptor = TlsAcceptor::from(Arc::new(chain.server(&[&TLS13])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor.accept(tcp).await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(tls.read_u8().await.unwrap());
        }
        tls.write_all(b"HTTP/1.1 101 Switching").await.unwrap();
        tls.flush().await.unwrap();
        // A FIN, and no `close_notify` before it.
        tls.get_mut().0.shutdown().await.unwrap();
    });
    let failure = Failure::of(
        echo(Connect::new().tls(chain.trusting().config()).connector(), &url)
            .await
            .unwrap_err(),
    );
    assert_eq!(failure.kind(), FailureKind::Network, "{failure:?}");
    assert_eq!(failure.disposition(), Disposition::Backoff);
}

#[test]
fn bad_material_says_what_is_wrong_with_it() {
    let authority = Authority::new().unwrap();
    let (chain, key) = authority.client_pem().unwrap();
    let other_key = authority.client_pem().unwrap().1;
    let roots = |pem: &str| Tls::new().roots_pem(pem).unwrap_err();
    let client = |chain: &str, key: &str| Tls::new().client_cert_pem(chain, key).unwrap_err();
    let no_root = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");

    assert!(matches!(roots(""), TlsError::NoCertificate(Material::Roots)));
    assert!(matches!(roots(&key), TlsError::NoCertificate(Material::Roots)));
    assert!(matches!(
        roots(&(authority.pem() + no_root)),
        TlsError::BadCertificate {
            what: Material::Roots,
            number: 2,
            ..
        }
    ));
    assert!(matches!(
        Pin::of_certificate_pem(no_root).unwrap_err(),
        TlsError::BadCertificate {
            what: Material::Certificate,
            number: 1,
            ..
        }
    ));
    let cut = authority.pem().replace("-----END", "");
    assert!(matches!(roots(&cut), TlsError::NotPem(Material::Roots)));
    assert!(matches!(
        client(&key, &chain),
        TlsError::NoCertificate(Material::ClientChain)
    ));
    assert!(matches!(client(&chain, ""), TlsError::NoKey));
    assert!(matches!(client(&chain, &encrypted), TlsError::NoKey));
    assert!(matches!(client(&chain, &other_key), TlsError::KeyMismatch));
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(client(&chain, no_key), TlsError::BadIdentity(_)));
    assert!(Tls::new().only_roots_pem("").is_err(), "never without roots");
}

#[test]
fn a_private_key_is_never_shown() {
    let (chain, key) = Authority::new().unwrap().client_pem().unwrap();
    let secret = key.lines().nth(1).unwrap();
    let bytes = format!("{:?}", &secret.as_bytes()[..16]);
    let bytes = bytes.trim_matches(['[', ']']);
    // Line breaks are what environment variables lose.
    let flat = key.replace('\n', "");
    let cut = key.replace("-----END", "");
    for damaged in [flat, cut, key.replacen(&secret[..4], "!!!!", 1)] {
        let error = Tls::new().client_cert_pem(&chain, damaged).unwrap_err();
        let text = shown(&error);
        assert!(!text.contains(&secret[8..24]) && !text.contains(bytes), "{text}");
    }
    let tls = Tls::new().client_cert_pem(&chain, &key).unwrap();
    let text = format!("{tls:?} {:?}", tls.config());
    assert!(text.contains("client_cert: true"), "{text}");
    let der = KeyPair::from_pem(&key).unwrap().serialize_der();
    let part = format!("{:?}", &der[36..52]);
    assert!(!text.contains(part.trim_matches(['[', ']'])), "{text}");
    assert!(!text.contains(&secret[8..24]), "{text}");
}

#[cfg(feature = "platform-roots")]
#[tokio::test]
async fn the_roots_of_the_operating_system() {
    // A machine may have none: then it has to say so, and how to get some.
    match Tls::new().platform_roots() {
        Ok(tls) => {
            let server = start(Authority::new().unwrap().good().unwrap()).await;
            let failure = refused(&tls, &server).await;
            assert!(failure.to_string().contains("unknown issuer"), "{failure}");
        }
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}

/// A root, an authority between, and a server's certificate below that.
struct Chain {
    root_pem: String,
    sent: Vec<CertificateDer<'static>>,
    key: KeyPair,
    leaf: Pin,
    intermediate: Pin,
    root: Pin,
}

impl Chain {
    fn new() -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let between = CertifiedIssuer::signed_by(authority("between"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &between)
            .unwrap();
        let pin = |key: &KeyPair| Pin::of_key(&key.subject_public_key_info());
        Self {
            root_pem: root.pem(),
            sent: vec![certificate.der().clone(), between.der().clone()],
            leaf: pin(&key),
            intermediate: pin(between.key()),
            root: pin(root.key()),
            key,
        }
    }

    fn trusting(&self) -> Tls {
        Tls::new().only_roots_pem(&self.root_pem).unwrap()
    }

    fn server(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        server_config(self.sent.clone(), &self.key, versions)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    // A name of its own, lest two chains be taken for one.
    let unique = format!("{name} {:?}", std::time::SystemTime::now());
    params.distinguished_name.push(DnType::CommonName, unique);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}
