use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority of one's own, with server configurations whose certificates are good, or
/// bad in one respect.
///
/// Good certificates are for `localhost`, `127.0.0.1` and `::1`. Keys and certificates are made in
/// memory, anew for each authority: a second authority is an unknown one to the clients of the
/// first.
///
/// # Example
///
/// ```
/// use tower_ws_test_kit::{Authority, Script, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let authority = Authority::new()?;
/// let server = Server::start_tls(Script::Echo, authority.expired()?).await?;
/// let client = authority.client()?; // refuses that server
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Authority {
    /// Makes the authority and its key.
    ///
    /// # Errors
    ///
    /// If the source of randomness fails; so for all functions here.
    pub fn new() -> io::Result<Self> {
        let key = key()?;
        // A name of its own, lest a client take a stranger for this one and report a bad signature.
        let fingerprint: String = key
            .public_key_raw()
            .iter()
            .rev()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("authority {fingerprint}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        Ok(Self { issuer })
    }

    /// Trust in this authority and in nobody else.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).map_err(io::Error::other)?;
        Ok(roots)
    }

    /// The certificate of this authority, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a client, and its private key, each as PEM.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn client_pem(&self) -> io::Result<(String, String)> {
        let key = key()?;
        let mut params = params(&[])?;
        params.distinguished_name.push(DnType::CommonName, "client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// A client with this trust, without ALPN and without a certificate of its own.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn client(&self) -> io::Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        Ok(config.with_root_certificates(self.roots()?).with_no_client_auth())
    }

    /// A server that is what it says.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn good(&self) -> io::Result<ServerConfig> {
        self.signed(&params(&NAMES)?)
    }

    /// A server whose certificate was valid throughout the year 2001.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn expired(&self) -> io::Result<ServerConfig> {
        let mut params = params(&NAMES)?;
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.signed(&params)
    }

    /// A server whose certificate is valid throughout the year 4000.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn not_yet_valid(&self) -> io::Result<ServerConfig> {
        let mut params = params(&NAMES)?;
        params.not_before = date_time_ymd(4000, 1, 1);
        params.not_after = date_time_ymd(4001, 1, 1);
        self.signed(&params)
    }

    /// A server whose certificate is meant for clients only.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn wrong_purpose(&self) -> io::Result<ServerConfig> {
        let mut params = params(&NAMES)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.signed(&params)
    }

    /// A good server that wants a certificate of this authority from its clients (mutual TLS).
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn mutual(&self) -> io::Result<ServerConfig> {
        let key = key()?;
        let certificate = params(&NAMES)?
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), provider.clone())
            .build()
            .map_err(io::Error::other)?;
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], private(&key))
            .map_err(io::Error::other)
    }

    /// A server whose certificate is for `elsewhere.test`.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn wrong_host(&self) -> io::Result<ServerConfig> {
        self.signed(&params(&["elsewhere.test"])?)
    }

    /// A server whose certificate is signed by its own key, not by this authority.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn self_signed(&self) -> io::Result<ServerConfig> {
        let key = key()?;
        let certificate = params(&NAMES)?.self_signed(&key).map_err(io::Error::other)?;
        server(certificate.der().clone(), &key)
    }

    fn signed(&self, params: &CertificateParams) -> io::Result<ServerConfig> {
        let key = key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        server(certificate.der().clone(), &key)
    }
}

fn key() -> io::Result<KeyPair> {
    KeyPair::generate().map_err(io::Error::other)
}

fn params(names: &[&str]) -> io::Result<CertificateParams> {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, "server");
    Ok(params)
}

fn server(certificate: CertificateDer<'static>, key: &KeyPair) -> io::Result<ServerConfig> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private(key))
        .map_err(io::Error::other)
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}
