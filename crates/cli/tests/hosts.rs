//! The bridge beneath real hosts: the stdio clients of the official SDKs, while the server dies and comes back. Each is a process
//! of its own, which `tests/peers/install` installs.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

#[path = "../../../examples/support/mcp_server.rs"]
#[allow(dead_code, reason = "not all of it is wanted here")]
mod mcp_server;
mod support;

use std::{
    env, fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mcp_server::McpServer;
use serde_json::Value;
use support::Program;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};
use tower_ws_test_kit::{Fault, Proxy, Script, Server};

#[derive(Clone, Copy)]
enum Kind {
    Python,
    Typescript,
}

impl Kind {
    /// How it is started. `None`, said aloud, if it has not been installed; with `TOWER_WS_PEERS_REQUIRED` set that is a
    /// failure.
    fn command(self) -> Option<Command> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let installed = env::var_os("TOWER_WS_PEERS").map_or_else(|| root.join("target/peers"), PathBuf::from);
        let (name, script) = match self {
            Self::Python => ("python-legacy", "python_host.py"),
            Self::Typescript => ("typescript-host", "typescript_host.mjs"),
        };
        let (home, script) = (installed.join(name), root.join("tests/peers").join(script));
        if !home.join("complete").exists() {
            let required = env::var_os("TOWER_WS_PEERS_REQUIRED").is_some();
            assert!(!required, "{name} is not installed: run tests/peers/install");
            // Not by `println!`, which the test runner keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: {name} is not installed; tests/peers/install does it"
            );
            return None;
        }
        Some(match self {
            Self::Python => {
                let mut command = Command::new(home.join("venv/bin/python"));
                command.arg(script);
                command
            }
            Self::Typescript => {
                // Modules are looked for beside the script; another test may be reading it.
                let (copy, beside) = (tempfile::NamedTempFile::new_in(&home), home.join("typescript_host.mjs"));
                let copy = copy.unwrap().into_temp_path();
                fs::copy(script, &copy).unwrap();
                copy.persist(&beside).unwrap();
                let mut command = Command::new("node");
                command.arg(beside);
                command
            }
        })
    }
}

/// A host with a bridge beneath it.
struct Host {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Host {
    /// `None`, said aloud, if it has not been installed.
    fn start(kind: Kind, program: &Program, server: SocketAddr) -> Option<Self> {
        let mut command = kind.command()?;
        let url = format!("ws://{server}/mcp");
        command
            .args([env!("CARGO_BIN_EXE_tower-ws"), "bridge", &url, "-q"])
            .args(["--set", "reconnect.cap=1s", "--call-timeout", "5s"])
            .env("HOME", program.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // Caches are the user's.
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self { process, output })
    }

    /// What it tells next under this name; whatever else it tells goes into `told`.
    async fn until(&mut self, name: &str, told: &mut Vec<Value>) -> Value {
        loop {
            let line = timeout(Duration::from_secs(60), self.output.next_line())
                .await
                .unwrap_or_else(|_| panic!("{name} does not come, after {told:?}"))
                .unwrap();
            let mut line: Value = serde_json::from_str(&line.expect("it goes on")).unwrap();
            if let Some(value) = line.get_mut(name) {
                return value.take();
            }
            told.push(line);
        }
    }

    /// Its user closes it.
    async fn leave(mut self) {
        drop(self.process.stdin.take());
        let ended = timeout(Duration::from_secs(20), self.process.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }
}

/// A call that was in flight when the server died says what became of it; all others are answered.
async fn lives_through_ten_deaths(kind: Kind) {
    let mut server = McpServer::start().await.unwrap();
    let program = Program::new();
    let Some(mut host) = Host::start(kind, &program, server.addr()) else {
        return;
    };
    let mut told = Vec::new();
    assert_eq!(host.until("up", &mut told).await[0], "add");
    for _ in 0..10 {
        for _ in 0..3 {
            host.until("sum", &mut told).await;
        }
        server.kill();
        sleep(Duration::from_millis(200)).await;
        server.restart().await.unwrap();
    }
    host.until("sum", &mut told).await;
    host.leave().await;
    let (changed, failed): (Vec<_>, Vec<_>) = told.iter().partition(|line| line.get("changed").is_some());
    assert!(!changed.is_empty(), "the tools may be others: {told:?}");
    // The bridge was not started again.
    assert!(failed.iter().all(|line| line.get("failed").is_some()), "{failed:?}");
    assert!(failed.len() <= 10, "{failed:?}");
    for line in failed {
        assert!(line["failed"]["towerWs"].is_string(), "{line}");
    }
}

/// First nothing is known of the server, then it is remembered.
async fn waits_for_an_absent_server(kind: Kind) {
    let mut server = McpServer::start().await.unwrap();
    server.kill();
    let program = Program::new();
    let Some(mut host) = Host::start(kind, &program, server.addr()) else {
        return;
    };
    let mut told = Vec::new();
    let refused = host.until("refused", &mut told).await;
    assert!(refused.as_str().unwrap().contains("refused"), "{refused}");
    server.restart().await.unwrap();
    assert_eq!(host.until("up", &mut told).await[0], "add");
    host.until("sum", &mut told).await;
    host.leave().await;

    server.kill();
    let mut told = Vec::new();
    let mut host = Host::start(kind, &program, server.addr()).unwrap();
    assert_eq!(host.until("up", &mut told).await[0], "add");
    server.restart().await.unwrap();
    host.until("sum", &mut told).await;
    host.leave().await;
    assert!(!told.iter().any(|line| line.get("refused").is_some()), "{told:?}");
}

/// A call that the server has and does not answer ends before the host's patience, and says so; then all goes on.
async fn lives_through_a_frozen_server(kind: Kind) {
    let server = McpServer::start().await.unwrap();
    let between = Proxy::start(server.addr()).await.unwrap();
    let program = Program::new();
    let Some(mut host) = Host::start(kind, &program, between.addr()) else {
        return;
    };
    let mut told = Vec::new();
    host.until("sum", &mut told).await;
    between.set(Fault::Stall);
    let failed = host.until("failed", &mut told).await;
    assert_eq!(failed["towerWs"], "outcomeUnknown", "{failed}");
    between.set(Fault::None);
    host.until("sum", &mut told).await;
    host.leave().await;
    assert!(!told.iter().any(|line| line.get("refused").is_some()), "{told:?}");
}

/// What the server refuses it with is what the host tells its user.
async fn hears_why_it_is_refused(kind: Kind) {
    for status in [401, 404] {
        let server = Server::start(Script::status(status, &[])).await.unwrap();
        let program = Program::new();
        let Some(mut host) = Host::start(kind, &program, server.addr()) else {
            return;
        };
        let refused = host.until("refused", &mut Vec::new()).await;
        let words = format!("http status {status}");
        assert!(refused.as_str().unwrap().contains(&words), "{refused}");
        host.leave().await;
    }
}

#[tokio::test]
async fn a_python_host_lives_through_a_frozen_server() {
    lives_through_a_frozen_server(Kind::Python).await;
}

#[tokio::test]
async fn a_typescript_host_lives_through_a_frozen_server() {
    lives_through_a_frozen_server(Kind::Typescript).await;
}

#[tokio::test]
async fn a_python_host_hears_why_it_is_refused() {
    hears_why_it_is_refused(Kind::Python).await;
}

#[tokio::test]
async fn a_typescript_host_hears_why_it_is_refused() {
    hears_why_it_is_refused(Kind::Typescript).await;
}

#[tokio::test]
async fn a_python_host_lives_through_ten_deaths_of_its_server() {
    lives_through_ten_deaths(Kind::Python).await;
}

#[tokio::test]
async fn a_typescript_host_lives_through_ten_deaths_of_its_server() {
    lives_through_ten_deaths(Kind::Typescript).await;
}

#[tokio::test]
async fn a_python_host_waits_for_an_absent_server() {
    waits_for_an_absent_server(Kind::Python).await;
}

#[tokio::test]
async fn a_typescript_host_waits_for_an_absent_server() {
    waits_for_an_absent_server(Kind::Typescript).await;
}
