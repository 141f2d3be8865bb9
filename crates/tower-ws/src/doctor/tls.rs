//! What a server shows by TLS.

use std::time::{Duration, SystemTime};

use tower_ws_connector::{
    Stage, WsUrl,
    tls::{self, Chain, Version},
};
use tower_ws_core::Excerpt;

use super::{
    Details,
    details::Certificate,
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
    let defects = defects(chain, url.host());
    if defects.len() > 1 {
        step.text += &format!("; in all, the certificate {}", defects.join(", "));
    }
    #[cfg(feature = "platform-roots")]
    if chain.is_issued_by_platform() {
        step.advice = Some(
            "this machine trusts that authority, and this program does not: somebody opens TLS on the way, or the server \
             is a private one; `Tls::platform_roots` trusts what the machine does"
                .to_owned(),
        );
    }
    step.details(Details::Tls {
        version: None,
        cipher: None,
        certificates: chain.certificates().into_iter().map(Certificate::from).collect(),
    })
}

fn defects(chain: &Chain, host: &str) -> Vec<&'static str> {
    let certificates = chain.certificates();
    let Some(own) = certificates.first() else {
        return vec!["cannot be read"];
    };
    let now = SystemTime::now();
    let mut defects = Vec::new();
    if own.not_after < now {
        defects.push("has expired");
    }
    if own.not_before > now {
        defects.push("is not valid yet");
    }
    if !chain.is_for(host) {
        defects.push("is for another host");
    }
    if own.subject == own.issuer {
        defects.push("is self-signed");
    }
    defects
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
