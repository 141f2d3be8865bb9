//! The columns of the table: the clients, and what is to be known of each.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::{BoxError, Settings};

/// A client.
#[derive(Debug)]
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    /// As its package is called, in Cargo.lock or in `install`.
    package: &'static str,
    /// Which of the server's languages it speaks.
    pub(crate) path: &'static str,
    launch: Launch,
    /// It dials again by itself. Without that there is nothing to be said of its dials.
    pub(crate) redials: bool,
    /// It knows of calls, and so of what became of one. Without that it knows of messages.
    pub(crate) calls: bool,
    /// What its defaults are, where that needs to be said.
    pub(crate) defaults: &'static str,
    /// What its best settings are, if it has settings that matter here.
    pub(crate) best: Option<&'static str>,
}

#[derive(Debug)]
enum Launch {
    /// This program.
    Rust,
    /// A script below `clients`.
    Python(&'static str),
    Node(&'static str),
}

impl Rival {
    pub(crate) const ALL: [Self; 8] = [
        Self {
            name: "tower-ws",
            package: "tower-ws",
            path: "/rpc",
            launch: Launch::Rust,
            redials: true,
            calls: true,
            defaults: "`tower_ws::connect`",
            best: Some("ping after 10 s, 10 s for the answer; `Lag::Wait` for pushes"),
        },
        Self {
            name: "alloy",
            package: "alloy-transport-ws",
            path: "/ethereum",
            launch: Launch::Rust,
            redials: true,
            calls: true,
            defaults: "`RpcClient::connect_pubsub(WsConnect::new(url))`",
            best: Some(
                "unlimited retries from 1 s on, keepalive 3 s, room for 16,384 pushes, a `PubSubConnect` that \
                 fetches a token for each dial",
            ),
        },
        Self {
            name: "ezsockets",
            package: "ezsockets",
            path: "/text",
            launch: Launch::Rust,
            redials: true,
            calls: false,
            defaults: "`ClientConfig::new(url)`",
            best: Some("dials 2 s apart, heartbeat 5 s, timeout 20 s"),
        },
        Self {
            name: "jsonrpsee",
            package: "jsonrpsee-ws-client",
            path: "/rpc",
            launch: Launch::Rust,
            redials: false,
            calls: true,
            defaults: "`WsClientBuilder::default()`",
            best: Some("pings each 10 s, inactive limit 20 s, room for 16,384 pushes"),
        },
        Self {
            name: "tower-mcp",
            package: "tower-mcp",
            path: "/mcp",
            launch: Launch::Rust,
            redials: false,
            calls: true,
            defaults: "`WebSocketClientTransport::connect(url)`; it has no settings that matter here",
            best: None,
        },
        Self {
            name: "websockets",
            package: "websockets",
            path: "/text",
            launch: Launch::Python("websockets_client.py"),
            redials: true,
            calls: false,
            defaults: "`async for connection in connect(url)`",
            best: Some(
                "ping 10 s, 10 s for the answer, close timeout 1 s; 401, 404, 408 and 429 are retried, too; waits \
                 between failed dials grow from 1 to 20 s",
            ),
        },
        Self {
            name: "partysocket",
            package: "partysocket",
            path: "/text",
            launch: Launch::Node("partysocket.mjs"),
            redials: true,
            calls: false,
            defaults: "`new WebSocket(url)`, over `ws`",
            best: Some("at most 1,000 messages wait, connection timeout 10 s, a URL provider that fetches a token"),
        },
        Self {
            name: "SignalR",
            package: "@microsoft/signalr",
            path: "/signalr",
            launch: Launch::Node("signalr.mjs"),
            redials: true,
            calls: true,
            defaults: "`withAutomaticReconnect()`, WebSockets without negotiation",
            best: Some("a retry policy that never ends, 1 to 20 s with jitter; keepalive 10 s, server timeout 20 s"),
        },
    ];

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|rival| rival.name == name)
    }

    pub(crate) fn settings(&self) -> Vec<Settings> {
        match self.best {
            Some(_) => vec![Settings::Defaults, Settings::Best],
            None => vec![Settings::Defaults],
        }
    }

    /// As it is built, or as `install` installs it.
    pub(crate) fn version(&self) -> &'static str {
        let locked = format!("\nname = \"{}\"\nversion = \"", self.package);
        let (of_python, of_node) = (format!(" {}==", self.package), format!(" {}@", self.package));
        let behind = |text: &'static str, mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let install = include_str!("../install");
        behind(include_str!("../Cargo.lock"), &locked)
            .or_else(|| behind(install, &of_python))
            .or_else(|| behind(install, &of_node))
            .and_then(|rest| rest.split(['"', ' ', '\n', ')']).next())
            .unwrap_or_default()
    }

    /// What starts it, unless it is not installed: then why not.
    pub(crate) fn command(&self) -> Result<Command, BoxError> {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let (program, arguments) = match self.launch {
            Launch::Rust => (std::env::current_exe()?, vec!["client".into(), self.name.into()]),
            Launch::Python(script) => (installed("python/bin/python")?, vec![clients.join(script)]),
            Launch::Node(script) => {
                installed("node/node_modules")?;
                ("node".into(), vec![clients.join(script)])
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).env("TOWER_WS_RIVALS", rivals());
        Ok(command)
    }
}

/// Where `install` puts them.
fn rivals() -> PathBuf {
    match std::env::var_os("TOWER_WS_RIVALS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rivals"),
    }
}

fn installed(path: &str) -> Result<PathBuf, BoxError> {
    let path = rivals().join(path);
    match path.try_exists() {
        Ok(true) => Ok(path),
        _ => Err(format!("{} is not there: ./install installs it", path.display()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_each_is_known() {
        for rival in &Rival::ALL {
            assert!(
                rival.version().starts_with(|c: char| c.is_ascii_digit()),
                "{}",
                rival.name
            );
        }
    }
}
