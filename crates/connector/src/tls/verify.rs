use std::{cell::RefCell, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::VerifierBuilderError,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::{
    Chain, Pin, PinMismatch, Pins,
    error::{SelfSigned, UnknownIssuer},
};
use crate::trace::Stage;

/// webpki's verifier, and after it the pins.
///
/// It accepts nothing by itself: each `Ok` is one that webpki's verifier has given. It only refuses
/// more, and says more of a refusal.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    pins: Option<Pins>,
}

impl Verifier {
    /// Fails without roots.
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        pins: Option<Pins>,
    ) -> Result<Self, VerifierBuilderError> {
        let inner = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        Ok(Self {
            inner,
            roots,
            provider,
            pins,
        })
    }

    /// Whether one of the pinned keys is in a chain from the server's certificate to a root that is
    /// valid throughout.
    ///
    /// What the server sends beside its chain does not count: anybody can send the certificate of a
    /// pinned authority.
    fn pinned(
        &self,
        pins: &Pins,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let end_entity = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let own = Pin::of_key(&end_entity.subject_public_key_info());
        if pins.contains(&own) {
            return Ok(());
        }
        // There may be several chains (an authority that two others have signed). One with a pin in
        // it is enough; of the others the first is reported.
        let seen = RefCell::new(vec![own]);
        let has_pin = |path: &VerifiedPath<'_>| {
            let keys: Vec<Pin> = authorities(path).collect();
            if keys.iter().any(|key| pins.contains(key)) {
                return Ok(());
            }
            let mut seen = seen.borrow_mut();
            if seen.len() == 1 {
                seen.extend(keys);
            }
            Err(webpki::Error::UnknownIssuer)
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let usage = KeyUsage::server_auth();
        let roots = &self.roots.roots;
        match end_entity.verify_for_usage(algorithms, roots, intermediates, now, usage, None, Some(&has_pin)) {
            Ok(_) => Ok(()),
            Err(_) => Err(other(PinMismatch {
                seen: seen.take(),
                pinned: pins.iter().copied().collect(),
            })),
        }
    }

    /// Tells a self-signed certificate from one of an unknown authority, and names that one.
    fn explain(&self, error: Error, end_entity: &CertificateDer<'_>, chain: &Chain) -> Error {
        let Error::InvalidCertificate(bad) = &error else {
            return error;
        };
        let is_unknown = match bad {
            CertificateError::UnknownIssuer => true,
            // Made by a tool that marks what it signs by itself as an authority: known only if it
            // is one of the roots.
            CertificateError::Other(other) => {
                is_webpki(other, &webpki::Error::CaUsedAsEndEntity) && !self.is_root(end_entity)
            }
            _ => false,
        };
        if !is_unknown {
            return error;
        }
        match EndEntityCert::try_from(end_entity) {
            Ok(certificate) if certificate.issuer() == certificate.subject() => other(SelfSigned),
            _ if *bad == CertificateError::UnknownIssuer => match chain.certificates().pop() {
                Some(last) => other(UnknownIssuer(last.issuer)),
                None => error,
            },
            _ => error,
        }
    }

    fn is_root(&self, certificate: &CertificateDer<'_>) -> bool {
        webpki::anchor_from_trusted_cert(certificate).is_ok_and(|anchor| {
            self.roots.roots.iter().any(|root| {
                root.subject == anchor.subject && root.subject_public_key_info == anchor.subject_public_key_info
            })
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = Chain::new(end_entity, intermediates);
        Stage::Certificates(chain.clone()).note();
        let verified = self
            .inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| self.explain(error, end_entity, &chain))?;
        if let Some(pins) = &self.pins {
            self.pinned(pins, end_entity, intermediates, now)?;
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether this is webpki's word for something that rustls has no word for.
pub(super) fn is_webpki(error: &OtherError, word: &webpki::Error) -> bool {
    error.0.downcast_ref() == Some(word)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// The keys of a chain from the issuer of the server's certificate to the root.
fn authorities(path: &VerifiedPath<'_>) -> impl Iterator<Item = Pin> {
    let intermediates = path
        .intermediate_certificates()
        .map(|certificate| Pin::of_key(&certificate.subject_public_key_info()));
    let root = Pin::of_key(&sequence(&path.anchor().subject_public_key_info));
    intermediates.chain([root])
}

/// A DER sequence with this content: trust anchors keep their key and their name without its head.
pub(super) fn sequence(content: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|&&byte| byte == 0).count()..];
    let mut der = vec![SEQUENCE];
    if content.len() < 0x80 {
        der.push(content.len() as u8);
    } else {
        der.push(0x80 | significant.len() as u8);
        der.extend(significant);
    }
    der.extend(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_a_sequence() {
        for (length, head) in [
            (0, &[0x30, 0][..]),
            (127, &[0x30, 127]),
            (128, &[0x30, 0x81, 128]),
            (255, &[0x30, 0x81, 255]),
            (256, &[0x30, 0x82, 1, 0]),
            (70_000, &[0x30, 0x83, 1, 0x11, 0x70]),
        ] {
            let der = sequence(&vec![7; length]);
            assert_eq!(&der[..head.len()], head, "{length}");
            assert_eq!(der.len(), head.len() + length);
        }
    }
}
