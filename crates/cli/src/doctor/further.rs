//! What is asked besides, of the same server. By another scheme and for another path it is shown nothing: no query, no
//! credential.

use serde::Serialize;
use tower_ws::{
    config::{AuthSettings, Config},
    doctor::{Details, Report, Step},
};

use super::{chain, examine};
use crate::exit::Trouble;

/// Something that was asked, and what came of it.
#[derive(Serialize)]
pub(super) struct Asked {
    pub(super) what: String,
    pub(super) found: String,
    /// Whether there is a WebSocket, or a path that wants a credential.
    is_there: bool,
}

/// Paths that WebSockets often have.
const PATHS: [&str; 4] = ["/", "/ws", "/mcp", "/message"];

/// How many of an address's own path are looked at.
const PARTS: usize = 4;

/// What one more dial finds out: the other scheme where TLS or the answer is none, the subprotocol `mcp` where the
/// server does not take the request.
pub(super) async fn look(config: &Config, failure: &Step) -> Result<Option<Asked>, Trouble> {
    let status = failure.cause.as_ref().and_then(|cause| cause.status);
    let (mut other, what, yes, no) = match (failure.name, status) {
        // Who shows a certificate speaks TLS.
        ("tls", None) if matches!(&failure.details, Some(Details::Tls { .. })) => return Ok(None),
        ("tls" | "upgrade", None) => {
            let (from, to) = match config.url.strip_prefix("wss://") {
                Some(_) => ("wss://", "ws://"),
                None => ("ws://", "wss://"),
            };
            // Whether it speaks so is the question.
            let other = bare(config, &config.url.replacen(from, to, 1), "/");
            let yes = format!("this port speaks {to}, not {from}");
            (other, format!("with {to}"), yes, "no WebSocket either")
        }
        ("upgrade", Some(400)) if config.transport.subprotocols.is_empty() => {
            let mut other = config.clone();
            other.transport.subprotocols = vec!["mcp".to_owned()];
            let yes = "the server wants a subprotocol, and takes this one: -s mcp".to_owned();
            (
                other,
                "with the subprotocol `mcp`".to_owned(),
                yes,
                "it does not want that either",
            )
        }
        _ => return Ok(None),
    };
    other.connect.allow_plaintext = true;
    let report = examine(&other, false, None).await?;
    // A port for TLS may answer whoever speaks none with a 400; and whoever shows a certificate, good or not, speaks TLS.
    let is_there =
        report.is_ok() || matches!(status_of(&report), Some(401 | 403 | 404 | 426)) || chain(&report).is_some();
    Ok(Some(Asked {
        what,
        found: if is_there { yes } else { no.to_owned() },
        is_there,
    }))
}

/// Other paths of this server: those that others have, and each part of this one.
pub(super) async fn paths(config: &Config) -> Result<Vec<Asked>, Trouble> {
    let mut asked = Vec::new();
    for path in candidates(path(&config.url)) {
        let report = examine(&bare(config, &config.url, &path), false, None).await?;
        let (found, is_there) = match (report.failure(), status_of(&report)) {
            (None, _) => ("a WebSocket".to_owned(), true),
            (Some(_), Some(status @ (401 | 403))) => (
                format!("{status}, so it may be there, for those with a credential"),
                true,
            ),
            (Some(_), Some(status)) => (status.to_string(), false),
            (Some(failure), None) => (format!("it fails at {}", failure.name), false),
        };
        let what = path;
        asked.push(Asked { what, found, is_there });
    }
    Ok(asked)
}

/// The paths to ask for, instead of this one.
fn candidates(own: &str) -> Vec<String> {
    let own = own.trim_end_matches('/');
    let parts = own.match_indices('/').map(|(end, _)| &own[..end]);
    let mut paths = Vec::new();
    for path in PATHS
        .into_iter()
        .chain(parts.filter(|part| !part.is_empty()).take(PARTS))
    {
        if path.trim_end_matches('/') != own && !paths.iter().any(|other| other == path) {
            paths.push(path.to_owned());
        }
    }
    paths
}

fn status_of(report: &Report) -> Option<u16> {
    report.failure()?.cause.as_ref()?.status
}

/// The same, but for who asks, and with this path.
fn bare(config: &Config, url: &str, path: &str) -> Config {
    let mut other = config.clone();
    other.url = format!("{}{path}", &url[..end_of_host(url)]);
    other.auth = AuthSettings::default();
    other.headers.clear();
    other
}

/// Without query and fragment.
fn path(url: &str) -> &str {
    let path = &url[end_of_host(url)..];
    &path[..path.find(['?', '#']).unwrap_or(path.len())]
}

/// Where scheme, host and port end.
fn end_of_host(url: &str) -> usize {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    url[host..].find(['/', '?', '#']).map_or(url.len(), |end| host + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_others_and_parts_of_ones_own() {
        assert_eq!(path("wss://host:1/a/b?c=/d#e"), "/a/b");
        assert_eq!(path("wss://host?c"), "");
        assert_eq!(candidates(""), ["/ws", "/mcp", "/message"]);
        assert_eq!(candidates("/mcp/"), ["/", "/ws", "/message"]);
        assert_eq!(
            candidates("/api/v1/mcp"),
            ["/", "/ws", "/mcp", "/message", "/api", "/api/v1"]
        );
    }

    #[test]
    fn whoever_is_there_is_shown_nothing() {
        let mut config = Config::default();
        config.url = "wss://user:s3cr3t@host:1/s3cr3t?key=s3cr3t".to_owned();
        config.headers.insert("x-key".to_owned(), "s3cr3t".to_owned());
        let other = bare(&config, &config.url, "/ws");
        assert!(other.headers.is_empty() && other.auth == AuthSettings::default());
        assert_eq!(path(&other.url), "/ws");
    }
}
