//! What somebody who helps has to know, and nothing that they must not.

use serde_json::{Value, json};

use crate::{config, settings::Settings};

/// Variables of others that change the way to a server. What they are is not told: there may be a password in it.
const VARIABLES: [&str; 10] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

pub(super) fn of(settings: &Settings, report: &Value) -> Value {
    let said: Vec<_> = config::said(settings)
        .into_iter()
        .map(|said| json!({ "setting": said.path, "value": said.value, "place": said.place }))
        .collect();
    let variables = VARIABLES.iter().filter(|name| std::env::var_os(name).is_some());
    json!({
        "program": format!("tower-ws {}", env!("CARGO_PKG_VERSION")),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "at": super::now(),
        "report": report,
        "settings": said,
        "variables": variables.collect::<Vec<_>>(),
    })
}
