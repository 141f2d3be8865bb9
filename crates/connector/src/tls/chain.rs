use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    ClientConnection, HandshakeKind,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use tower_ws_core::Excerpt;
use x509_cert::{
    der::{Decode, Encode},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{Pin, Version, verify::sequence};

/// The certificates that a server shows: its own first, then those between it and an authority.
///
/// What they say is not checked by being here: a refused chain is one, too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain(Vec<CertificateDer<'static>>);

/// What is written in a certificate ([RFC 5280, section 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).
/// `Display` is the subject.
///
/// Its texts are the peer's: of any length up to that of a handshake, escaped by the rules of
/// [RFC 4514](https://www.rfc-editor.org/rfc/rfc4514).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Certificate {
    /// Whose it is, as in `CN=server.example`.
    pub subject: String,
    /// Who has signed it.
    pub issuer: String,
    /// Not valid before.
    pub not_before: SystemTime,
    /// Not valid after.
    pub not_after: SystemTime,
    /// The names and addresses for which it is.
    pub names: Vec<String>,
    /// Of its key.
    pub pin: Pin,
    /// Whether the issuer has the name of an authority of Mozilla's list: a public one, if the
    /// chain was found good.
    pub is_publicly_issued: bool,
}

/// A TLS handshake that has succeeded.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The version.
    pub version: Version,
    /// The cipher suite, as rustls calls it.
    pub cipher: String,
    /// Whether it continued an earlier one: the certificates are then those of that one.
    pub is_resumed: bool,
    /// What the server has shown.
    pub chain: Chain,
}

impl Chain {
    pub(super) fn new(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Self {
        let all = std::iter::once(end_entity).chain(intermediates);
        Self(all.map(|certificate| certificate.clone().into_owned()).collect())
    }

    /// Those that can be read, in the server's order.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.0.iter().filter_map(|der| Certificate::read(der)).collect()
    }

    /// Whether the server's own is for this host, whatever else is wrong with it.
    pub fn is_for(&self, host: &str) -> bool {
        let host = ServerName::try_from(host.trim_matches(['[', ']']));
        let own = self.0.first().map(ParsedCertificate::try_from);
        match (host, own) {
            (Ok(host), Some(Ok(own))) => verify_server_name(&own, &host).is_ok(),
            _ => false,
        }
    }

    /// Whether the last one is issued by an authority that the operating system trusts, by its
    /// name. It reads the system's store, which may be many files.
    #[cfg(feature = "platform-roots")]
    pub fn is_issued_by_platform(&self) -> bool {
        let Some(last) = self.certificates().pop() else {
            return false;
        };
        let roots = rustls_native_certs::load_native_certs().certs;
        let mut roots = roots.iter().filter_map(|root| Certificate::read(root));
        roots.any(|root| root.subject == last.issuer)
    }

    /// All of them in PEM: what `Tls::roots_pem` reads, should the last one be an authority of your own.
    pub fn to_pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.0 {
            pem += "-----BEGIN CERTIFICATE-----\n";
            let base64 = STANDARD.encode(certificate);
            for (place, letter) in base64.chars().enumerate() {
                if place > 0 && place % 64 == 0 {
                    pem.push('\n');
                }
                pem.push(letter);
            }
            pem += "\n-----END CERTIFICATE-----\n";
        }
        pem
    }
}

impl Certificate {
    /// None, if it is no certificate.
    fn read(der: &[u8]) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let issuer = certificate.issuer().to_der().ok()?;
        let key = certificate.subject_public_key_info().to_der().ok()?;
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: UNIX_EPOCH + certificate.validity().not_before.to_unix_duration(),
            not_after: UNIX_EPOCH + certificate.validity().not_after.to_unix_duration(),
            names: names.iter().filter_map(name).collect(),
            pin: Pin::of_key(&key),
            is_publicly_issued: webpki_roots::TLS_SERVER_ROOTS
                .iter()
                .any(|root| sequence(&root.subject) == issuer),
        })
    }

    /// How long it is valid still; none if it has expired, or is not valid yet.
    pub fn valid_for(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.not_before).ok()?;
        self.not_after.duration_since(now).ok()
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Excerpt::new(&self.subject), f)
    }
}

/// A name of a host, or an address.
fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(octets) => match *octets.as_bytes() {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            ref octets => Some(IpAddr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()),
        },
        _ => None,
    }
}

impl Negotiated {
    /// None before the end of the handshake.
    pub(super) fn of(connection: &ClientConnection) -> Option<Self> {
        let version = match connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => Version::V1_2,
            _ => Version::V1_3,
        };
        let cipher = connection.negotiated_cipher_suite()?.suite();
        let shown = connection.peer_certificates().unwrap_or_default();
        Some(Self {
            version,
            cipher: cipher.as_str().map_or_else(|| format!("{cipher:?}"), str::to_owned),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            chain: Chain(shown.iter().map(|der| der.clone().into_owned()).collect()),
        })
    }
}
