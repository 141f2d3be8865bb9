//! What belongs into the settings of a program that starts MCP servers.

use serde_json::{Value, json};

use crate::{
    args::{Connection, Host},
    exit::{Exit, Trouble},
    output::tell,
    settings::Settings,
};

/// Prints it.
pub(super) fn print(host: Host, url: &str, connection: &Connection) -> Result<Exit, Trouble> {
    // An address that is none is told now.
    Settings::load(Some(url), connection)?;
    let program = std::env::current_exe().map_or_else(|_| "tower-ws".to_owned(), |path| path.display().to_string());
    let mut arguments = vec!["bridge".to_owned(), url.to_owned()];
    let options = [
        (
            "--config",
            connection.config.as_ref().map(|path| path.display().to_string()),
        ),
        ("--profile", connection.profile.clone()),
        (
            "--token-file",
            connection.token_file.as_ref().map(|path| path.display().to_string()),
        ),
        ("--token-env", connection.token_env.clone()),
        ("--token-command", connection.token_command.clone()),
        (
            "--header-file",
            connection.header_file.as_ref().map(|path| path.display().to_string()),
        ),
    ];
    for (option, value) in options {
        arguments.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
    }
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
