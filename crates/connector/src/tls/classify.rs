//! What went wrong with TLS, in words that say what to do.

use std::borrow::Cow;

use rustls::{
    AlertDescription as Alert, CertificateError as Bad, Error as Tls, OtherError,
    pki_types::{InvalidDnsNameError, UnixTime},
};
use tower_ws_core::{BoxError, Disposition, Excerpt, Failure, FailureKind, find};

use super::{
    PinMismatch,
    error::{SelfSigned, UnknownIssuer},
    verify::is_webpki,
};

/// How many of the names in a certificate an error shows: enough to recognise the server that
/// answered.
const NAMES: usize = 3;

/// The failure, with the error beneath; or the error back, if TLS has no part in it.
pub(crate) fn classify(error: BoxError) -> Result<Failure, BoxError> {
    if find::<InvalidDnsNameError>(&*error).is_some() {
        let message = "the host is not a name or address that a certificate could be for";
        return Ok(Failure::new(FailureKind::Tls, message).with_source(error));
    }
    let Some(tls) = find::<Tls>(&*error) else {
        return Err(error);
    };
    let mut failure = Failure::new(FailureKind::Tls, message(tls));
    if passing(tls) {
        failure = failure.with_disposition(Disposition::Backoff);
    }
    // rustls does not show what its errors are made of: whoever seeks the pins finds them this way.
    Ok(match pins(tls).cloned() {
        Some(mismatch) => failure.with_source(mismatch),
        None => failure.with_source(error),
    })
}

fn message(tls: &Tls) -> Cow<'static, str> {
    match tls {
        Tls::InvalidCertificate(bad) => certificate(bad),
        Tls::AlertReceived(alert) => self::alert(*alert),
        Tls::InvalidMessage(_) => "what the server answered is not tls: does it speak `ws` on this port?".into(),
        Tls::PeerIncompatible(_) => {
            "the server has no tls version or cipher in common with this side: is it older than tls 1.2, or than the least \
             version allowed here?"
                .into()
        }
        Tls::NoApplicationProtocol => "the server speaks no http/1.1".into(),
        Tls::DecryptError => "the tls records were damaged on the way".into(),
        Tls::NoCertificatesPresented => "the server showed no certificate".into(),
        _ => "the tls handshake failed".into(),
    }
}

fn certificate(bad: &Bad) -> Cow<'static, str> {
    let text = match bad {
        Bad::ExpiredContext { time, not_after } => return expired(*time, *not_after).into(),
        Bad::Expired => "the server's certificate has expired: it has to renew it",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: is this machine's clock right?"
        }
        Bad::NotValidForNameContext { presented, .. } => return another_host(presented).into(),
        Bad::NotValidForName => "the server's certificate is for another host: dial it by a name in the certificate",
        Bad::UnknownIssuer => {
            "the server's certificate comes from an unknown issuer: trust that authority if it is your own, or have the \
             server send its whole chain"
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for servers: its extended key usage has to include server authentication"
        }
        Bad::BadSignature => {
            "the server's certificate, or the proof that it has the key of it, is not signed by whom it says"
        }
        Bad::Revoked => "the server's certificate has been revoked",
        Bad::BadEncoding => "the server's certificate cannot be read",
        #[allow(deprecated, reason = "other versions of webpki make it")]
        Bad::UnsupportedSignatureAlgorithm
        | Bad::UnsupportedSignatureAlgorithmContext { .. }
        | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate is signed in a way that is not trusted: sha-1, or a kind of key that is not supported"
        }
        Bad::Other(other) => return otherwise(other),
        _ => "the server's certificate is not valid",
    };
    text.into()
}

fn otherwise(error: &OtherError) -> Cow<'static, str> {
    if let Some(mismatch) = error.0.downcast_ref::<PinMismatch>() {
        // Its own key always is among those seen.
        let own = mismatch.seen.first().map(ToString::to_string).unwrap_or_default();
        return format!(
            "the server's certificate is valid, but none of the pinned keys is in its chain (its own is {own}): its keys \
             have changed, or somebody is in between"
        )
        .into();
    }
    if let Some(UnknownIssuer(name)) = error.0.downcast_ref() {
        return format!(
            "the server's certificate comes from an unknown issuer, {}: trust that authority if it is your own, have the \
             server send its whole chain, or find out who opens tls on the way",
            Excerpt::new(name)
        )
        .into();
    }
    let text = if error.0.is::<SelfSigned>() {
        "the server's certificate is self-signed: if it is your own, add it to the roots"
    } else if is_webpki(error, &webpki::Error::CaUsedAsEndEntity) {
        "the server's certificate is one of an authority: a server needs one that is not marked as such (`CA:FALSE`)"
    } else if is_webpki(error, &webpki::Error::UnsupportedCertVersion) {
        "the server's certificate is in the format of x.509 version 1: a server needs one of version 3"
    } else {
        "the server's certificate is not valid"
    };
    text.into()
}

fn expired(now: UnixTime, not_after: UnixTime) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let ago = match now.as_secs().saturating_sub(not_after.as_secs()) / DAY {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    };
    format!("the server's certificate has expired {ago} ago: it has to renew it, unless this machine's clock is wrong")
}

fn another_host(presented: &[String]) -> String {
    if presented.is_empty() {
        return "the server's certificate is for another host: it names none (a common name does not count), and needs a \
                subject alternative name"
            .to_owned();
    }
    let shown: Vec<_> = presented.iter().take(NAMES).map(|name| bare(name)).collect();
    let more = if presented.len() > NAMES { ", and more" } else { "" };
    format!(
        "the server's certificate is for another host, {}{more}: dial it by a name in the certificate",
        Excerpt::new(&shown.join(", "))
    )
}

/// `elsewhere.test` of `DnsName("elsewhere.test")`, which is how webpki writes the names down.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn alert(alert: Alert) -> Cow<'static, str> {
    let text = match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "the server wants a client certificate: give it one (mutual tls)"
        }
        Alert::UnknownCA => "the server does not know the issuer of this side's client certificate",
        Alert::CertificateExpired => "the server says that this side's client certificate has expired",
        Alert::CertificateRevoked => "the server says that this side's client certificate has been revoked",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "the server refused this side's client certificate, or wants one"
        }
        Alert::AccessDenied => {
            "the server refused this side: its client certificate, or the lack of one, gives it no access"
        }
        Alert::DecryptError => "the server could not verify this side's signature: is it the key of its certificate?",
        Alert::ProtocolVersion => "the server has no tls version in common with this side",
        Alert::InsufficientSecurity => "the server wants stronger ciphers than this side has",
        Alert::HandshakeFailure => {
            "the server broke off the tls handshake: there is no cipher in common, or it wants a client certificate"
        }
        Alert::UnrecognisedName => "the server does not know the host by this name",
        Alert::NoApplicationProtocol => "the server speaks no http/1.1",
        Alert::InternalError | Alert::UserCanceled => "the server broke off the tls handshake for reasons of its own",
        other => return format!("the server broke off the tls handshake with the alert {other:?}").into(),
    };
    text.into()
}

/// Whether it passes by itself: nobody is refused, something broke.
fn passing(tls: &Tls) -> bool {
    matches!(
        tls,
        Tls::DecryptError | Tls::AlertReceived(Alert::InternalError | Alert::UserCanceled | Alert::BadRecordMac)
    )
}

fn pins(tls: &Tls) -> Option<&PinMismatch> {
    match tls {
        Tls::InvalidCertificate(Bad::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use rustls::{InvalidMessage, PeerIncompatible};

    use super::*;
    use crate::tls::Pin;

    fn failure(tls: Tls) -> Failure {
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        crate::classify(error.into(), "wss://a:443")
    }

    fn at(days: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(days * 24 * 60 * 60))
    }

    fn other(error: impl std::error::Error + Send + Sync + 'static) -> Tls {
        Bad::Other(OtherError(Arc::new(error))).into()
    }

    #[test]
    fn each_says_what_is_wrong() {
        let late = |days: u64| Bad::ExpiredContext {
            time: at(100 + days),
            not_after: at(100),
        };
        for (tls, says) in [
            (Bad::Expired.into(), "expired"),
            (late(0).into(), "expired less than a day ago"),
            (late(1).into(), "expired a day ago"),
            (late(30).into(), "expired 30 days ago"),
            (Bad::NotValidYet.into(), "clock"),
            (Bad::NotValidForName.into(), "another host"),
            (Bad::UnknownIssuer.into(), "unknown issuer"),
            (Bad::InvalidPurpose.into(), "not meant for servers"),
            (Bad::BadSignature.into(), "not signed by"),
            (Bad::Revoked.into(), "revoked"),
            (other(SelfSigned), "self-signed"),
            (other(webpki::Error::CaUsedAsEndEntity), "CA:FALSE"),
            (other(webpki::Error::UnsupportedCertVersion), "version 3"),
            (Tls::InvalidMessage(InvalidMessage::InvalidContentType), "is not tls"),
            (
                Tls::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "older than tls 1.2",
            ),
            (
                Tls::AlertReceived(Alert::CertificateRequired),
                "wants a client certificate",
            ),
            (Tls::AlertReceived(Alert::UnknownCA), "issuer of this side's"),
            (Tls::AlertReceived(Alert::ProtocolVersion), "no tls version"),
            (Tls::AlertReceived(Alert::Unknown(0xee)), "0xee"),
        ] {
            let failure = failure(tls);
            assert_eq!(failure.kind(), FailureKind::Tls);
            assert_eq!(failure.disposition(), Disposition::Final, "{failure}");
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }

    #[test]
    fn what_passes_is_tried_again() {
        for tls in [
            Tls::DecryptError,
            Tls::AlertReceived(Alert::InternalError),
            Tls::AlertReceived(Alert::UserCanceled),
        ] {
            assert_eq!(failure(tls).disposition(), Disposition::Backoff);
        }
    }

    #[test]
    fn the_pins_are_in_the_text_and_in_the_chain() {
        let (seen, pinned) = (vec![Pin::of_key(b"a"), Pin::of_key(b"b")], vec![Pin::of_key(b"c")]);
        let failure = failure(other(PinMismatch { seen, pinned }));
        assert!(
            failure.to_string().contains(&Pin::of_key(b"a").to_string()),
            "{failure}"
        );
        let mismatch = find::<PinMismatch>(&failure).unwrap().to_string();
        for key in [b"a", b"b", b"c"] {
            assert!(mismatch.contains(&Pin::of_key(key).to_string()), "{mismatch}");
        }
    }

    #[test]
    fn a_peers_names_are_bounded_and_escaped() {
        let text = |presented: &[&str]| another_host(&presented.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(text(&[]).contains("common name"));
        assert!(text(&["DnsName(\"a.test\")", "IpAddress(10.0.0.1)"]).contains(r#""a.test, 10.0.0.1""#));
        assert!(text(&["a", "b", "c", "d"]).contains(r#""a, b, c", and more"#));
        assert!(text(&["a\nb"]).contains(r"a\nb"));
        assert!(text(&[&"x".repeat(10_000)]).len() < 400);
    }
}
