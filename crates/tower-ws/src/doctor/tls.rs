//! What a server shows by TLS.

use std::time::{Duration, SystemTime};

use tower_ws_connector::{
    Stage, WsUrl,
    tls::{self, Chain, Version},
};
use tower_ws_core::Excerpt;

use super::{
    Details,
    details::{Certificate, Day},
    report::{Fault, State, Step},
    way,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that ends within so long should have been renewed: those of 90 days are after 60.
const SOON: Duration = DAY.saturating_mul(14);

/// What was agreed on, if it was.
pub(super) fn succeeded(trace: &[tower_ws_connector::Step]) -> Option<Step> {
    let negotiated = trace.iter().rev().find_map(|step| match &step.stage {
        Stage::Tls(negotiated) => Some(negotiated),
        _ => None,
    })?;
    let is_tls = |stage: &Stage| matches!(stage, Stage::Tls(_) | Stage::Certificates(_));
    let took = way::took(trace, is_tls).unwrap_or_default();
    let version = match negotiated.version {
        Version::V1_2 => "1.2",
        _ => "1.3",
    };
    let certificates = negotiated.chain.certificates();
    let mut text = format!("TLS {version}, {}", negotiated.cipher);
    let left = certificates.first().map(|own| {
        let left = own.valid_for(SystemTime::now()).unwrap_or_default();
        let (subject, days) = (own.to_string(), left.as_secs() / DAY.as_secs());
        text += &format!("; {subject}, valid for another {days} days");
        left
    });
    let step = |state, text| Step::new("tls", took, state, text);
    let step = match (left, certificates.last()) {
        (Some(left), _) if left < SOON => {
            step(State::Warning, text).fault(Fault::Tls, "have the server's certificate renewed")
        }
        (_, Some(last)) if !certificates.iter().any(|one| one.is_publicly_issued) => {
            text += &format!("; by {}, which is no public authority", Excerpt::new(&last.issuer));
            step(State::Warning, text).fault(
                Fault::Tls,
                "nothing, if that authority is your own; otherwise somebody opens TLS on the way, and reads what is said",
            )
        }
        _ => step(State::Ok, text),
    };
    Some(step.details(Details::Tls {
        version: Some(version),
        cipher: Some(negotiated.cipher.clone()),
        certificates: certificates.into_iter().map(Certificate::from).collect(),
        pem: negotiated.chain.to_pem(),
    }))
}

/// All that is wrong with what the server has shown, beside the verdict.
pub(super) fn failed(mut step: Step, trace: &[tower_ws_connector::Step], url: &WsUrl) -> Step {
    let shown = trace.iter().rev().find_map(|step| match &step.stage {
        Stage::Certificates(chain) => Some(chain),
        _ => None,
    });
    let Some(chain) = shown else {
        return step;
    };
    let now = SystemTime::now();
    // Once all is agreed on, what is wrong is not the server's certificate.
    let is_taken = trace.iter().any(|step| matches!(step.stage, Stage::Tls(_)));
    let defects = match is_taken {
        true => Vec::new(),
        false => defects(chain, url.host(), now),
    };
    if defects.len() > 1 {
        let all: Vec<_> = defects.iter().map(|defect| defect.as_str()).collect();
        step.text += &format!("; in all, the certificate {}", all.join(", "));
    }
    if let Some(first) = defects.first() {
        step.advice = Some(first.advice(now));
    }
    #[cfg(feature = "platform-roots")]
    if let (Some(Defect::Private), true) = (defects.first(), chain.is_issued_by_platform()) {
        step.advice = Some(
            "this machine trusts that authority, and this program does not: somebody opens TLS on the way, or the server \
             is a private one; trust the machine's authorities, too"
                .to_owned(),
        );
    }
    step.details(Details::Tls {
        version: None,
        cipher: None,
        certificates: chain.certificates().into_iter().map(Certificate::from).collect(),
        pem: chain.to_pem(),
    })
}

/// What is wrong with a certificate, the first one that has to be mended first.
#[derive(Clone, Copy)]
enum Defect {
    Unreadable,
    Expired,
    NotYet,
    OtherHost,
    SelfSigned,
    /// No public authority's, nor one of this machine's.
    Private,
}

fn defects(chain: &Chain, host: &str, now: SystemTime) -> Vec<Defect> {
    let certificates = chain.certificates();
    let Some(own) = certificates.first() else {
        return vec![Defect::Unreadable];
    };
    let is_public = certificates.iter().any(|one| one.is_publicly_issued);
    let is_self_signed = own.subject == own.issuer;
    let all = [
        (own.not_after < now, Defect::Expired),
        (own.not_before > now, Defect::NotYet),
        (!chain.is_for(host), Defect::OtherHost),
        (is_self_signed, Defect::SelfSigned),
        (!is_public && !is_self_signed, Defect::Private),
    ];
    all.into_iter()
        .filter_map(|(is, defect)| is.then_some(defect))
        .collect()
}

impl Defect {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "cannot be read",
            Self::Expired => "has expired",
            Self::NotYet => "is not valid yet",
            Self::OtherHost => "is for another host",
            Self::SelfSigned => "is self-signed",
            Self::Private => "is from no public authority",
        }
    }

    fn advice(self, now: SystemTime) -> String {
        match self {
            Self::Unreadable => "have the server's certificate replaced".to_owned(),
            Self::Expired => format!(
                "have it renewed; unless this machine's clock is wrong, which says {}",
                Day(now)
            ),
            Self::NotYet => format!("look at this machine's clock, which says {}", Day(now)),
            Self::OtherHost => "dial a name that it is for, or find out who answers in the server's place".to_owned(),
            Self::SelfSigned => {
                "trust it, if it is your own; otherwise find out who answers in the server's place".to_owned()
            }
            Self::Private => {
                "trust that authority, if it is your own, or have the server send its whole chain; otherwise somebody \
                              opens TLS on the way"
                    .to_owned()
            }
        }
    }
}

impl From<tls::Certificate> for Certificate {
    fn from(certificate: tls::Certificate) -> Self {
        Self {
            subject: certificate.subject,
            issuer: certificate.issuer,
            is_publicly_issued: certificate.is_publicly_issued,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            names: certificate.names,
            pin: certificate.pin.to_string(),
        }
    }
}
