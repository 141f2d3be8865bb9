//! The doctor, in each situation in which somebody asks it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Ended, Program};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_ws_test_kit::{Authority, Cut, Script, Server};

/// Nothing that the program says may have it.
const SECRET: &str = "s3cr3t-t0ken-0123456789";

/// A token that has expired.
fn jwt() -> String {
    format!("e30.eyJleHAiOjF9.{SECRET}")
}

/// It ends with this code, in these words and without secrets.
#[track_caller]
fn assert_says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
    for words in words {
        assert!(ended.out.contains(words), "{words:?}: {}{}", ended.out, ended.err);
    }
    assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
}

/// Each ending of the doctor's has a code, words, and nothing secret in them.
#[tokio::test]
async fn the_doctor_tells_each_class() {
    let authority = Authority::new().unwrap();
    let private = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let echo = Server::start(Script::Echo).await.unwrap();
    let closed = Server::start(Script::close(1008, "go away")).await.unwrap();
    let mut cases = vec![
        (echo.url(), 0, "in order"),
        (private.url(), 4, "unknown issuer"),
        (closed.url(), 9, "1008"),
        ("wss://nowhere.invalid/".to_owned(), 3, "nowhere.invalid"),
        ("ws://127.0.0.1:1/".to_owned(), 3, "nothing listens there"),
        ("ws://192.0.2.1/".to_owned(), 10, "it is this side that forbids it"),
        ("http://server.example/".to_owned(), 2, "write `ws`"),
    ];
    let mut servers = Vec::new();
    for (status, code) in [(401, 7), (403, 7), (404, 6), (407, 5), (429, 12), (503, 6)] {
        let server = Server::start(Script::status(status, &[])).await.unwrap();
        cases.push((server.url(), code, "http status"));
        servers.push(server);
    }
    let program = Program::new();
    {
        for (url, code, words) in cases {
            let url = format!("{url}?key={SECRET}");
            let ended = program.run(&["doctor", &url, "--timeout", "2s"]).await;
            assert_eq!(ended.code, Some(code), "{url}: {ended:?}");
            assert!((ended.out.clone() + &ended.err).contains(words), "{words}: {ended:?}");
            assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn the_doctors_json_is_for_machines() {
    let refuses = Script::status(401, &[("www-authenticate", "Bearer error=\"invalid_token\"")]);
    let server = Server::start(refuses).await.unwrap();
    let program = Program::new();
    // A JWT that has expired, in a file.
    let jwt = format!("e30.{}.{SECRET}", "eyJleHAiOjF9");
    std::fs::write(program.home().join("token"), jwt).unwrap();
    let ended = program
        .run(&["doctor", &server.url(), "--token-file", "token", "--json"])
        .await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&told["ok"], &told["exit"], &told["schema"]),
        (&json!(false), &json!(7), &json!(1))
    );
    assert_eq!(told["token"], json!({ "expires": 1, "has_expired": true }));
    let steps = told["steps"].as_array().unwrap();
    let failed = steps.iter().find(|step| step["state"] == "failed").unwrap();
    assert_eq!(failed["name"], "upgrade");
    assert_eq!(failed["headers"]["www-authenticate"], "Bearer error=\"invalid_token\"");
    assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
}

/// One more dial finds the scheme that the port speaks.
#[tokio::test]
async fn the_doctor_looks_further() {
    let server = Server::start(Script::Echo).await.unwrap();
    let url = server.url().replace("ws://", "wss://");
    let program = Program::new();
    let ended = program.run(&["doctor", &url, "--timeout", "2s"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.out.contains("this port speaks ws://, not wss://"), "{ended:?}");
    let ended = program.run(&["doctor", &url, "--timeout", "2s", "--no-extra"]).await;
    assert!(!ended.out.contains("this port speaks"), "{ended:?}");
}

/// Whoever opens TLS on the way must not be told in the clear what was meant for the server.
#[tokio::test]
async fn the_doctors_second_dial_shows_nothing() {
    let authority = Authority::new().unwrap();
    let private = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let plain = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    let url = |server: &Server| {
        format!(
            "{}/path?key={SECRET}",
            server.url().replace("ws://", "wss://").trim_end_matches('/')
        )
    };
    let ended = program.run(&["doctor", &url(&private), "--timeout", "2s"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    // It shows a certificate: there is nothing to find out.
    assert_eq!(private.dials(), 1);
    let ended = program.run(&["doctor", &url(&plain), "--timeout", "2s"]).await;
    assert!(ended.out.contains("this port speaks ws://"), "{ended:?}");
    let asked: Vec<_> = plain.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/"]);
}

/// 404 behind an ingress: host and port are right, the path is not.
#[tokio::test]
async fn a_wrong_path_and_which_one_is_right() {
    let missing = || Script::status(404, &[("server", "nginx/1.27.4")]);
    let server = Server::start(missing()).await.unwrap();
    let program = Program::new();
    let url = format!("{}api/wrong?key={SECRET}", server.url());
    let mut command = program.command(&["doctor", &url]);
    command.env("TOWER_WS_TOKEN", SECRET);
    let said = [
        "(http status 404)",
        "server: \"nginx/1.27.4\"",
        "do:    there is no such path on this server: look at the address",
        "also     --paths asks for others on this server",
    ];
    assert_says(&Ended::of(command.spawn().unwrap()).await, 6, &said);

    server.play_each([
        missing(),
        missing(),
        Script::Echo,
        Script::status(401, &[]),
        Script::CutBeforeReply(Cut::Fin),
        Script::status(200, &[]),
    ]);
    let mut command = program.command(&["doctor", &url, "--paths", "-H", &format!("x-key: {SECRET}")]);
    command.env("TOWER_WS_TOKEN", SECRET);
    let said = [
        "also     /: 404",
        "also     /ws: a WebSocket",
        "also     /mcp: 401, so it may be there, for those with a credential",
        "also     /message: it fails at upgrade",
        "also     /api: 200",
    ];
    assert_says(&Ended::of(command.spawn().unwrap()).await, 6, &said);
    // Nobody but the one that was meant is shown anything.
    let requests = server.requests();
    for asked in &requests[2..] {
        assert!(!format!("{asked:?}").contains(SECRET), "{asked:?}");
    }
    assert_eq!(requests.len(), 7);
}

#[tokio::test]
async fn a_token_that_has_expired_or_is_missing() {
    let told = "Bearer error=\"invalid_token\", error_description=\"The access token expired\"";
    let server = Server::start(Script::status(401, &[("www-authenticate", told)]))
        .await
        .unwrap();
    let program = Program::new();
    let mut command = program.command(&["doctor", &server.url()]);
    command.env("TOWER_WS_TOKEN", jwt());
    let said = [
        "The access token expired",
        "whose: this side's credentials",
        "do:    the credential that was shown is not good",
        "also     the token is a JWT that expired",
        "also     the token is that of TOWER_WS_TOKEN",
    ];
    assert_says(&Ended::of(command.spawn().unwrap()).await, 7, &said);
    let said = ["do:    no credential was shown", "also     --token-file, --token-env"];
    assert_says(&program.run(&["doctor", &server.url()]).await, 7, &said);
}

/// Somebody opens TLS on the way; or the server is a private one.
/// Two lines in the file, say.
#[tokio::test]
async fn a_token_that_no_header_can_carry() {
    let server = Server::start(Script::Echo).await.unwrap();
    let program = Program::new();
    std::fs::write(program.home().join("token"), format!("{SECRET}\n{SECRET}")).unwrap();
    let ended = program.run(&["doctor", &server.url(), "--token-file", "token"]).await;
    let said = ["FAIL  credentials", "it has characters that a header cannot carry"];
    assert_says(&ended, 7, &said);
}

#[tokio::test]
async fn an_authority_that_this_machine_trusts_or_does_not() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let program = Program::new();
    std::fs::write(program.home().join("authority.pem"), authority.pem()).unwrap();
    let url = server.url();
    let said = [
        "unknown issuer, \"CN=authority",
        "\"CN=server\", issued by \"CN=authority",
        "do:    trust that authority, if it is your own",
        "also     --save-chain FILE writes the certificates down",
    ];
    assert_says(&program.run(&["doctor", &url]).await, 4, &said);
    let said = [
        "which is no public authority",
        "otherwise somebody opens TLS on the way",
    ];
    let ended = program.run(&["doctor", &url, "--roots", "authority.pem"]).await;
    assert_says(&ended, 0, &said);
    // As the system says.
    let on_this_machine = |args: &[&str]| {
        let mut command = program.command(&[&["doctor", &url], args].concat());
        command.env("SSL_CERT_FILE", "authority.pem");
        Ended::of(command.spawn().unwrap())
    };
    assert_says(&on_this_machine(&[]).await, 0, &said);
    let said = ["do:    this machine trusts that authority, and this program does not"];
    assert_says(&on_this_machine(&["--roots", "mozilla"]).await, 4, &said);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_certificate() {
    let authority = Authority::new().unwrap();
    let program = Program::new();
    for (config, words) in [
        (
            authority.expired().unwrap(),
            [
                "in all, the certificate has expired, is from no public authority",
                "do:    have it renewed; unless this machine's clock is wrong, which says 2",
            ],
        ),
        (
            authority.not_yet_valid().unwrap(),
            ["not valid yet", "do:    look at this machine's clock, which says 2"],
        ),
        (
            authority.self_signed().unwrap(),
            ["is self-signed", "do:    trust it, if it is your own"],
        ),
        (
            authority.wrong_host().unwrap(),
            ["is for another host, is from no", "do:    dial a name that it is for"],
        ),
    ] {
        let server = Server::start_tls(Script::Echo, config).await.unwrap();
        assert_says(&program.run(&["doctor", &server.url()]).await, 4, &words);
    }
}

/// What is wrong is not the server's certificate, and so there is nothing to do about that.
#[tokio::test]
async fn a_server_that_wants_a_certificate_of_this_sides() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.mutual().unwrap())
        .await
        .unwrap();
    let program = Program::new();
    std::fs::write(program.home().join("authority.pem"), authority.pem()).unwrap();
    let ended = program
        .run(&["doctor", &server.url(), "--roots", "authority.pem"])
        .await;
    let said = [
        "the server wants a client certificate",
        "do:    do what the text says",
        "also     --cert FILE and --key FILE show one of this side's",
    ];
    assert_says(&ended, 4, &said);
    assert!(!ended.out.contains("trust that authority"), "{ended:?}");
}

/// There is no way past the check of a certificate but to trust one.
#[tokio::test]
async fn what_a_server_shows_is_saved_and_can_be_trusted() {
    let authority = Authority::new().unwrap();
    let server = Server::start_tls(Script::Echo, authority.self_signed().unwrap())
        .await
        .unwrap();
    let program = Program::new();
    let url = server.url();
    let ended = program.run(&["doctor", &url, "--save-chain", "chain.pem"]).await;
    assert_says(&ended, 4, &["also     the certificates are in chain.pem"]);
    let ended = program.run(&["doctor", &url, "--roots", "chain.pem"]).await;
    assert_says(&ended, 0, &["The way to the server is in order."]);
    let plain = Server::start(Script::Echo).await.unwrap();
    let ended = program.run(&["doctor", &plain.url(), "--save-chain", "none.pem"]).await;
    assert_says(&ended, 0, &["also     no certificate was shown"]);
    assert!(!program.home().join("none.pem").exists());
}

#[tokio::test]
async fn a_server_that_hangs() {
    // The system takes connections for it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let program = Program::new();
    let doctor = |url: String| {
        let program = &program;
        async move { program.run(&["doctor", &url, "--timeout", "1s"]).await }
    };
    let said = [
        "FAIL  upgrade",
        "within 1s: connected, the answer to the upgrade was waited for",
        "whose: the server",
        "also     with wss://: no WebSocket either",
    ];
    assert_says(&doctor(format!("ws://{addr}/")).await, 8, &said);
    let said = [
        "FAIL  tls",
        "within 1s: tcp was up, tls was waited for",
        "is it meant with ws",
    ];
    assert_says(&doctor(format!("wss://{addr}/")).await, 8, &said);
    let proxy = format!("http://{addr}");
    let ended = program
        .run(&["doctor", "wss://tools.example/", "--timeout", "1s", "--proxy", &proxy])
        .await;
    let said = [
        "FAIL  tunnel",
        "the proxy was reached, its tunnel was waited for",
        "whose: the proxy",
    ];
    assert_says(&ended, 8, &said);
}

#[tokio::test]
async fn scheme_and_port_are_crossed() {
    let authority = Authority::new().unwrap();
    let tls = Server::start_tls(Script::Echo, authority.good().unwrap())
        .await
        .unwrap();
    let program = Program::new();
    std::fs::write(program.home().join("authority.pem"), authority.pem()).unwrap();
    let url = tls.url().replace("wss://", "ws://");
    let ended = program.run(&["doctor", &url, "--roots", "authority.pem"]).await;
    assert_says(&ended, 6, &["also     with wss://: this port speaks wss://, not ws://"]);
    // It does so, too, whatever its certificate is.
    let ended = program.run(&["doctor", &url]).await;
    assert_says(&ended, 6, &["also     with wss://: this port speaks wss://, not ws://"]);
}

#[tokio::test]
async fn servers_that_are_no_websockets() {
    let program = Program::new();
    let elsewhere = [("location", "https://tools.example/s3cr3t-t0ken-0123456789")];
    for (script, code, words) in [
        (
            Script::status(200, &[]),
            6,
            "answered as to a page, not as a websocket: is the path right?",
        ),
        (
            Script::status(301, &elsewhere),
            6,
            "dial the new address; location \"https://tools.example\"",
        ),
        (
            Script::Garbage,
            6,
            "the server's answer is not http (is the port right?)",
        ),
        (
            Script::Subprotocol("graphql-ws".into()),
            6,
            "the server chose the subprotocol \"graphql-ws\", which was not offered",
        ),
        (
            Script::CutBeforeReply(Cut::Fin),
            3,
            "ended the connection before it had answered the upgrade",
        ),
    ] {
        let server = Server::start(script).await.unwrap();
        assert_says(&program.run(&["doctor", &server.url()]).await, code, &[words]);
    }
    // One that wants a subprotocol says so only by taking it.
    let wants = Script::Status {
        code: 400,
        headers: Vec::new(),
        body: "unsupported subprotocol".into(),
    };
    let server = Server::start(Script::Echo).await.unwrap();
    server.play_each([wants, Script::Echo]);
    let said = [
        "it says \"unsupported subprotocol\"",
        "also     with the subprotocol `mcp`: the server wants a subprotocol, and takes this one: -s mcp",
    ];
    assert_says(&program.run(&["doctor", &server.url()]).await, 6, &said);
}

#[tokio::test]
async fn a_proxy_of_the_environment() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = proxy.local_addr().unwrap();
    let program = Program::new();
    let doctor = |args: &'static [&'static str], no_proxy: &'static str| {
        let mut command = program.command(&[&["doctor", "wss://tools.invalid/"], args].concat());
        command.env("HTTPS_PROXY", format!("http://{addr}"));
        command.env("NO_PROXY", no_proxy);
        Ended::of(command.spawn().unwrap())
    };
    let refusing = async {
        let (mut peer, _) = proxy.accept().await.unwrap();
        let _ = peer.read(&mut [0; 1024]).await.unwrap();
        let head = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"corp\"";
        let answer = format!("{head}\r\ncontent-length: 0\r\n\r\n");
        peer.write_all(answer.as_bytes()).await.unwrap();
    };
    let (ended, ()) = tokio::join!(doctor(&[], ""), refusing);
    let through = format!("through {addr}; the environment names one for this address");
    assert_says(
        &ended,
        5,
        &[
            &through,
            "407",
            "whose: the proxy",
            "do:    give the proxy its credentials",
        ],
    );
    // A name that only a proxy can find, and none is used.
    let ended = doctor(&["--proxy", "none"], "").await;
    let said = [
        "WARN  proxy",
        "the environment names one, and it is not used",
        "FAIL  dns",
    ];
    assert_says(&ended, 3, &said);
    let ended = doctor(&[], "tools.invalid").await;
    assert_says(
        &ended,
        3,
        &["none; the environment names none for this address", "FAIL  dns"],
    );
}

#[tokio::test]
async fn up_and_then_lost() {
    let program = Program::new();
    let server = Server::start(Script::close(1008, "token expired")).await.unwrap();
    let said = [
        "FAIL  ping",
        "up, and then: the peer closed the connection (close code 1008, reason \"token expired\")",
    ];
    assert_says(&program.run(&["doctor", &server.url()]).await, 9, &said);
    for code in [3000, 4401] {
        let server = Server::start(Script::close(code, "token expired")).await.unwrap();
        let said = ["FAIL  ping", "whose: this side's credentials", "also     --token-file"];
        assert_says(&program.run(&["doctor", &server.url()]).await, 7, &said);
    }
    let server = Server::start(Script::OversizeFrame { claims: 32 << 20 }).await.unwrap();
    let said = [
        "the peer sent a message of 33554432 bytes or more; the limit is 16777216",
        "do:    it is a limit of this side's: raise it, or ask for less",
    ];
    assert_says(&program.run(&["doctor", &server.url()]).await, 10, &said);
    let after = Duration::from_secs(2);
    let server = Server::start(Script::Rst { after }).await.unwrap();
    let said = [
        "WARN  hold",
        "of silence: the connection was reset",
        "a load balancer or the server ends what is silent",
    ];
    let ended = program.run(&["doctor", &server.url(), "--hold", "30s"]).await;
    assert_says(&ended, 0, &said);
}

/// What the guard forbids is told with the option that allows it.
#[tokio::test]
async fn what_this_side_forbids() {
    let program = Program::new();
    let ended = program.run(&["doctor", "ws://192.0.2.1/"]).await;
    assert_says(&ended, 10, &["FAIL  guard", "also     --allow-plaintext lets ws:// go"]);
    let ended = program.run(&["call", "--json-rpc", "ws://192.0.2.1/", "m"]).await;
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(ended.err.contains("help: --allow-plaintext lets ws:// go"), "{ended:?}");
}

/// All that somebody who helps has to know.
#[tokio::test]
async fn a_bundle_has_no_secret_in_it() {
    let server = Server::start(Script::status(401, &[("www-authenticate", SECRET)]))
        .await
        .unwrap();
    let program = Program::new();
    let url = format!("{}{SECRET}?key={SECRET}", server.url());
    let header = format!("x-key: {SECRET}");
    let mut command = program.command(&["doctor", &url, "-H", &header, "--bundle", "bundle.json"]);
    command.env("TOWER_WS_TOKEN", SECRET);
    command.env("NO_PROXY", SECRET);
    assert_says(&Ended::of(command.spawn().unwrap()).await, 7, &[]);
    let text = std::fs::read_to_string(program.home().join("bundle.json")).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle["report"]["exit"], 7, "{text}");
    assert_eq!(bundle["report"]["steps"][5]["cause"]["kind"], "auth", "{text}");
    assert_eq!(bundle["variables"], json!(["NO_PROXY"]));
    let settings = bundle["settings"].as_array().unwrap();
    let said = |setting: &str| settings.iter().find(|said| said["setting"] == setting);
    assert_eq!(said("headers.x-key").unwrap()["value"], "…");
    assert_eq!(said("auth.secret.env").unwrap()["value"], "\"TOWER_WS_TOKEN\"");
}
