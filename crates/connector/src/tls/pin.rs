use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::server::ParsedCertificate;

use super::{Material, PinError, TlsError, pem};

/// The SHA-256 of a public key, as certificates hold it (SubjectPublicKeyInfo,
/// [RFC 7469, section 2.4](https://www.rfc-editor.org/rfc/rfc7469#section-2.4)).
///
/// It is no secret. Written as other programs do, `sha256/` and base64; read also with curl's two
/// slashes. A key keeps its pin when its certificate is renewed.
///
/// ```
/// use tower_ws_connector::tls::Pin;
///
/// let pin: Pin = "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".parse()?;
/// assert_eq!(pin, Pin::from_sha256(std::array::from_fn(|n| n as u8)));
/// # Ok::<(), tower_ws_connector::tls::PinError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Pin([u8; SHA256_OUTPUT_LEN]);

/// Keys of which a server has to have one: the one in use, and at least one other for the day on
/// which it is lost.
///
/// Without a backup, a lost key locks every client out that is in the field; so there is no way to
/// make pins without one. The backup's key need not have a certificate yet. The pin of an
/// authority's key is a good one, too: it stays when the server's own key is replaced.
///
/// See the [module docs](super#pins) for how to find a pin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pins(Vec<Pin>);

// === impl Pin ===

impl Pin {
    /// A pin by its hash.
    pub fn from_sha256(hash: [u8; SHA256_OUTPUT_LEN]) -> Self {
        Self(hash)
    }

    /// The pin of a public key: a whole SubjectPublicKeyInfo, in DER.
    pub fn of_key(key: &[u8]) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, key).as_ref());
        Self(hash)
    }

    /// The pin of the key in a certificate, the first one in this PEM.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub fn of_certificate_pem(certificate: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        let certificates = pem::certificates(certificate.as_ref(), Material::Certificate)?;
        let first = certificates
            .first()
            .ok_or(TlsError::NoCertificate(Material::Certificate))?;
        let parsed = ParsedCertificate::try_from(first).map_err(|error| TlsError::BadCertificate {
            what: Material::Certificate,
            number: 1,
            source: error.into(),
        })?;
        Ok(Self::of_key(&parsed.subject_public_key_info()))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let hash = text.trim().strip_prefix("sha256/").ok_or(PinError::Malformed)?;
        let hash = STANDARD
            .decode(hash.strip_prefix('/').filter(|rest| rest.len() == 44).unwrap_or(hash))
            .map_err(|_| PinError::Malformed)?;
        hash.try_into().map(Self).map_err(|_| PinError::Malformed)
    }
}

// === impl Pins ===

impl Pins {
    /// How many there may be at most: 16. More are no choice of keys any longer, but a list of
    /// authorities.
    pub const LIMIT: usize = 16;

    /// The pin of the key in use, that of the backup, and more, if there are.
    ///
    /// # Errors
    ///
    /// If the backup is the primary again, or there are more than [`LIMIT`](Self::LIMIT).
    pub fn new(primary: Pin, backup: Pin, more: impl IntoIterator<Item = Pin>) -> Result<Self, PinError> {
        if primary == backup {
            return Err(PinError::NoBackup);
        }
        let mut pins = vec![primary, backup];
        for pin in more {
            if pins.len() == Self::LIMIT {
                return Err(PinError::TooMany);
            }
            pins.push(pin);
        }
        Ok(Self(pins))
    }

    /// Whether this is one of them.
    pub fn contains(&self, pin: &Pin) -> bool {
        self.0.contains(pin)
    }

    /// All of them, the primary first.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pin(byte: u8) -> Pin {
        Pin::from_sha256([byte; SHA256_OUTPUT_LEN])
    }

    #[test]
    fn a_known_hash() {
        // SHA-256 of "abc", FIPS 180-2, appendix B.1.
        let expected = "sha256/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        assert_eq!(Pin::of_key(b"abc").to_string(), expected);
        assert_eq!(format!("{:?}", Pin::of_key(b"abc")), expected);
    }

    #[test]
    fn a_backup_is_needed_and_the_number_is_bounded() {
        assert_eq!(Pins::new(pin(1), pin(1), [pin(2)]), Err(PinError::NoBackup));
        let most = (2..Pins::LIMIT as u8).map(pin);
        let pins = Pins::new(pin(0), pin(1), most.clone()).unwrap();
        assert_eq!(pins.iter().count(), Pins::LIMIT);
        assert!(pins.contains(&pin(15)) && !pins.contains(&pin(16)));
        assert_eq!(Pins::new(pin(0), pin(1), most.chain([pin(99)])), Err(PinError::TooMany));
    }

    #[test]
    fn what_is_no_pin() {
        for text in [
            "",
            "sha256/",
            "sha1/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
            "sha256/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
            "sha256/ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=",
            "sha256/AAAA",
        ] {
            assert_eq!(text.parse::<Pin>(), Err(PinError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(hash: [u8; SHA256_OUTPUT_LEN]) {
            let pin = Pin::from_sha256(hash);
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
            let curl = pin.to_string().replacen('/', "//", 1);
            prop_assert_eq!(curl.parse(), Ok(pin));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Pin>();
        }
    }
}
