//! `tower-ws doctor`.

use std::{
    future::IntoFuture,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Value, json};
use tower_ws::{
    config::Config,
    doctor::{Details, Report, State, Step},
};
use tracing::level_filters::LevelFilter;

use crate::{
    args::{DoctorArgs, Output},
    exit::{Exit, Trouble},
    jwt, log,
    output::tell,
    settings::{Settings, me},
};

pub(crate) async fn run(args: DoctorArgs) -> Result<Exit, Trouble> {
    // The report says what there is to say.
    log::begin(&args.connection, LevelFilter::OFF)?;
    let Settings { config, .. } = Settings::load(Some(&args.url), &args.connection)?;
    let report = examine(&config, args.mcp, args.hold).await?;
    let hints = match (args.no_extra, report.failure()) {
        (false, Some(failure)) => look_further(&config, failure).await?,
        _ => Vec::new(),
    };
    let token = match report.failure() {
        Some(failure) if failure.cause.as_ref().is_some_and(|cause| cause.status == Some(401)) => expiry(&config).await,
        _ => None,
    };
    let exit = report.failure().map_or(Exit::Done, class);
    match args.output {
        Output::Text => print(&report, token.as_ref(), &hints, exit),
        Output::Json => drop(tell(&in_json(&report, token.as_ref(), &hints, exit).to_string())),
    }
    Ok(exit)
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
    match cause.map_or(Exit::Network, |cause| Exit::of(cause.kind, cause.status)) {
        // What it says where its answer is expected is the peer's, though it is a limit of this side's that it breaks.
        Exit::Local if failure.name == "opening" => Exit::Peer,
        exit => exit,
    }
}

/// What one more dial finds out: the other scheme where TLS or the answer is none, the subprotocol `mcp` where the
/// server does not take the request.
async fn look_further(config: &Config, failure: &Step) -> Result<Vec<String>, Trouble> {
    let mut other = config.clone();
    let status = failure.cause.as_ref().and_then(|cause| cause.status);
    let hint = match (failure.name, status) {
        // Who shows a certificate speaks TLS.
        ("tls", None) if matches!(&failure.details, Some(Details::Tls { .. })) => return Ok(Vec::new()),
        ("tls" | "upgrade", None) => {
            let (from, to) = match config.url.strip_prefix("wss://") {
                Some(_) => ("wss://", "ws://"),
                None => ("ws://", "wss://"),
            };
            // Whether it speaks so is the question. Whoever is there is shown nothing: no path, no query, no credential.
            other.url = bare(&config.url.replacen(from, to, 1));
            other.auth = tower_ws::config::AuthSettings::default();
            other.headers.clear();
            other.connect.allow_plaintext = true;
            format!("this port speaks {to}, not {from}")
        }
        ("upgrade", Some(400)) if config.transport.subprotocols.is_empty() => {
            other.transport.subprotocols = vec!["mcp".to_owned()];
            "the server wants a subprotocol, and takes `mcp`: -s mcp".to_owned()
        }
        _ => return Ok(Vec::new()),
    };
    let report = examine(&other, false, None).await?;
    // A port for TLS may answer whoever speaks none with a 400.
    let goes_further = match report.failure() {
        None => true,
        Some(failure) => {
            let status = failure.cause.as_ref().and_then(|cause| cause.status);
            matches!(status, Some(401 | 403 | 404 | 426))
        }
    };
    Ok(if goes_further { vec![hint] } else { Vec::new() })
}

/// Scheme, host and port.
fn bare(url: &str) -> String {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end);
    format!("{}/", &url[..end])
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
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Some(Expiry {
        expires,
        has_expired: expires <= now,
    })
}

impl Expiry {
    /// For people.
    fn words(self) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let far = humantime::format_duration(Duration::from_secs(now.abs_diff(self.expires)));
        match self.has_expired {
            true => format!("the token is a JWT that expired {far} ago: get a new one"),
            false => format!("the token is a JWT that is good for another {far}, by itself"),
        }
    }
}

fn print(report: &Report, token: Option<&Expiry>, hints: &[String], exit: Exit) {
    let mut told = format!("tower-ws {}  doctor  {report}", env!("CARGO_PKG_VERSION"));
    let token = token.map(|token| token.words());
    for hint in token.iter().chain(hints) {
        told += &format!("also     {hint}\n");
    }
    if !report.is_ok() {
        told += &format!("exit     {}\n", exit as u8);
    } else if report.steps.iter().any(|step| step.state == State::Warning) {
        told += "Somebody should look at what is marked WARN.\n";
    }
    tell(told.trim_end());
}

fn in_json(report: &Report, token: Option<&Expiry>, hints: &[String], exit: Exit) -> Value {
    let mut told = serde_json::to_value(report).unwrap_or_default();
    if let Value::Object(told) = &mut told {
        told.insert("ok".to_owned(), report.is_ok().into());
        told.insert("exit".to_owned(), (exit as u8).into());
        told.insert("hints".to_owned(), hints.into());
        told.insert("token".to_owned(), json!(token));
    }
    told
}
