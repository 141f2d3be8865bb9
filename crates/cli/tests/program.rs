//! The commands, against servers good and bad.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use futures_util::SinkExt;
use serde_json::{Value, json};
use support::Program;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tower_ws_test_kit::{Cut, Script, Server};

/// Nothing that the program says may have it.
const SECRET: &str = "s3cr3t-t0ken-0123456789";

#[tokio::test]
async fn a_call_writes_the_answer_and_nothing_else() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let url = server.url();
    let program = Program::new();
    {
        let ended = program.run(&["call", "--json-rpc", &url, "echo", "[1, 2]"]).await;
        assert_eq!(
            (ended.code, ended.out.as_str(), ended.err.as_str()),
            (Some(0), "[1,2]\n", ""),
            "{ended:?}"
        );
        let ended = program
            .run_with(&["call", "--json-rpc", &url, "echo", "-"], "{\"a\":1}")
            .await;
        assert_eq!(ended.out, "{\"a\":1}\n", "{ended:?}");
        let ended = program.run(&["call", "--json-rpc", &url, "echo", "{oops"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("the parameters are no JSON"), "{ended:?}");
        let ended = program.run(&["call", "--json-rpc", "ws://127.0.0.1:1/", "echo"]).await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.err.contains("tower-ws doctor"), "{ended:?}");
        // There is a WebSocket, and not one of MCP.
        let other = Server::start(Script::close(1002, "what is that?")).await.unwrap();
        let ended = program.run(&["call", &other.url(), "tools/list"]).await;
        assert_eq!(ended.code, Some(9), "{ended:?}");
        assert!(
            ended.err.contains("--json-rpc calls a server that speaks no MCP"),
            "{ended:?}"
        );
    }
}

/// Sent, and the connection is lost: a script must not take it for not done.
#[tokio::test]
async fn an_unknown_outcome_has_a_code_of_its_own() {
    let server = Server::start(Script::Silent).await.unwrap();
    let url = server.url();
    let program = Program::new();
    let ended = program
        .run(&["call", "--json-rpc", &url, "pay", "--call-timeout", "500ms"])
        .await;
    assert_eq!(ended.code, Some(11), "{ended:?}");
    assert!(ended.err.contains("outcome unknown"), "{ended:?}");
}

/// Each connection ends upon the call. What may be seen twice is sent again, until the call is what the server may die of.
#[tokio::test]
async fn a_call_is_sent_again_only_if_it_may_be() {
    let program = Program::new();
    for (replay, executed) in [("never", 1), ("safe", 3)] {
        let cut = Script::Flaky {
            answers: 0,
            cut: Cut::Rst,
        };
        let server = Server::start(cut).await.unwrap();
        let url = server.url();
        let ended = program
            .run(&["call", "--json-rpc", &url, "pay", "--replay", replay])
            .await;
        assert_eq!(ended.code, Some(11), "{replay}: {ended:?}");
        assert_eq!(server.received().len(), executed, "{replay}");
    }
}

#[tokio::test]
async fn cat_pipes_lines_both_ways() {
    let server = Server::start(Script::Echo).await.unwrap();
    let url = server.url();
    let program = Program::new();
    {
        let ended = program
            .run_with(&["cat", &url, "--count", "3"], "one\ntwo\\nlines\n{\"a\":\"b\\\\\"}\n")
            .await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(0), "one\ntwo\\nlines\n{\"a\":\"b\\\\\"}\n"),
            "{ended:?}"
        );
        let line = "{\"binary\":\"/wAB\"}\n";
        let ended = program
            .run_with(&["cat", &url, "--frames", "json", "--count", "1"], line)
            .await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), line), "{ended:?}");
        let ended = program
            .run_with(&["cat", &url, "--say", "hello", "--wait", "10s", "--count", "1"], "")
            .await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "hello\n"), "{ended:?}");
        // Bytes that are text, too: the program's output is read as one.
        let frames = "\0\0\0\x03a\nb\0\0\0\0";
        let ended = program
            .run_with(&["cat", &url, "--frames", "length", "--count", "2"], frames)
            .await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), frames), "{ended:?}");
    }
}

/// Whoever pipes a thousand of them wants to know which, and to lose no other.
#[tokio::test]
async fn a_bad_line_is_named_and_the_rest_goes_on() {
    let server = Server::start(Script::Echo).await.unwrap();
    let url = server.url();
    let program = Program::new();
    let good = "{\"text\":\"one\"}\n{\"text\":\"three\"}\n";
    let lines = good.replacen('\n', "\nplain\n", 1);
    let ended = program.run_with(&["cat", &url, "--frames", "json"], &lines).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), good), "{ended:?}");
    assert!(
        ended
            .err
            .contains("standard input, line 2, is left out: this is neither"),
        "{ended:?}"
    );
    let ended = program.run_with(&["cat", &url, "--frames", "length"], "hello\n").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("frame 1, is left out: a frame says"), "{ended:?}");
}

#[tokio::test]
async fn a_recording_becomes_a_page() {
    let server = Server::start(Script::Echo).await.unwrap();
    let url = server.url();
    let program = Program::new();
    {
        let ended = program
            .run(&["monitor", &url, "--for", "2500ms", "--record", "tape"])
            .await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let tape = || std::fs::read_to_string(program.home().join("tape")).unwrap();
        let first = tape();
        // The next one begins anew, and the one before it stays beside it.
        let args = ["monitor", &url, "--for", "1500ms", "--record", "tape", "-q"];
        assert_eq!(program.run(&args).await.code, Some(0));
        assert!(!tape().contains(&first));
        std::fs::rename(program.home().join("tape.1"), program.home().join("tape")).unwrap();
        assert_eq!(tape(), first);
        assert!(
            ended.out.lines().count() >= 2 && ended.out.contains("  ok "),
            "{ended:?}"
        );
        let ended = program.run(&["report", "tape", "-o", "page.html"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let page = std::fs::read_to_string(program.home().join("page.html")).unwrap();
        assert!(
            page.contains("<svg") && page.contains("Up 100.00 %") && !page.contains("<script"),
            "{page}"
        );
        std::fs::write(program.home().join("other"), "{}\n").unwrap();
        let ended = program.run(&["report", "other"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("other:1: this is no line"), "{ended:?}");
    }
}

#[tokio::test]
async fn settings_are_checked_and_shown_with_their_places() {
    let program = Program::new();
    let folder = program.home().join(".config/tower-ws");
    std::fs::create_dir_all(&folder).unwrap();
    let file = "[profiles.orders]\nurl = \"wss://orders.example/?key=s3cr3t\"\nhealth.interval = \"5s\"\n";
    std::fs::write(folder.join("config.toml"), file).unwrap();
    let ended = program
        .run(&["config", "print", "orders", "--timeout", "3s", "-H", "x-key: s3cr3t"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("transport.timeout = \"3s\"    # --timeout"),
        "{ended:?}"
    );
    assert!(ended.out.contains("config.toml:3"), "{ended:?}");
    let fallback = "fallbacks=wss://other.example/s3cr3t?key=s3cr3t";
    let other = program.run(&["config", "print", "orders", "--set", fallback]).await;
    assert!(
        other
            .out
            .contains("fallbacks = [\"wss://other.example:443\"]    # --set"),
        "{other:?}"
    );
    assert!(!ended.out.contains("s3cr3t"), "{ended:?}");

    let ended = program
        .run(&["config", "check", "orders", "--set", "health.intervall=3s"])
        .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("did you mean `interval`?"), "{ended:?}");
    let ended = program.run(&["config", "check", "other"]).await;
    assert!(
        ended.err.contains("there is no profile `other`; there are orders"),
        "{ended:?}"
    );
    assert_eq!(program.run(&["config", "check"]).await.code, Some(0));
    let worse = format!("health.timeout = \"0s\"\n{file}\n[profiles.other]\nclient.inbuond = 3\n");
    std::fs::write(folder.join("worse.toml"), worse).unwrap();
    let ended = program
        .run(&["config", "check", "-c", ".config/tower-ws/worse.toml"])
        .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let expected = [
        "worse.toml:1: health.timeout: it has to be from 10ms to a year",
        "worse.toml:7: client.inbuond: there is no such setting; did you mean `inbound`?",
        "profile `other`: url: there is no address to connect to",
    ];
    assert_eq!(ended.err.lines().count(), expected.len(), "{ended:?}");
    for words in expected {
        assert!(ended.err.contains(words), "{words}: {ended:?}");
    }
    let ended = program
        .run(&["doctor", "wss://a.example/", "-H", "Authorization: Bearer s3cr3t"])
        .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.err.contains("--token-file") && !ended.err.contains("s3cr3t"),
        "{ended:?}"
    );

    // A file of the working directory is nobody's settings.
    std::fs::write(program.home().join("config.toml"), "nonsense").unwrap();
    assert_eq!(program.run(&["config", "check", "orders"]).await.code, Some(0));
    // A variable that nobody reads was meant.
    let mut command = program.command(&["config", "check", "orders"]);
    let ended = support::Ended::of(command.env("TOWER_WS_TOKN", "x").spawn().unwrap()).await;
    assert!(ended.err.contains("there is no variable TOWER_WS_TOKN"), "{ended:?}");
}

#[tokio::test]
async fn what_it_writes_for_others_is_well_formed() {
    let program = Program::new();
    assert!(program.run(&["completions", "bash"]).await.out.contains("tower-ws"));
    assert!(program.run(&["man"]).await.out.contains(".TH tower-ws"));
    // What is a command's own stands apart from what all have.
    let help = program.run(&["call", "--help"]).await.out;
    let (own, common) = help.split_once("Connection:").unwrap();
    assert!(
        own.contains("<METHOD>") && own.contains("--json-rpc") && common.contains("--roots"),
        "{help}"
    );
    assert!(
        program
            .run(&["config", "env"])
            .await
            .out
            .contains("TOWER_WS__HEALTH__INTERVAL")
    );
    let schema: Value = serde_json::from_str(&program.run(&["config", "schema"]).await.out).unwrap();
    assert_eq!(
        schema["$defs"]["settings"]["properties"]["health"]["properties"]["interval"]["default"],
        "20s"
    );
    for host in ["claude", "code", "vscode", "cursor", "zed"] {
        let ended = program
            .run(&[
                "bridge",
                "wss://a.example/mcp",
                "--print-config",
                host,
                "--token-file",
                "t",
            ])
            .await;
        let told: Value = serde_json::from_str(&ended.out).unwrap();
        // Hosts start it in a folder of their own.
        let token = program.home().canonicalize().unwrap().join("t");
        let arguments = json!(["bridge", "wss://a.example/mcp", "--token-file", token]);
        assert!(told.to_string().contains(&arguments.to_string()), "{told}");
    }
    let ended = program
        .run(&["bridge", "wss://a.example/mcp", "--print-config", "codex"])
        .await;
    assert!(
        ended.out.contains("[mcp_servers.server]") && ended.out.contains("startup_timeout_sec = 20"),
        "{ended:?}"
    );
    assert_eq!(ended.err, "");
    // What is set here is not where a host starts it.
    let mut command = program.command(&["bridge", "wss://a.example/mcp", "--print-config", "claude"]);
    let ended = support::Ended::of(command.env("TOWER_WS_TOKEN", SECRET).spawn().unwrap()).await;
    assert!(ended.err.contains("TOWER_WS_TOKEN counts here"), "{ended:?}");
    assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
}

/// A full disk is told of; who has stopped reading is not.
#[tokio::test]
async fn what_cannot_be_written_is_no_success_and_no_panic() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let program = Program::new();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = program.command(&["call", "--json-rpc", &server.url(), "echo", "[1]"]);
    let ended = support::Ended::of(command.stdout(full()).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(10), "{ended:?}");
    let mut command = program.command(&["call", "--json-rpc", "ws://127.0.0.1:1/", "echo", "-vv"]);
    let ended = support::Ended::of(command.stderr(full()).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for args in [&["completions", "bash"][..], &["man"], &["config", "example"]] {
        let mut child = program.command(args).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(support::Ended::of(child).await.code, Some(0), "{args:?}");
    }
}

#[tokio::test]
async fn a_mistyped_address_is_not_repeated() {
    let program = Program::new();
    for address in [format!("u:{SECRET}@host/mcp"), format!("ws//u:{SECRET}@host")] {
        let ended = program.run(&["doctor", &address]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
    }
}

/// All of it within the time that was given.
#[tokio::test]
async fn a_calls_time_limit_is_that_of_the_whole() {
    let silent = Server::start(Script::NeverReply).await.unwrap();
    let program = Program::new();
    let url = silent.url();
    let ended = program
        .run(&["call", "--json-rpc", &url, "echo", "--call-timeout", "1s"])
        .await;
    assert_eq!(ended.code, Some(8), "{ended:?}");
    assert!(ended.err.contains("no connection within 1s"), "{ended:?}");
}

/// From the default to what the command line says: a flag over a variable, over the profile, over the rest of the file.
#[tokio::test]
async fn the_stronger_source_counts() {
    let program = Program::new();
    let file =
        "transport.timeout = \"1s\"\n[profiles.orders]\nurl = \"wss://a.example/\"\ntransport.timeout = \"2s\"\n";
    std::fs::write(program.home().join("settings.toml"), file).unwrap();
    let printed = async |args: &[&str], variable: Option<&str>| {
        let mut command = program.command(&[&["config", "print", "-c", "settings.toml"], args].concat());
        command.envs(variable.map(|value| ("TOWER_WS__TRANSPORT__TIMEOUT", value)));
        let ended = support::Ended::of(command.spawn().unwrap()).await;
        let line = ended.out.lines().find(|line| line.starts_with("transport.timeout"));
        line.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
    };
    let other = "wss://b.example/";
    for (args, variable, expected) in [
        (&[other][..], None, "\"1s\"    # settings.toml:1"),
        (&["orders"], None, "\"2s\"    # settings.toml:4"),
        (&["orders"], Some("3s"), "\"3s\"    # TOWER_WS__TRANSPORT__TIMEOUT"),
        (&["orders", "--timeout", "4s"], Some("3s"), "\"4s\"    # --timeout"),
    ] {
        assert_eq!(printed(args, variable).await, format!("transport.timeout = {expected}"));
    }
}

/// Some want options before the address, some after it.
#[tokio::test]
async fn options_stand_before_the_address_or_after_it() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let url = server.url();
    let program = Program::new();
    for args in [
        &["call", "-H", "x-a: 1", "--json-rpc", &url, "echo", "[1]"][..],
        &["call", &url, "echo", "[1]", "--json-rpc", "-H", "x-a: 1"],
        &["call", &url, "-H", "x-a: 1", "echo", "--json-rpc", "[1]"],
    ] {
        let ended = program.run(args).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "[1]\n"), "{ended:?}");
    }
    for request in server.requests() {
        assert_eq!(request.headers["x-a"], "1");
    }
}

/// A signal is heard while it dials, while it waits for an answer, and while it waits for a line.
#[tokio::test]
async fn a_signal_ends_it_at_any_moment() {
    let stuck = Server::start(Script::NeverReply).await.unwrap();
    let silent = Server::start(Script::Silent).await.unwrap();
    let echo = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    let cases = [
        (&stuck, vec!["doctor"], vec![]),
        (&stuck, vec!["cat"], vec![]),
        (&stuck, vec!["monitor", "--plain"], vec![]),
        (&silent, vec!["call", "--json-rpc"], vec!["pay"]),
        (&silent, vec!["doctor"], vec![]),
        (&echo, vec!["cat"], vec![]),
    ];
    for (server, before, after) in cases {
        for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
            let (url, dials) = (server.url(), server.requests().len());
            let args = [&before[..], &[&*url], &after[..]].concat();
            let mut command = program.command(&args);
            let child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
            // It has come to the server by then.
            server.wait_requests(dials + 1).await;
            let id = child.id().unwrap().to_string();
            let kill = std::process::Command::new("kill").args([signal, &id]).status();
            assert!(kill.unwrap().success());
            let ended = support::Ended::of(child).await;
            assert_eq!(ended.code, Some(code), "{args:?} {ended:?}");
        }
    }
}

/// What is said first is said on each connection; lines go on.
#[tokio::test]
async fn cat_survives_a_restart() {
    let server = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    let mut command = program.command(&["cat", &server.url(), "--say", "hello", "--count", "4"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut two_lines = async || {
        let lines = [output.next_line().await, output.next_line().await];
        let mut lines = lines.map(|line| line.unwrap().expect("it goes on"));
        lines.sort_unstable();
        lines
    };
    input.write_all(b"one\n").await.unwrap();
    assert_eq!(two_lines().await, ["hello", "one"]);
    server.cut(Cut::Rst);
    server.wait_dials(2).await;
    input.write_all(b"two\n").await.unwrap();
    assert_eq!(two_lines().await, ["hello", "two"]);
    assert_eq!(support::Ended::of(child).await.code, Some(0));
}

/// Others end with 0 and say nothing.
#[tokio::test]
async fn cat_says_why_the_server_closed() {
    let server = Server::start(Script::close(1008, "token expired")).await.unwrap();
    let program = Program::new();
    let ended = program.run(&["cat", &server.url()]).await;
    assert_eq!(ended.code, Some(9), "{ended:?}");
    let words = "tower-ws: the peer closed the connection (close code 1008, reason \"token expired\")";
    assert!(ended.err.contains(words), "{ended:?}");
    assert_eq!(server.dials(), 1, "it is final");
}

/// Nor does it end later for a server that answers no goodbye either.
#[tokio::test]
async fn a_stuck_server_does_not_keep_a_call_that_is_over() {
    let stuck = Server::start(Script::StopReading).await.unwrap();
    let program = Program::new();
    let url = stuck.url();
    let close = "transport.close_timeout=50s";
    let args = [
        "call",
        "--json-rpc",
        &url,
        "echo",
        "--call-timeout",
        "1s",
        "--set",
        close,
    ];
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), program.run(&args)).await;
    let ended = ended.expect("it ends before the goodbye has had its time");
    assert_eq!(ended.code, Some(11), "{ended:?}");
}

/// A script has to know that lines are missing.
#[tokio::test]
async fn cat_that_loses_lines_does_not_end_well() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let program = Program::new();
    let child = program.command(&["cat", &url, "--wait", "2s"]).spawn().unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let mut server = tokio_tungstenite::accept_async(tcp).await.unwrap();
    // Nobody reads its output until all has been sent, which is more than all buffers between hold.
    for _ in 0..1000 {
        let line = tokio_tungstenite::tungstenite::Message::text("x".repeat(50_000));
        server.send(line).await.unwrap();
    }
    let ended = support::Ended::of(child).await;
    assert!(ended.err.contains("messages are missing"), "{}", ended.err);
    assert_eq!(ended.code, Some(11), "{}", ended.err);
}

/// As with `head`.
#[tokio::test]
async fn nobody_reads_on() {
    let server = Server::start(Script::Echo).await.unwrap();
    let url = server.url();
    let program = Program::new();
    for args in [&["cat", &url, "--say", "hello"][..], &["monitor", &url, "--plain"]] {
        let mut command = program.command(args);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let input = child.stdin.take();
        let ended = support::Ended::of(child).await;
        assert_eq!(ended.code, Some(0), "{args:?} {ended:?}");
        drop(input);
    }
}
