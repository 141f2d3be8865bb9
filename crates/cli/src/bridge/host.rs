//! What belongs into the settings of a program that starts MCP servers.

use serde_json::{Value, json};

use crate::{
    args::{Connection, Host},
    exit::{Exit, Trouble},
    output::{remark, tell},
    settings::Settings,
};

/// Prints it.
pub(super) fn print(host: Host, url: &str, connection: &Connection) -> Result<Exit, Trouble> {
    // An address that is none is told now.
    let settings = Settings::load(Some(url), connection)?;
    let program = std::env::current_exe().map_or_else(|_| "tower-ws".to_owned(), |path| path.display().to_string());
    let arguments = arguments(std::env::args().skip(1));
    let entry = json!({ "command": program, "args": arguments });
    let told = match host {
        Host::Codex => {
            let arguments: Vec<_> = arguments
                .iter()
                .map(|argument| Value::from(&**argument).to_string())
                .collect();
            format!(
                "[mcp_servers.server]\ncommand = {}\nargs = [{}]\nstartup_timeout_sec = 20",
                Value::from(program),
                arguments.join(", ")
            )
        }
        Host::Vscode => pretty(&json!({ "servers": { "server": with_type(entry) } })),
        Host::Code => pretty(&json!({ "mcpServers": { "server": with_type(entry) } })),
        Host::Claude | Host::Cursor => pretty(&json!({ "mcpServers": { "server": entry } })),
        Host::Zed => {
            let mut entry = entry;
            entry["source"] = "custom".into();
            pretty(&json!({ "context_servers": { "server": entry } }))
        }
    };
    tell(&told);
    let mut said: Vec<_> = settings.places.values().collect();
    said.sort_unstable();
    said.dedup();
    for name in said.into_iter().filter(|place| place.starts_with("TOWER_WS_")) {
        remark(&format!(
            "tower-ws: {name} counts here, and a host passes it on only if its settings say so, in `env`"
        ));
    }
    Ok(Exit::Done)
}

fn with_type(mut entry: Value) -> Value {
    entry["type"] = "stdio".into();
    entry
}

fn pretty(value: &Value) -> String {
    // A value is always JSON.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The command line as it was given, but for what asked for this; with whole paths, for a host starts it elsewhere.
fn arguments(given: impl Iterator<Item = String>) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut given = given;
    while let Some(argument) = given.next() {
        if argument == "--print-config" {
            given.next();
            continue;
        }
        if argument.starts_with("--print-config=") {
            continue;
        }
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (argument.as_str(), None),
        };
        let takes_path = PATHS.contains(&option);
        match value {
            Some(value) if takes_path => arguments.push(format!("{option}={}", whole(value))),
            _ => arguments.push(argument.clone()),
        }
        if let (true, None) = (takes_path, value) {
            arguments.extend(given.next().map(|path| whole(&path)));
        }
    }
    arguments
}

/// Options that take a path.
const PATHS: [&str; 8] = [
    "-c",
    "--config",
    "--header-file",
    "--token-file",
    "--roots",
    "--cert",
    "--key",
    "--log-file",
];

/// A path from the root on, if it is one of this folder's.
fn whole(path: &str) -> String {
    if path == "system" || path == "mozilla" {
        return path.to_owned();
    }
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}
