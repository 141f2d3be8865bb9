use std::{fmt, io, path::PathBuf};

use tower_ws_core::BoxError;

use super::Pin;

/// Why what was given for a [`Tls`](super::Tls) cannot be used.
///
/// None of them holds or shows any of it: a damaged file may well be the private key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Its file cannot be read.
    #[error("the {what} cannot be read from {}", .path.display())]
    Unreadable {
        /// What it is about.
        what: Material,
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not PEM.
    #[error("the {0} cannot be read as pem: are its line breaks and its `-----END` line in place?")]
    NotPem(Material),
    /// There is no certificate in it.
    #[error("the {0} hold no certificate: a pem section that begins with `-----BEGIN CERTIFICATE-----` is needed")]
    NoCertificate(Material),
    /// One of the certificates is none that can be used.
    #[error("number {number} of the {what} cannot be used: it is damaged, or in an old format")]
    BadCertificate {
        /// Which of those given.
        what: Material,
        /// Which one of them, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
    /// There is no private key in it.
    #[error(
        "there is no private key in the pem given for it: pkcs#8, sec1 and pkcs#1 are read; decrypt an encrypted one first"
    )]
    NoKey,
    /// The private key or its certificate is of a kind that cannot be used.
    #[error(
        "the client's private key or certificate cannot be used: the key has to be ed25519, ecdsa (p-256, p-384), or rsa (2048 bits or more)"
    )]
    BadIdentity(#[source] BoxError),
    /// The private key is another one's.
    #[error(
        "the private key does not belong to the client's certificate: the chain has to begin with the client's own certificate"
    )]
    KeyMismatch,
    /// The operating system has no usable root.
    #[error(
        "the operating system offers no root certificates: install its package of them (`ca-certificates`), or name your own"
    )]
    NoPlatformRoots(#[source] Option<BoxError>),
}

/// What a [`TlsError`] is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Material {
    /// Certificates of authorities.
    Roots,
    /// The client's certificate and those between it and its authority.
    ClientChain,
    /// The client's private key.
    ClientKey,
    /// A certificate to be pinned.
    Certificate,
}

/// Why something is no set of pins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The text is no pin.
    #[error("a pin has the form `sha256/` and 44 characters of base64, the hash of a public key")]
    Malformed,
    /// The backup is the primary again.
    #[error("the backup pin is the primary pin again: it has to be of another key, which is kept elsewhere")]
    NoBackup,
    /// There are more than [`Pins::LIMIT`](super::Pins::LIMIT).
    #[error("there are more than {} pins", super::Pins::LIMIT)]
    TooMany,
}

/// The server's certificate is good, and none of the keys in its chain is pinned.
///
/// Either its keys were replaced and the pins were not, or somebody in between has a certificate
/// from an authority that this side trusts. It is in the chain of the dial's error;
/// [`tower_ws_core::find`] finds it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server's keys are {}; pinned are {}", Listed(.seen), Listed(.pinned))]
#[non_exhaustive]
pub struct PinMismatch {
    /// The server's keys: its own first, then those of the authorities up to the root.
    pub seen: Vec<Pin>,
    /// The keys that were expected.
    pub pinned: Vec<Pin>,
}

/// The certificate is signed by its own key, and that key is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("the certificate is its own issuer, and no root")]
pub(super) struct SelfSigned;

/// The chain ends with an issuer that is not trusted: this one.
#[derive(Debug, thiserror::Error)]
#[error("the issuer is not trusted")]
pub(super) struct UnknownIssuer(pub(super) String);

struct Listed<'a>(&'a [Pin]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pin) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{pin}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots => "root certificates",
            Self::ClientChain => "client certificates",
            Self::ClientKey => "contents of the private key's file",
            Self::Certificate => "certificates to pin",
        })
    }
}
