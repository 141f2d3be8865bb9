//! What the person on call reads: who, what, whose fault.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::{env, process::Command, sync::Mutex};

use support::{bounded, builder, eager};
use tower_ws_test_kit::{Script, Server};
use tracing::Level;

/// Runs a connect in a process of its own and returns what it logs: a log is a process's, and so is
/// an environment.
fn logged_by(test: &str, vars: &[(&str, &str)]) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .envs(vars.iter().copied())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{log}");
    log
}

const CHILD: &str = "TOWER_WS_WORDS";

fn is_child() -> bool {
    let is_child = env::var_os(CHILD).is_some();
    if is_child {
        tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .with_writer(Mutex::new(std::io::stdout()))
            .init();
    }
    is_child
}

#[tokio::test]
async fn each_line_names_its_session_and_server() {
    if !is_child() {
        let log = logged_by("each_line_names_its_session_and_server", &[]);
        let lines: Vec<_> = log.lines().filter(|line| line.contains(" tower_ws_")).collect();
        assert!(lines.len() >= 5, "{log}");
        for line in &lines {
            assert!(line.contains("session{id="), "{line}");
            assert!(line.contains("server=\"127.0.0.1:"), "{line}");
            assert!(!line.contains("a-path") && !line.contains("a-query"), "{line}");
        }
        for words in [
            "INFO",
            "name=\"orders\"",
            "server=ws://127.0.0.1:",
            "uptime_ms=",
            "it says \"come again\"",
            "kind=\"auth\"",
        ] {
            assert!(log.contains(words), "{words}: {log}");
        }
        return;
    }
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let url = format!("{}a-path?a-query", server.url());
    let (client, mut inbound) = bounded(builder(&url).name("orders").connect()).await.unwrap();
    let busy = Script::Status {
        code: 503,
        headers: Vec::new(),
        body: "come again".into(),
    };
    server.play_each([busy, Script::json_rpc()]);
    server.cut(tower_ws_test_kit::Cut::Rst);
    while !matches!(bounded(inbound.next()).await, Some(tower_ws::Incoming::Up(up)) if up.epoch == 2) {}
    drop(client);
    server.play(Script::status(401, &[]));
    let refused = builder(&url).reconnect(eager()).connect();
    let error = bounded(refused).await.map(drop).unwrap_err();
    assert_eq!(error.refusal().unwrap().status(), 401);
}

#[tokio::test]
async fn a_proxy_that_is_set_and_not_used_is_told() {
    if !is_child() {
        let said = |vars: &[(&str, &str)]| {
            let log = logged_by("a_proxy_that_is_set_and_not_used_is_told", vars);
            log.matches("which is not used").count()
        };
        assert_eq!(said(&[("HTTPS_PROXY", "http://proxy.invalid:3128")]), 1);
        assert_eq!(
            said(&[("HTTPS_PROXY", "http://proxy.invalid:3128"), ("NO_PROXY", "*")]),
            0
        );
        return;
    }
    for _ in 0..2 {
        let connecting = builder("wss://server.invalid/")
            .reconnect(eager().fail_fast())
            .connect();
        assert!(bounded(connecting).await.is_err());
    }
}
