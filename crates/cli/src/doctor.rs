//! `tower-ws doctor`.

mod bundle;
mod further;

use std::{
    fs,
    future::IntoFuture,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Value, json};
use tower_ws::{
    config::Config,
    core::FailureKind,
    doctor::{Details, Report, State, Step},
};
use tracing::level_filters::LevelFilter;

use self::further::Asked;
use crate::{
    args::{DoctorArgs, Output},
    exit::{ALLOW, Exit, TOKEN, Trouble},
    jwt, log,
    output::tell,
    settings::{Settings, me},
};

/// What there is to say.
struct Findings {
    report: Report,
    /// Of a token that was refused.
    token: Option<Expiry>,
    /// What was asked besides.
    asked: Vec<Asked>,
    /// What else helps.
    hints: Vec<String>,
    exit: Exit,
}

pub(crate) async fn run(args: DoctorArgs) -> Result<Exit, Trouble> {
    // The report says what there is to say.
    log::begin(&args.connection, LevelFilter::OFF)?;
    let settings = Settings::load(Some(&args.url), &args.connection)?;
    let config = &settings.config;
    let report = examine(config, args.mcp, args.hold).await?;
    let asked = match report.failure() {
        Some(failure) if args.paths && class(failure) == Exit::NoWebSocket => further::paths(config).await?,
        Some(failure) if !args.no_extra => further::look(config, failure).await?.into_iter().collect(),
        _ => Vec::new(),
    };
    let token = match report.failure().and_then(|failure| failure.cause.as_ref()) {
        Some(cause) if cause.status == Some(401) => expiry(config).await,
        _ => None,
    };
    let mut hints = hints(&report, &settings, &args);
    if let Some(path) = &args.save_chain {
        hints.push(match chain(&report) {
            Some(pem) => {
                written(path, pem)?;
                format!("the certificates are in {}", path.display())
            }
            None => "no certificate was shown: none was written".to_owned(),
        });
    }
    let findings = Findings {
        exit: report.failure().map_or(Exit::Done, class),
        report,
        token,
        asked,
        hints,
    };
    if let Some(path) = &args.bundle {
        let bundle = bundle::of(&settings, &findings.json());
        written(path, &format!("{bundle:#}\n"))?;
    }
    match args.form.output() {
        Output::Text => drop(tell(findings.text().trim_end())),
        Output::Json => drop(tell(&findings.json().to_string())),
    }
    Ok(findings.exit)
}

fn written(path: &std::path::Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, text).map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))
}

async fn examine(config: &Config, mcp: bool, hold: Option<Duration>) -> Result<Report, Trouble> {
    let mut examination = match mcp {
        true => config.mcp(me())?.examine(),
        false => config.builder()?.examine(),
    };
    if let Some(silence) = hold {
        examination = examination.hold(silence);
    }
    Ok(examination.into_future().await)
}

/// Of the step that failed.
pub(crate) fn class(failure: &Step) -> Exit {
    let cause = failure.cause.as_ref();
    match cause.map_or(Exit::Network, |cause| {
        Exit::of(cause.kind, cause.status, cause.close_code)
    }) {
        // What it says where its answer is expected is the peer's, though it is a limit of this side's that it breaks.
        Exit::Local if failure.name == "opening" => Exit::Peer,
        exit => exit,
    }
}

/// What the server has shown.
fn chain(report: &Report) -> Option<&str> {
    report.steps.iter().find_map(|step| match &step.details {
        Some(Details::Tls { pem, .. }) => Some(pem.as_str()),
        _ => None,
    })
}

/// In the words of this program's options, what helps.
fn hints(report: &Report, settings: &Settings, args: &DoctorArgs) -> Vec<String> {
    let Some(failure) = report.failure() else {
        return Vec::new();
    };
    let kind = failure.cause.as_ref().map(|cause| cause.kind);
    let status = failure.cause.as_ref().and_then(|cause| cause.status);
    let secret = settings
        .places
        .iter()
        .find(|(path, _)| path.starts_with("auth.secret."));
    let hint = match (class(failure), kind, secret) {
        (_, Some(FailureKind::Policy), _) if failure.name == "guard" => ALLOW.to_owned(),
        (Exit::Credentials, _, None) => TOKEN.to_owned(),
        (Exit::Credentials, _, Some((_, place))) => format!("the token is that of {place}"),
        // One that is in trouble has no other path.
        (Exit::NoWebSocket, ..) if status.is_some_and(|status| status < 500) && !args.paths => {
            "--paths asks for others on this server".to_owned()
        }
        (Exit::Tls, ..) if failure.text.contains("client certificate") => {
            "--cert FILE and --key FILE show one of this side's".to_owned()
        }
        (Exit::Tls, ..) if chain(report).is_some() && args.save_chain.is_none() => {
            "--save-chain FILE writes the certificates down, --roots FILE trusts what is in one".to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

/// When a token ends, if it is a JWT that says so ([RFC 7519, section
/// 4.1.4](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4)). It is read here, and not shown.
#[derive(Clone, Copy, Debug, Serialize)]
struct Expiry {
    /// Seconds since 1970.
    expires: u64,
    has_expired: bool,
}

async fn expiry(config: &Config) -> Option<Expiry> {
    let credential = config.auth.secret.as_ref()?.credentials().get().await.ok()?;
    let expires = jwt::claims(credential.secret())?.get("exp")?.as_f64()? as u64;
    Some(Expiry {
        expires,
        has_expired: expires <= now(),
    })
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

impl Expiry {
    /// For people.
    fn words(self) -> String {
        let far = humantime::format_duration(Duration::from_secs(now().abs_diff(self.expires)));
        match self.has_expired {
            true => format!("the token is a JWT that expired {far} ago: get a new one"),
            false => format!("the token is a JWT that is good for another {far}, by itself"),
        }
    }
}

impl Findings {
    fn text(&self) -> String {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let mut told = format!("tower-ws {}  {now}  doctor  {}", env!("CARGO_PKG_VERSION"), self.report);
        let token = self.token.map(Expiry::words);
        let asked = self
            .asked
            .iter()
            .map(|asked| format!("{}: {}", asked.what, asked.found));
        for hint in token.into_iter().chain(asked).chain(self.hints.iter().cloned()) {
            told += &format!("also     {hint}\n");
        }
        if !self.report.is_ok() {
            told += &format!("exit     {}\n", self.exit as u8);
        } else if self.report.steps.iter().any(|step| step.state == State::Warning) {
            told += "Somebody should look at what is marked WARN.\n";
        }
        told
    }

    fn json(&self) -> Value {
        let mut told = serde_json::to_value(&self.report).unwrap_or_default();
        if let Value::Object(told) = &mut told {
            told.insert("ok".to_owned(), self.report.is_ok().into());
            told.insert("exit".to_owned(), (self.exit as u8).into());
            told.insert("asked".to_owned(), json!(self.asked));
            told.insert("hints".to_owned(), json!(self.hints));
            told.insert("token".to_owned(), json!(self.token));
        }
        told
    }
}
