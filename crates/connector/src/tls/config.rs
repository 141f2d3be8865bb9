use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{Material, Pins, TlsError, pem, verify::Verifier};

/// Whom to trust, and as whom to come.
///
/// By default: the authorities of Mozilla's list, no certificate of one's own, no pins, TLS 1.2 and 1.3, ring's ciphers.
/// A server's certificate is always checked: its chain, its dates, its purpose, its name.
///
/// See the [module docs](super).
#[derive(Clone)]
pub struct Tls {
    roots: RootCertStore,
    identity: Option<Arc<SingleCertAndKey>>,
    pins: Option<Pins>,
    oldest: Version,
}

/// A version of TLS. Those before 1.2 are not spoken.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Version {
    /// TLS 1.2 ([RFC 5246](https://www.rfc-editor.org/rfc/rfc5246)): the oldest that is not
    /// deprecated ([RFC 8996](https://www.rfc-editor.org/rfc/rfc8996)).
    #[default]
    V1_2,
    /// TLS 1.3 ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446)).
    V1_3,
}

impl Tls {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            roots: webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            identity: None,
            pins: None,
            oldest: Version::default(),
        }
    }

    /// Trusts these authorities as well: PEM, one or more certificates.
    ///
    /// # Errors
    ///
    /// If there is none, or one of them cannot be used.
    pub fn roots_pem(mut self, certificates: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        add_roots(&mut self.roots, certificates.as_ref())?;
        Ok(self)
    }

    /// Trusts these authorities and nobody else: PEM, one or more certificates. A self-signed
    /// certificate of a server can be one.
    ///
    /// # Errors
    ///
    /// If there is none, or one of them cannot be used.
    pub fn only_roots_pem(mut self, certificates: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.roots = RootCertStore::empty();
        self.roots_pem(certificates)
    }

    /// Trusts the authorities that the operating system trusts, and nobody else.
    ///
    /// They are read now, from the system's store or, if set, from `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`; later changes need a new `Tls`. It may read many files: a program that must
    /// not wait does it on a thread of its own.
    ///
    /// Chains are checked by rustls here as well, not by the operating system: pins hold, and
    /// errors are the same on all systems; but what the system knows beside its roots (revocations,
    /// constraints of an enterprise) does not count.
    ///
    /// # Errors
    ///
    /// If there is not one that can be used. Single ones that cannot are left out, as these stores
    /// have some.
    #[cfg(feature = "platform-roots")]
    pub fn platform_roots(mut self) -> Result<Self, TlsError> {
        self.roots = RootCertStore::empty();
        self.with_platform_roots()
    }

    /// Trusts the authorities that the operating system trusts as well: behind a firewall that opens
    /// TLS its authority is among them, and Mozilla's stay where the system has none. For the rest as
    /// [`platform_roots`](Self::platform_roots).
    ///
    /// # Errors
    ///
    /// If there is not one that can be used.
    #[cfg(feature = "platform-roots")]
    pub fn with_platform_roots(mut self) -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = self.roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let error = found.errors.into_iter().next();
            return Err(TlsError::NoPlatformRoots(error.map(Into::into)));
        }
        Ok(self)
    }

    /// Shows this certificate to a server that asks for one (mutual TLS).
    ///
    /// `chain` is PEM: the client's own certificate first, then those between it and the authority
    /// that the server knows. `key` is PEM, too (PKCS#8, SEC1 or PKCS#1), not encrypted, and is
    /// never shown.
    ///
    /// # Errors
    ///
    /// If one of them is missing or cannot be used, or the key is not that of the first
    /// certificate.
    pub fn client_cert_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        let chain = pem::certificates(chain.as_ref(), Material::ClientChain)?;
        let key = pem::private_key(key.as_ref())?;
        let identity = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch,
            other => TlsError::BadIdentity(other.into()),
        })?;
        self.identity = Some(Arc::new(identity.into()));
        Ok(self)
    }

    /// Wants one of these keys in the chain, beside all other checks.
    #[must_use]
    pub fn pin(mut self, pins: Pins) -> Self {
        self.pins = Some(pins);
        self
    }

    /// The oldest version that is spoken; the default is 1.2.
    #[must_use]
    pub fn min_version(mut self, oldest: Version) -> Self {
        self.oldest = oldest;
        self
    }

    /// The configuration for rustls.
    ///
    /// It has its own memory of sessions: make one, and clone it or what was made of it, for
    /// redials to resume.
    pub fn config(&self) -> ClientConfig {
        let provider = provider();
        let verifier = Verifier::new(Arc::new(self.roots.clone()), provider.clone(), self.pins.clone())
            // The only way to fail is an empty set of roots; every function above puts at least one
            // in.
            .expect("there are roots");
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.oldest.and_newer())
            // The only way to fail is a provider without a cipher for these versions; ring has
            // them.
            .expect("ring has ciphers for all these versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match &self.identity {
            Some(identity) => config.with_client_cert_resolver(identity.clone()),
            None => config.with_no_client_auth(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Tls> for ClientConfig {
    fn from(tls: Tls) -> Self {
        tls.config()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("roots", &self.roots.len())
            .field("client_cert", &self.identity.is_some())
            .field("pins", &self.pins)
            .field("min_version", &self.oldest)
            .finish()
    }
}

impl Version {
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::V1_2 => &ALL,
            Self::V1_3 => &ALL[..1],
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn add_roots(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsError> {
    let certificates = pem::certificates(pem, Material::Roots)?;
    for (number, certificate) in (1..).zip(certificates) {
        roots.add(certificate).map_err(|error| TlsError::BadCertificate {
            what: Material::Roots,
            number,
            source: error.into(),
        })?;
    }
    Ok(())
}
