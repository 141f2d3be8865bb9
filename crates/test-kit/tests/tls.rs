//! The server over TLS, and certificates that are bad in one respect.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::io;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tower_ws_test_kit::{Authority, Cut, Script, Server};

use support::bounded;

async fn dial(client: ClientConfig, server: &Server) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(server.addr()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    bounded(TlsConnector::from(Arc::new(client)).connect(name, tcp)).await
}

async fn refusal(server: ServerConfig, authority: &Authority) -> CertificateError {
    let server = Server::start_tls(Script::Echo, server).await.unwrap();
    let error = dial(authority.client().unwrap(), &server).await.unwrap_err();
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn echoes() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    assert!(server.url().starts_with("wss://127.0.0.1:"));
    let stream = dial(authority.client().unwrap(), &server).await.unwrap();
    let (mut client, _) = bounded(client_async(server.url(), stream)).await.unwrap();
    client.send(Message::text("a")).await.unwrap();
    assert_eq!(bounded(client.next()).await.unwrap().unwrap(), Message::text("a"));
}

#[tokio::test]
async fn bad_certificates() {
    let authority = Authority::new().unwrap();
    let why = refusal(authority.expired().unwrap(), &authority).await;
    assert!(matches!(why, CertificateError::ExpiredContext { .. }), "{why:?}");
    let why = refusal(authority.wrong_host().unwrap(), &authority).await;
    assert!(
        matches!(why, CertificateError::NotValidForNameContext { .. }),
        "{why:?}"
    );
    let why = refusal(authority.self_signed().unwrap(), &authority).await;
    assert_eq!(why, CertificateError::UnknownIssuer);
    let stranger = Authority::new().unwrap();
    let why = refusal(stranger.good().unwrap(), &authority).await;
    assert_eq!(why, CertificateError::UnknownIssuer);
}

#[tokio::test]
async fn a_script_says_close_notify_and_a_cut_does_not() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::CutBeforeReply(Cut::Fin), authority.good().unwrap())
        .await
        .unwrap();
    let client = authority.client().unwrap();
    let mut stream = dial(client.clone(), &server).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, support::REQUEST.as_bytes())
        .await
        .unwrap();
    assert_eq!(bounded(stream.read(&mut [0; 1])).await.unwrap(), 0);

    let mut stream = dial(client, &server).await.unwrap();
    bounded(server.wait_live(1)).await;
    server.cut(Cut::Fin);
    let error = bounded(stream.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn plaintext_where_tls_was_expected() {
    let authority = Authority::new().unwrap();
    for script in [Script::Garbage, Script::Echo] {
        let server = Server::start(script).await.unwrap();
        let error = dial(authority.client().unwrap(), &server).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error:?}");
    }
}
