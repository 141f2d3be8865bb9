//! How commands end when something goes wrong: the code, what is said, and what is left for others to read.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Ended, Program};
use tower_ws_test_kit::{Cut, Message, Script, Server};

const SECRET: &str = "s3cr3t-t0ken-0123456789";

/// Runs with these variables.
async fn run_by(program: &Program, variables: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = program.command(args);
    command.envs(variables.iter().copied());
    Ended::of(command.spawn().unwrap()).await
}

#[tokio::test]
async fn parameters_are_read_and_checked_before_anything_is_dialled() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (program, url) = (Program::new(), server.url());
    std::fs::write(program.home().join("params"), "{\"a\": 1}\n").unwrap();
    let call = async |params| program.run(&["call", "--json-rpc", &url, "echo", params]).await;
    assert_eq!(call("@params").await.out, "{\"a\":1}\n");
    let scalar = program
        .run(&["call", "--json-rpc", "ws://127.0.0.1:1/", "echo", "7"])
        .await;
    assert_eq!(scalar.code, Some(2), "{scalar:?}");
    assert!(scalar.err.contains("an object or a list"), "{scalar:?}");
    let absent = call("@nowhere").await;
    assert!(absent.code == Some(2) && absent.err.contains("nowhere"), "{absent:?}");
    // Told, and not waited for.
    let told = program.run(&["call", "--json-rpc", &url, "news", "--notify"]).await;
    assert_eq!((told.code, &*told.out), (Some(0), ""), "{told:?}");
}

#[tokio::test]
async fn an_error_of_the_servers_is_told_by_the_code_and_kept_whole() {
    let server = Server::start(Script::Silent).await.unwrap();
    let program = Program::new();
    let calling = program
        .command(&["call", "--json-rpc", &server.url(), "echo"])
        .spawn()
        .unwrap();
    server.wait_received(1).await;
    let asked: Value = serde_json::from_str(server.received()[0].message.as_text().unwrap()).unwrap();
    let error = json!({ "code": -5, "message": "not you", "data": { "why": [1] } });
    server.push(Message::text(
        json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error }).to_string(),
    ));
    let ended = Ended::of(calling).await;
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains(r#""data":{"why":[1]}"#), "{ended:?}");

    let flaky = Server::start(Script::Flaky {
        answers: 0,
        cut: Cut::Rst,
    })
    .await
    .unwrap();
    let ended = program.run(&["call", "--json-rpc", &flaky.url(), "pay"]).await;
    assert_eq!(ended.code, Some(11), "{ended:?}");
    assert!(ended.err.contains("find out before you call again"), "{ended:?}");
}

/// A script has to know that lines may be lost, and which end it was.
#[tokio::test]
async fn a_pipe_says_what_became_of_it() {
    let program = Program::new();
    let server = Server::start(Script::close(1008, "go away")).await.unwrap();
    let ended = program.run(&["cat", &server.url()]).await;
    assert_eq!(ended.code, Some(9), "{ended:?}");
    assert!(ended.err.contains("1008"), "{ended:?}");

    // Read, and cut before anything came back.
    let server = Server::start(Script::Silent).await.unwrap();
    let mut child = program
        .command(&["cat", &server.url(), "--say", "hello", "--wait", "30s", "-v"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"one\ntwo\n")
        .await
        .unwrap();
    server.wait_received(3).await;
    server.refuse();
    server.cut(Cut::Rst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let id = child.id().unwrap().to_string();
    drop(input);
    assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
    let ended = Ended::of(child).await;
    assert!(ended.err.contains("nobody knows whether they arrived"), "{ended:?}");

    // A message that is no line is altered, and that is said once.
    let server = Server::start(Script::EarlyData("a\nb".to_owned())).await.unwrap();
    let ended = program.run_with(&["cat", &server.url(), "--count", "2"], "one\n").await;
    assert_eq!((ended.code, &*ended.out), (Some(0), "a b\none\n"), "{ended:?}");
    assert!(ended.err.contains("--frames json"), "{ended:?}");
    for frame in ["{\"binary\":\"!\"}\n", "{\"other\":1}\n", "no json\n"] {
        let ended = program
            .run_with(&["cat", &server.url(), "--frames", "json"], frame)
            .await;
        assert_eq!(ended.code, Some(2), "{frame}: {ended:?}");
        assert!(ended.err.contains("standard input"), "{ended:?}");
    }
}

#[tokio::test]
async fn an_outage_is_seen_in_the_lines_and_in_the_page() {
    let after = Duration::from_millis(400);
    let (code, reason) = (1011, "<b>broken</b>".to_owned());
    let server = Server::start(Script::Close { code, reason, after }).await.unwrap();
    let program = Program::new();
    let args = ["monitor", &server.url(), "--for", "3500ms", "--record", "tape"];
    let ended = program.run(&args).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for words in ["backing_off", "dials again in", "1011"] {
        assert!(ended.out.contains(words), "{words}: {ended:?}");
    }
    let page = program.run(&["report", "tape"]).await;
    assert_eq!(page.code, Some(0), "{page:?}");
    assert!(
        page.out.contains("&lt;b&gt;broken") && !page.out.contains("<b>broken"),
        "{page:?}"
    );
    assert!(
        page.out.contains("<td>backing_off</td>") && page.out.contains("#cf222e"),
        "{page:?}"
    );

    let json = program
        .run(&["monitor", &server.url(), "--for", "1500ms", "-o", "json"])
        .await;
    for line in json.out.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    // An end for good is the program's end, with its code.
    let server = Server::start(Script::close(1008, "go away")).await.unwrap();
    let ended = program.run(&["monitor", &server.url()]).await;
    assert_eq!(ended.code, Some(9), "{ended:?}");
    std::fs::write(program.home().join("empty"), "").unwrap();
    let empty = program.run(&["report", "empty"]).await;
    assert!(
        empty.code == Some(2) && empty.err.contains("nothing is recorded"),
        "{empty:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_watched_too() {
    let program = Program::new();
    let args = [
        "monitor",
        "ws://127.0.0.1:1/",
        "-q",
        "--record",
        "record",
        "--for",
        "3s",
    ];
    let ended = program.run(&args).await;
    assert_eq!(ended.code, Some(8), "{ended:?}");
    assert!(
        ended.out.contains("  down") && ended.out.contains("refused"),
        "{ended:?}"
    );
    let record = std::fs::read_to_string(program.home().join("record")).unwrap();
    assert!(
        record.contains(r#""health":"down""#) && record.contains("backing_off"),
        "{record}"
    );
    let page = program.run(&["report", "record"]).await;
    assert!(page.code == Some(0) && page.out.contains("refused"), "{page:?}");
}

#[tokio::test]
async fn the_log_goes_where_it_is_sent_and_has_no_secret() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let (program, url) = (Program::new(), format!("{}?key={SECRET}", server.url()));
    let call = ["call", "--json-rpc", &*url, "echo"];
    for (flags, has_log) in [
        (&["-v"][..], true),
        (&["-vv"], true),
        (&["-vvv"], true),
        (&["-q"], false),
        (&[], false),
    ] {
        let ended = program.run(&[&call[..], flags].concat()).await;
        assert_eq!(
            (ended.code, !ended.err.is_empty()),
            (Some(0), has_log),
            "{flags:?}: {ended:?}"
        );
        assert!(!ended.err.contains(SECRET), "{ended:?}");
    }
    let ended = run_by(&program, &[("TOWER_WS_LOG", "info")], &call).await;
    assert!(!ended.err.is_empty(), "{ended:?}");
    let ended = run_by(&program, &[("TOWER_WS_LOG", "loud")], &call).await;
    assert!(
        ended.code == Some(2) && ended.err.contains("TOWER_WS_LOG is"),
        "{ended:?}"
    );
    let ended = program.run(&[&call[..], &["-v", "--log-file", "log"]].concat()).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    assert!(!std::fs::read_to_string(program.home().join("log")).unwrap().is_empty());
    let ended = program
        .run(&[&call[..], &["--log-file", "/nowhere/log"]].concat())
        .await;
    assert!(ended.code == Some(2) && ended.err.contains("/nowhere/log"), "{ended:?}");
}

/// A file may leave the address to the command line.
#[tokio::test]
async fn settings_are_checked_without_an_address() {
    let program = Program::new();
    let example = program.run(&["config", "example"]).await.out;
    std::fs::write(program.home().join("example.toml"), &example).unwrap();
    let ended = program.run(&["config", "check", "-c", "example.toml"]).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    std::fs::write(program.home().join("wrong.toml"), "[health]\nintervall = \"20s\"\n").unwrap();
    let ended = program.run(&["config", "check", "-c", "wrong.toml"]).await;
    assert!(
        ended.code == Some(2) && ended.err.contains("did you mean `interval`?"),
        "{ended:?}"
    );
    assert!(!ended.err.contains("give an address"), "{ended:?}");
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let program = Program::new();
    let folder = program.home().join(".config/tower-ws");
    std::fs::create_dir_all(&folder).unwrap();
    let file = "[profiles.orders]\nurl = \"wss://orders.example/\"\n[profiles.news]\nurl = \"wss://news.example/\"\n";
    std::fs::write(folder.join("config.toml"), file).unwrap();
    std::fs::write(
        program.home().join("headers"),
        format!("x-key: {SECRET}\n\nx-other: 1\n"),
    )
    .unwrap();
    std::fs::write(program.home().join("bad"), format!("{SECRET}\n")).unwrap();
    let refused: [(&[(&str, &str)], &[&str], &str); 5] = [
        (&[], &["orders", "--profile", "news"], "choose one"),
        (
            &[("TOWER_WS__URL", "wss://other.example/")],
            &["orders"],
            "TOWER_WS__URL says where",
        ),
        (&[], &["what is this"], "neither an address nor the name"),
        (&[], &["orders", "--header-file", "bad"], "a header is `Name: value`"),
        (&[], &["orders", "--set", "nonsense"], "section.field=VALUE"),
    ];
    for (variables, args, words) in refused {
        let ended = run_by(&program, variables, &[&["config", "check"], args].concat()).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(
            ended.err.contains(words) && !ended.err.contains(SECRET),
            "{words}: {ended:?}"
        );
    }
    let args = [
        "config",
        "print",
        "orders",
        "--header-file",
        "headers",
        "-s",
        "a",
        "-s",
        "b",
    ];
    for (roots, shown) in [("system", "system_roots = true"), ("mozilla", "system_roots = false")] {
        let ended = program.run(&[&args[..], &["--roots", roots]].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for words in [shown, "subprotocols", "x-other", "# headers"] {
            assert!(ended.out.contains(words), "{words}: {ended:?}");
        }
        assert!(!ended.out.contains(SECRET), "{ended:?}");
    }
}

#[tokio::test]
async fn the_doctor_says_how_long_a_token_is_good_and_who_cuts_idle_connections() {
    let server = Server::start(Script::status(401, &[])).await.unwrap();
    let program = Program::new();
    // {"exp":99999999999}
    std::fs::write(
        program.home().join("token"),
        format!("e30.eyJleHAiOjk5OTk5OTk5OTk5fQ.{SECRET}"),
    )
    .unwrap();
    let ended = program.run(&["doctor", &server.url(), "--token-file", "token"]).await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(
        ended.out.contains("is good for another") && !ended.out.contains(SECRET),
        "{ended:?}"
    );

    let after = Duration::from_millis(700);
    let cuts = Server::start(Script::Fin { after }).await.unwrap();
    let ended = program.run(&["doctor", &cuts.url(), "--hold", "5s"]).await;
    assert!(ended.out.contains("WARN") || ended.code != Some(0), "{ended:?}");
}

/// What a shell would take apart is the name of no program; the words behind it may be a secret.
#[tokio::test]
async fn a_command_for_a_token_that_is_one_text_is_explained() {
    let program = Program::new();
    let command = format!("corp-login --print {SECRET}");
    let ended = program
        .run(&[
            "call",
            "--json-rpc",
            "ws://127.0.0.1:9/",
            "m",
            "--token-command",
            &command,
        ])
        .await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(
        ended.err.contains("the command for the secret, corp-login: "),
        "{ended:?}"
    );
    assert!(ended.err.contains("after commas"), "{ended:?}");
    assert!(!ended.err.contains(SECRET), "{ended:?}");
    // Nor where settings are shown.
    let ended = program
        .run(&["config", "print", "ws://127.0.0.1:9/", "--token-command", &command])
        .await;
    assert!(ended.out.contains("auth.secret.command = \"corp-login\""), "{ended:?}");
    let bundle = [
        "doctor",
        "ws://127.0.0.1:9/",
        "--token-command",
        &command,
        "--bundle",
        "bundle.json",
    ];
    program.run(&bundle).await;
    let bundle = std::fs::read_to_string(program.home().join("bundle.json")).unwrap();
    assert!(bundle.contains("corp-login") && !bundle.contains(SECRET), "{bundle}");
}
