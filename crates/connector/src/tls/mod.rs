//! TLS: whom to trust, as whom to come, and what is said when it fails.
//!
//! [`Tls`] makes the configuration for [`Connect::tls`](crate::Connect::tls), on rustls and ring.
//! The server's certificate is always checked, its chain, dates, purpose and name; nothing here
//! turns that off. For a server with a certificate of one's own, trust that certificate or its
//! authority.
//!
//! # Example
//!
//! The defaults, Mozilla's authorities, TLS 1.2 and 1.3:
//!
//! ```
//! use tower_ws_connector::{Connect, tls::Tls};
//!
//! let connector = Connect::new().tls(Tls::new()).connector();
//! ```
//!
//! Configured: a private authority and nobody else, a client certificate, a pinned key and its
//! backup, TLS 1.3 only:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_ws_core::BoxError> {
//! use futures_util::StreamExt;
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_ws_core::Event;
//! use tower_ws_connector::{Connect, tls::{Pin, Pins, Tls, Version}};
//! use tower_ws_transport::TransportLayer;
//! # let authority = tower_ws_test_kit::Authority::new()?;
//! # let server = tower_ws_test_kit::Server::start_tls(tower_ws_test_kit::Script::Echo, authority.mutual()?).await?;
//! # let url = server.url();
//! # let (ca, (chain, key)) = (authority.pem(), authority.client_pem()?);
//!
//! let backup: Pin = "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".parse()?;
//! let tls = Tls::new()
//!     .only_roots_pem(&ca)?                             // as in `std::fs::read("ca.pem")?`
//!     .client_cert_pem(&chain, &key)?
//!     .pin(Pins::new(Pin::of_certificate_pem(&ca)?, backup, [])?)
//!     .min_version(Version::V1_3);
//!
//! let transport = TransportLayer::new().layer(Connect::new().tls(tls).connector());
//! let mut connection = transport.oneshot(Request::get(url).body(())?).await?;
//! assert!(matches!(connection.next().await, Some(Event::Up(_))));
//! # Ok(()) }
//! ```
//!
//! # Pins
//!
//! A [`Pin`] is the hash of a public key. With [`Tls::pin`], one of the pinned keys has to be in
//! the chain that was verified: the server's own, that of an authority between, or that of the root
//! ([RFC 7469, section 2.6](https://www.rfc-editor.org/rfc/rfc7469#section-2.6)). This comes after
//! all other checks, and replaces none. Certificates that the server sends and that the chain does
//! not need do not count, since anybody can send a pinned authority's. [`Pins`] want a backup by
//! their type.
//!
//! The pin of a server, of a certificate, and of a key that has no certificate yet (a good backup):
//!
//! ```console
//! $ openssl s_client -connect example.com:443 </dev/null | openssl x509 -pubkey -noout > key.pub
//! $ openssl x509 -in certificate.pem -pubkey -noout > key.pub
//! $ openssl pkey -in key.pem -pubout > key.pub
//! $ openssl pkey -pubin -in key.pub -outform der | openssl dgst -sha256 -binary | base64
//! ```
//!
//! # What goes wrong, what the error says, and what to do
//!
//! All of these are [`FailureKind::Tls`](tower_ws_core::FailureKind::Tls), and but for the last row
//! [`Final`](tower_ws_core::Disposition::Final): nobody dials again.
//!
//! | what is wrong | the error says | what to do |
//! |---|---|---|
//! | the certificate has expired | has expired 3 days ago | renew it on the server; or set this machine's clock |
//! | it is not valid yet | is not valid yet | set this machine's clock |
//! | it is for another host | is for another host, "a.example" | dial one of the names shown |
//! | it names no host | names none (a common name does not count) | reissue it with a subject alternative name |
//! | it is self-signed | is self-signed | [`Tls::roots_pem`] with it, if it is yours |
//! | its authority is unknown | comes from an unknown issuer, "CN=Example CA" | [`Tls::roots_pem`] with the authority; or have the server send its whole chain; or find out who opens TLS on the way |
//! | it is an authority's own | is one of an authority | issue one for the server, with `CA:FALSE` |
//! | it is a client's | is not meant for servers | reissue it for server authentication |
//! | a wrong pin | none of the pinned keys is in its chain (its own is sha256/…) | compare with the server's; then change the pins, or look for who is in between |
//! | too old a version | no tls version in common | update the server, or lower [`Tls::min_version`] |
//! | no TLS at all | what the server answered is not tls | dial the port for TLS |
//! | no client certificate | wants a client certificate | [`Tls::client_cert_pem`] |
//! | an unknown client certificate | does not know the issuer of this side's client certificate | have it issued by an authority that the server knows |
//! | bytes damaged, or the server in trouble | were damaged on the way; for reasons of its own | nothing: it is tried again with backoff |
//!
//! A connection that is cut off is a network failure and tried again, in the handshake and later;
//! an end without TLS's goodbye (`close_notify`) and without a close frame is not a clean close.
//!
//! # Sessions
//!
//! A redial resumes the TLS session, if the server lets it, and a resumed handshake shows no certificate. So what was
//! checked when the session began holds, pins included: a session is resumed only under the same configuration, which
//! cannot change. Servers end sessions after hours, at most seven days
//! ([RFC 8446, section 4.6.1](https://www.rfc-editor.org/rfc/rfc8446#section-4.6.1)); until then a redial does not see
//! that a certificate has expired meanwhile. No data is sent early (0-RTT), since it could be replayed.
//!
//! # What it does not do
//!
//! - It does not ask whether a certificate has been revoked (CRL, OCSP).
//! - It does not watch files for change: [`TlsFiles`] looks at them when it dials.
//! - It does not forbid `ws` in clear text: see the [crate docs](crate).
//! - It writes no keys down (`SSLKEYLOGFILE`).
//!
//! # Features
//!
//! `platform-roots`: `Tls::platform_roots`, the operating system's authorities.

mod chain;
mod classify;
mod config;
mod connector;
mod error;
mod files;
mod pem;
mod pin;
mod verify;

pub use self::{
    chain::{Certificate, Chain, Negotiated},
    config::{Tls, Version},
    connector::{Securing, TlsConnector},
    error::{Material, PinError, PinMismatch, TlsError},
    files::TlsFiles,
    pin::{Pin, Pins},
};
pub(crate) use self::{classify::classify, connector::Source};
