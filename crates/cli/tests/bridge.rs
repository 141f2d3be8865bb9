//! The bridge, as an MCP host sees it, before a real server that dies, is late, or refuses.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

#[path = "../../../examples/support/mcp_server.rs"]
#[allow(dead_code, reason = "not all of it is wanted here")]
mod mcp_server;
mod support;

use std::{process::Stdio, time::Duration};

use mcp_server::McpServer;
use serde_json::{Value, json};
use support::Program;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};
use tower_ws_test_kit::{Fault, Proxy, Script, Server};

const SECOND: Duration = Duration::from_secs(1);

/// A host with a bridge.
struct Host {
    bridge: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    last: u64,
}

impl Host {
    fn start(program: &Program, args: &[&str]) -> Self {
        Self::of(program.command(&[&["bridge"], args].concat()))
    }

    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        let mut bridge = command.spawn().unwrap();
        Self {
            input: bridge.stdin.take().unwrap(),
            output: BufReader::new(bridge.stdout.take().unwrap()).lines(),
            bridge,
            last: 0,
        }
    }

    async fn say(&mut self, message: Value) {
        self.input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    /// Asks, and gives the id.
    async fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        self.say(json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params }))
            .await;
        self.last
    }

    /// The next message; each line is one.
    async fn hear(&mut self) -> Value {
        let line = timeout(30 * SECOND, self.output.next_line())
            .await
            .expect("it answers")
            .unwrap();
        serde_json::from_str(&line.expect("it goes on")).expect("nothing but JSON")
    }

    /// The answer to this request; notifications before it are passed over.
    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.hear().await;
            if message["id"] == id {
                return message;
            }
            assert!(message.get("method").is_some(), "{message}");
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        self.answer(id).await
    }

    async fn initialize(&mut self) -> Value {
        let client = json!({ "name": "host", "version": "1" });
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        let answer = self.call("initialize", params).await;
        self.say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        answer
    }

    async fn add(&mut self, a: u32) -> Value {
        self.call("tools/call", json!({ "name": "add", "arguments": { "a": a, "b": 1 } }))
            .await
    }

    /// Ends its input, and gives the code.
    async fn leave(mut self) -> (Option<i32>, Duration) {
        drop(self.input);
        let began = Instant::now();
        let status = timeout(10 * SECOND, self.bridge.wait())
            .await
            .expect("it ends")
            .unwrap();
        (status.code(), began.elapsed())
    }
}

fn url(server: &McpServer) -> String {
    format!("ws://{}/mcp", server.addr())
}

#[tokio::test]
async fn a_host_works_through_ten_deaths_of_its_server() {
    let mut server = McpServer::start().await.unwrap();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url(&server), "--set", "reconnect.cap=1s"]);
    let introduced = host.initialize().await;
    assert_eq!(introduced["result"]["protocolVersion"], "2025-06-18", "{introduced}");
    for n in 0..10 {
        let sum = host.add(n).await;
        assert_eq!(sum["result"]["content"][0]["text"], (n + 1).to_string(), "{sum}");
        server.kill();
        // What only reads waits for the next one.
        let id = host.ask("tools/list", json!({})).await;
        server.restart().await.unwrap();
        let tools = host.answer(id).await;
        assert_eq!(tools["result"]["tools"][0]["name"], "add", "{tools}");
    }
    let (code, took) = host.leave().await;
    assert_eq!(code, Some(0));
    assert!(took < 5 * SECOND, "{took:?}");
}

/// A host gives up after ten seconds.
#[tokio::test]
async fn a_server_that_is_not_there_is_told_of_and_waited_for() {
    let server = McpServer::start().await.unwrap();
    let url = url(&server);
    let program = Program::new();
    // Nothing is remembered yet.
    let mut gone = server;
    gone.kill();
    let mut host = Host::start(&program, &[&url, "--set", "reconnect.cap=1s"]);
    let began = Instant::now();
    let refused = host.initialize().await;
    assert!(began.elapsed() < 10 * SECOND);
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    assert_eq!(refused["error"]["data"]["towerWs"], "notSent", "{refused}");
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("refused"),
        "{refused}"
    );
    // It is alive, and once the server is there it works.
    gone.restart().await.unwrap();
    assert!(host.initialize().await["result"].is_object());
    assert!(host.add(1).await["result"].is_object());
    let tools = host.call("tools/list", json!({})).await;
    assert!(tools["result"].is_object(), "{tools}");
    assert_eq!(host.leave().await.0, Some(0));

    // From now on it is remembered.
    gone.kill();
    let mut host = Host::start(&program, &[&url, "--set", "reconnect.cap=1s"]);
    let introduced = host.initialize().await;
    assert!(
        introduced["result"]["capabilities"]["tools"].is_object(),
        "{introduced}"
    );
    let remembered = host.call("tools/list", json!({})).await;
    assert_eq!(remembered["result"], tools["result"], "{remembered}");
    gone.restart().await.unwrap();
    // It may be another now.
    assert_eq!(host.hear().await["method"], "notifications/tools/list_changed");
    assert!(host.add(1).await["result"].is_object());
}

#[tokio::test]
async fn a_refusal_is_told_in_the_protocol_and_the_bridge_stays() {
    let server = Server::start(Script::status(401, &[])).await.unwrap();
    let program = Program::new();
    let url = server.url();
    let mut host = Host::start(&program, &[&url]);
    let refused = host.initialize().await;
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("401"),
        "{refused}"
    );
    let refused = host.call("tools/list", json!({})).await;
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("401"),
        "{refused}"
    );
    assert_eq!(host.leave().await.0, Some(0));

    let mut host = Host::start(&program, &[&url, "--exit-on-final"]);
    assert!(host.initialize().await["error"].is_object());
    let status = timeout(30 * SECOND, host.bridge.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(status.code(), Some(7));
}

/// The model reads what has become of its call, rather than the host's bare timeout.
#[tokio::test]
async fn a_call_that_is_not_answered_ends_before_the_host_gives_up() {
    let mut server = McpServer::start().await.unwrap();
    let program = Program::new();
    let mut host = Host::start(
        &program,
        &[&url(&server), "--call-timeout", "1s", "--set", "reconnect.cap=1s"],
    );
    host.initialize().await;
    server.kill();
    sleep(SECOND).await;
    // The connection is gone, and nothing goes out.
    let unsent = host.add(1).await;
    assert_eq!(unsent["error"]["data"]["towerWs"], "notSent", "{unsent}");
    let why = unsent["error"]["message"].as_str().unwrap();
    assert!(why.contains("within 1s; the request was not sent"), "{unsent}");
    server.restart().await.unwrap();
    // It is back within a second or two, and each call waits for one.
    let served = async { while !host.call("tools/list", json!({})).await["result"].is_object() {} };
    timeout(60 * SECOND, served).await.expect("it is back");
    // Nor did it go out later.
    assert_eq!(server.used(), 0);
}

/// Nobody knows what a server that is stuck has done.
#[tokio::test]
async fn a_call_that_a_stuck_server_has_is_of_unknown_outcome() {
    let server = McpServer::start().await.unwrap();
    let between = Proxy::start(server.addr()).await.unwrap();
    let program = Program::new();
    let mut host = Host::start(&program, &[&between.url(), "--call-timeout", "1s"]);
    host.initialize().await;
    between.set(Fault::Stall);
    let sent = host.add(1).await;
    assert_eq!(sent["error"]["data"]["towerWs"], "outcomeUnknown", "{sent}");
    let why = sent["error"]["message"].as_str().unwrap();
    assert!(
        why.contains("within 1s; the request was sent: outcome unknown"),
        "{sent}"
    );
    // It goes on once the server does.
    between.set(Fault::None);
    assert!(host.add(1).await["result"].is_object());
}

/// Takes connections and never says a word.
#[tokio::test]
async fn a_server_that_is_stuck_is_told_of() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let program = Program::new();
    let mut host = Host::start(&program, &[&url, "--start", "fail"]);
    let began = Instant::now();
    let refused = host.initialize().await;
    assert!(began.elapsed() < 10 * SECOND);
    assert!(refused["error"].is_object(), "{refused}");
}

#[tokio::test]
async fn what_is_no_message_is_answered_as_such() {
    let server = McpServer::start().await.unwrap();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url(&server)]);
    host.input.write_all(b"hello\n\n").await.unwrap();
    let answer = host.hear().await;
    assert_eq!(
        (&answer["error"]["code"], &answer["id"]),
        (&json!(-32700), &Value::Null)
    );
    assert!(host.initialize().await["result"].is_object());
}

/// SIGTERM is a goodbye.
#[tokio::test]
async fn a_signal_ends_it_well() {
    let server = McpServer::start().await.unwrap();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url(&server)]);
    host.initialize().await;
    let id = host.bridge.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
    let began = Instant::now();
    let status = timeout(10 * SECOND, host.bridge.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < 5 * SECOND);
}

/// A tool that failed is told by the code, too.
#[tokio::test]
async fn a_call_of_a_tool_from_the_command_line() {
    let server = McpServer::start().await.unwrap();
    let program = Program::new();
    let call = |params: &'static str| {
        let (program, url) = (&program, url(&server));
        async move { program.run(&["call", &url, "tools/call", params]).await }
    };
    let ended = call(r#"{"name":"add","arguments":{"a":1,"b":2}}"#).await;
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (ended.code, &answer["content"][0]["text"]),
        (Some(0), &json!("3")),
        "{ended:?}"
    );
    let ended = call(r#"{"name":"add","arguments":{"a":"one"}}"#).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ended = program.run(&["doctor", &url(&server), "--mcp"]).await;
    assert!(
        ended.code == Some(0) && ended.out.contains("it offers tools"),
        "{ended:?}"
    );
}

/// Somebody pays again then.
#[tokio::test]
async fn what_the_host_was_told_is_not_sent_never_is() {
    let mut server = McpServer::start().await.unwrap();
    let url = url(&server);
    server.kill();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url, "--call-timeout", "1s", "--set", "reconnect.cap=1s"]);
    let client = json!({ "name": "host", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let opening = host.ask("initialize", params).await;
    let told = host.add(1).await;
    assert_eq!(told["error"]["data"]["towerWs"], "notSent", "{told}");
    server.restart().await.unwrap();
    let opened = host.answer(opening).await;
    assert!(opened["result"].is_object(), "{opened}");
    assert!(host.add(2).await["result"].is_object());
    assert_eq!(server.used(), 1);
}

/// Two accounts that take turns in one variable are two still.
#[tokio::test]
async fn what_is_remembered_of_a_server_is_of_one_account() {
    let server = McpServer::start().await.unwrap();
    let url = url(&server);
    let program = Program::new();
    let start = |token: &str| {
        let mut command = program.command(&["bridge", &url, "--set", "reconnect.cap=1s"]);
        command.env("TOWER_WS_TOKEN", token);
        Host::of(command)
    };
    let mut host = start("first-account");
    let introduced = host.initialize().await;
    assert!(host.call("tools/list", json!({})).await["result"].is_object());
    assert_eq!(host.leave().await.0, Some(0));
    server.kill();
    let (mut other, mut same) = (start("other-account"), start("first-account"));
    let (refused, remembered) = tokio::join!(other.initialize(), same.initialize());
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    assert_eq!(remembered["result"], introduced["result"], "{remembered}");
    // No token is told by what is kept, nor by what it is called.
    let kept = program.home().join(".cache/tower-ws/bridge");
    for file in std::fs::read_dir(kept).unwrap() {
        let path = file.unwrap().path();
        let text = [path.display().to_string().into_bytes(), std::fs::read(&path).unwrap()].concat();
        assert!(
            !text.windows(13).any(|part| part == b"first-account"),
            "{}",
            path.display()
        );
    }
}

/// Of the era that has no `initialize`.
#[tokio::test]
async fn a_modern_host_is_answered_in_time_too() {
    let mut server = McpServer::start().await.unwrap();
    let url = url(&server);
    server.kill();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url, "--set", "reconnect.cap=1s"]);
    let began = Instant::now();
    let told = host.call("server/discover", json!({})).await;
    assert!(began.elapsed() < 10 * SECOND);
    assert_eq!(told["error"]["code"], -32000, "{told}");
    server.restart().await.unwrap();
    let discovered = host.call("server/discover", json!({})).await;
    assert!(
        discovered["result"]["capabilities"]["tools"].is_object(),
        "{discovered}"
    );
    assert_eq!(host.leave().await.0, Some(0));

    // It is remembered, for those who ask the same.
    server.kill();
    let mut host = Host::start(&program, &[&url, "--set", "reconnect.cap=1s"]);
    let remembered = host.call("server/discover", json!({})).await;
    assert_eq!(remembered["result"], discovered["result"], "{remembered}");
    assert!(host.initialize().await["error"].is_object());
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_end_it() {
    let server = McpServer::start().await.unwrap();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url(&server)]);
    host.input.write_all(b"\xff\n[1,2]\n").await.unwrap();
    for _ in 0..2 {
        assert_eq!(host.hear().await["error"]["code"], -32700);
    }
    let id = json!({ "jsonrpc": "2.0", "id": null, "method": "tools/list" });
    host.say(id).await;
    assert_eq!(host.hear().await["error"]["code"], -32600);
    assert!(host.initialize().await["result"].is_object());
}

/// Nor does a log that nobody reads.
#[tokio::test]
async fn a_host_that_reads_no_log_loses_nothing() {
    let mut server = McpServer::start().await.unwrap();
    let program = Program::new();
    let mut host = Host::start(&program, &[&url(&server), "-vv", "--set", "reconnect.cap=1s"]);
    drop(host.bridge.stderr.take());
    host.initialize().await;
    for n in 0..3 {
        server.kill();
        server.restart().await.unwrap();
        let sum = host.call("tools/list", json!({})).await;
        assert!(sum["result"].is_object(), "{n}: {sum}");
    }
    assert_eq!(host.leave().await.0, Some(0));
}
