//! Settings from files and the environment.

#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::time::Duration;

use tower_ws::{
    config::{Config, EXAMPLE, Secret},
    core::{Failure, FailureKind},
};
use tower_ws_test_kit::{Cut, Script, Server};

const URL: &str = "url = \"wss://example.com/rpc\"\n";

fn wrong(text: &str) -> Vec<String> {
    let error = Config::sources().toml(text).load().unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

fn vars(vars: &[(&str, &str)]) -> Vec<(String, String)> {
    vars.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// With each line in force, the example says what would be so without it; and it has every setting.
#[test]
fn the_example_is_the_defaults() {
    let mut expected = Config::default();
    expected.url = "wss://example.com/rpc".to_owned();
    assert_eq!(Config::sources().toml(URL).toml(EXAMPLE).load().unwrap(), expected);

    let said: String = EXAMPLE
        .lines()
        .filter_map(|line| match line.strip_prefix('#') {
            // What there is none of by default.
            Some(line) if ["secret", "client_", "roots"].iter().any(|name| line.starts_with(name)) => None,
            Some(line) if line.starts_with(' ') => None,
            Some(line) => Some(format!("{line}\n")),
            None => Some(format!("{line}\n")),
        })
        .collect();
    assert_eq!(Config::sources().toml(&said).load().unwrap(), expected);

    let all = serde_json::to_value(Config::default()).unwrap();
    for (section, settings) in all.as_object().unwrap() {
        let names = settings.as_object().map(|settings| settings.keys().collect::<Vec<_>>());
        for name in names.unwrap_or_else(|| vec![section]) {
            assert!(EXAMPLE.contains(&format!("\n#{name} = ")), "{section}.{name}");
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let text = r#"
url = "https://example.com"
nmae = "orders"

[health]
intervall = "5s"
timeout = "1ms"

[cleint]
timeout = "5s"

[headers]
authorization = "Bearer s3cr3t"
"#;
    let problems = wrong(text);
    let expected = [
        "toml:3: nmae: there is no such setting; did you mean `name`?",
        "toml:6: health.intervall: there is no such setting; did you mean `interval`?",
        "toml:9: cleint: there is no such setting; did you mean `client`?",
        "toml:2: url: ",
        "toml:7: health.timeout: it has to be from 10ms to a year",
        "toml:13: headers.authorization: a secret does not belong into the settings",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for start in expected {
        assert!(
            problems.iter().any(|problem| problem.starts_with(start)),
            "{start}: {problems:#?}"
        );
    }
    assert!(!problems.iter().any(|problem| problem.contains("s3cr3t")));
}

#[test]
fn a_wrong_type_is_told_alone() {
    for (line, expected) in [
        (
            "[health]\ninterval = 5",
            "toml:3: health.interval: invalid value: integer `5`, expected a time with its unit",
        ),
        (
            "[client]\nmax_calls = -1",
            "toml:3: client.max_calls: invalid type: integer `-1`, expected a whole number",
        ),
        (
            "[queue]\noverflow = \"drop\"",
            "toml:3: queue.overflow: unknown variant `drop`, expected one of `wait`",
        ),
        (
            "fallbacks = [\"wss://a\", 1]",
            "toml:2: fallbacks[1]: invalid type: integer `1`, expected a string",
        ),
        (
            "[auth]\nsecret = \"s3cr3t\"",
            "toml:3: auth.secret: say where the secret is",
        ),
        (
            "[auth.secret]\ntoken = \"s3cr3t\"",
            "toml:2: auth.secret: say where the secret is",
        ),
        (
            "[headers]\nx-pin = 12345",
            "toml:3: headers.x-pin: the value of a header is a text",
        ),
        ("[queue\n", "toml:2: "),
    ] {
        let problems = wrong(&format!("{URL}{line}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(expected), "{problems:?}");
        assert!(
            !problems[0].contains("s3cr3t") && !problems[0].contains("12345"),
            "{problems:?}"
        );
    }
}

#[test]
fn the_later_source_counts_and_tables_are_put_together() {
    let json = r#"{ "client": { "timeout": "5s", "inbound": 7 }, "fallbacks": ["wss://b.example"] }"#;
    let env = vars(&[
        ("TOWER_WS__CLIENT__TIMEOUT", "9s"),
        ("TOWER_WS__FALLBACKS", "wss://c.example, wss://d.example"),
        ("TOWER_WS__HEADERS__X_TENANT", "blue"),
        ("TOWER_WS__RECONNECT__FAIL_FAST", "true"),
        ("TOWER_WS__RATE_LIMIT__MESSAGES_PER_SECOND", "12"),
        ("TOWER_WS__NAME", "42"),
        ("TOWER_WS__AUTH__SECRET__COMMAND", "echo,token"),
        // Not ours.
        ("TOWER_WS_TEST_CONFIG", "x"),
        ("PATH", "/bin"),
    ]);
    let text = format!("{URL}[client]\nmax_calls = 3\n[auth]\nsecret = {{ env = \"TOKEN\" }}");
    let config = Config::sources().toml(text).json(json).vars(env).load().unwrap();
    assert_eq!((config.client.max_calls, config.client.inbound), (3, 7));
    assert_eq!(config.client.timeout, Duration::from_secs(9));
    assert_eq!(config.fallbacks, ["wss://c.example", "wss://d.example"]);
    assert_eq!(config.headers["x-tenant"], "blue");
    assert!(config.reconnect.fail_fast);
    assert_eq!(config.rate_limit.messages_per_second, 12);
    assert_eq!(config.name, "42");
    let command = vec!["echo".to_owned(), "token".to_owned()];
    assert_eq!(config.auth.secret, Some(Secret::Command(command)));

    let wrong = vars(&[("TOWER_WS__CLIENT__TIMOUT", "9s")]);
    let error = Config::sources().toml(URL).vars(wrong).load().unwrap_err().to_string();
    assert_eq!(
        error,
        "TOWER_WS__CLIENT__TIMOUT: client.timout: there is no such setting; did you mean `timeout`?"
    );
    let error = Config::sources().json("{\n\"url\": }").load().unwrap_err().to_string();
    assert!(error.starts_with("json:2: "), "{error}");
    let error = Config::sources()
        .file("/nowhere/x.toml")
        .load()
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/nowhere/x.toml: "), "{error}");
}

#[test]
fn nothing_secret_is_shown() {
    let text = "url = \"wss://example.com/s3cr3t?token=s3cr3t\"\nheaders = { x-key = \"s3cr3t\" }";
    let config = Config::sources().toml(text).load().unwrap();
    assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");
    assert!(!format!("{:?}", config.builder().unwrap()).contains("s3cr3t"));
    let mut config = config;
    config.connect.proxy = "http://me:s3cr3t@proxy.example".to_owned();
    assert!(!format!("{:?} {config:?}", config.connect).contains("s3cr3t"));
    let command = Secret::Command(["curl", "--user", "me:s3cr3t"].map(str::to_owned).into());
    assert_eq!(format!("{command:?}"), "Command(Some(\"curl\"))");
    let sources = Config::sources()
        .toml("s3cr3t")
        .json("s3cr3t")
        .vars(vars(&[("TOWER_WS__URL", "s3cr3t")]));
    assert!(!format!("{sources:?}").contains("s3cr3t"));
    let proxy = wrong(&format!("{URL}[connect]\nproxy = \"http://me:s3cr3t@proxy.example\""));
    assert!(
        !proxy[0].contains("s3cr3t") && proxy[0].contains("credentials"),
        "{proxy:?}"
    );
}

/// Each place that a secret may be in, read anew for each credential.
#[tokio::test]
async fn a_session_with_these_settings() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let folder = std::env::temp_dir().join(format!("tower-ws-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let token = folder.join("token");
    std::fs::write(&token, "s3cr3t\n").unwrap();
    for (n, secret) in [
        format!("{{ file = {:?} }}", token.display().to_string()),
        r#"{ command = ["echo", "s3cr3t"] }"#.to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!(
            "url = {:?}\nname = \"orders\"\nheaders = {{ x-tenant = \"blue\" }}\n[auth]\nsecret = {secret}\n\
             [rate_limit]\nmessages_per_second = 1000\n[client]\ntimeout = \"10s\"\n[connect]\nguard = \"unguarded\"",
            server.url()
        );
        let config = Config::sources().toml(text).load().unwrap();
        let (client, _inbound) = config.builder().unwrap().connect().await.unwrap();
        let echoed: u64 = client.request("echo", &7).await.unwrap();
        assert_eq!(echoed, 7);
        let request = &server.requests()[n];
        assert_eq!(request.headers["authorization"], "Bearer s3cr3t");
        assert_eq!(request.headers["x-tenant"], "blue");
    }
    std::fs::remove_dir_all(&folder).unwrap();

    let missing = format!(
        "url = {:?}\n[auth]\nsecret = {{ env = \"TOWER_WS_TEST_NO_SUCH\" }}\n[reconnect]\nfail_fast = true",
        server.url()
    );
    let config = Config::sources().toml(missing).load().unwrap();
    let error = config.builder().unwrap().connect().await.unwrap_err().to_string();
    assert!(error.contains("TOWER_WS_TEST_NO_SUCH"), "{error}");
}

/// In one source a secret is in one place, whatever the order of the environment.
#[test]
fn a_secret_in_two_places_is_an_error() {
    let two = vars(&[
        ("TOWER_WS__AUTH__SECRET__FILE", "/a"),
        ("TOWER_WS__AUTH__SECRET__ENV", "A"),
    ]);
    for vars in [two.clone(), two.into_iter().rev().collect()] {
        let error = Config::sources().toml(URL).vars(vars).load().unwrap_err().to_string();
        assert!(error.contains("auth.secret: say where the secret is"), "{error}");
    }
}

/// The methods of the settings come beside those that are known to read.
#[tokio::test]
async fn what_may_go_twice_is_what_reads_and_what_the_settings_say() {
    for method in ["tools/list", "orders/put"] {
        let server = Server::start(Script::Silent).await.unwrap();
        let text = format!("url = {:?}\n[ack]\nsafe_methods = [\"orders/put\"]", server.url());
        let config = Config::sources().toml(text).load().unwrap();
        let (client, _inbound) = config.builder().unwrap().connect().await.unwrap();
        let call = tokio::spawn(async move { client.request::<_, Vec<u64>>(method, &[7]).await });
        server.wait_received(1).await;
        server.play(Script::json_rpc());
        server.cut(Cut::Rst);
        let answered = tokio::time::timeout(Duration::from_secs(30), call)
            .await
            .expect("it is sent again");
        assert_eq!(answered.unwrap().unwrap(), [7], "{method}");
    }
}

/// It gets no input, and is killed with the fetch that takes too long.
#[cfg(unix)]
#[tokio::test]
async fn a_command_that_hangs_is_killed() {
    let done = std::env::temp_dir().join(format!("tower-ws-command-{}", std::process::id()));
    let script = format!("cat; sleep 1; touch {}; echo token", done.display());
    let command = Secret::Command(["sh".to_owned(), "-c".to_owned(), script].into());
    let credentials = command.credentials().deadline(Duration::from_millis(200));
    let fetched = credentials.get().await;
    assert!(fetched.unwrap_err().to_string().contains("was not fetched"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!done.exists(), "it went on");
}

#[test]
fn a_profile_counts_over_the_rest_of_its_file_and_less_than_later_sources() {
    let text = r#"
url = "wss://example.com/rpc"
health.interval = "5s"

[profiles.orders]
url = "wss://orders.example/rpc"
health.timeout = "7s"
client.inbound = 3

[profiles.other]
url = "nothing"
"#;
    let sources = || Config::sources().toml(text);
    assert_eq!(sources().load().unwrap().url, "wss://example.com/rpc");
    let vars = vars(&[("TOWER_WS__CLIENT__INBOUND", "4")]);
    let (config, places) = sources().profile("orders").vars(vars).load_placed().unwrap();
    assert_eq!(config.url, "wss://orders.example/rpc");
    assert_eq!(config.health.interval, Duration::from_secs(5));
    assert_eq!(config.health.timeout, Duration::from_secs(7));
    assert_eq!(config.client.inbound, 4);
    assert_eq!(places["health.interval"], "toml:3");
    assert_eq!(places["health.timeout"], "toml:7");
    assert_eq!(places["client.inbound"], "TOWER_WS__CLIENT__INBOUND");
    assert!(places.keys().all(|path| !path.starts_with("profiles")), "{places:?}");

    assert_eq!(sources().profiles().unwrap(), ["orders", "other"]);
    let error = sources().profile("order").load().unwrap_err().to_string();
    assert_eq!(error, "there is no profile `order`; there are orders, other");
    let error = sources().profile("other").load().unwrap_err().to_string();
    assert!(error.starts_with("toml:11: url: "), "{error}");
}

#[test]
fn an_option_of_a_program_is_a_source() {
    let sources = || Config::sources().toml(URL);
    let config = sources()
        .setting("--timeout", "transport.timeout", "3s")
        .setting("-s", "transport.subprotocols", "one,two")
        .setting("-H", "headers.x.y", "a, b")
        .load()
        .unwrap();
    assert_eq!(config.transport.timeout, Duration::from_secs(3));
    assert_eq!(config.transport.subprotocols, ["one", "two"]);
    assert_eq!(config.headers["x.y"], "a, b");
    let error = sources()
        .setting("--set", "transport.timeuot", "3s")
        .load()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("--set: transport.timeuot: there is no such setting; did you mean `timeout`?")
    );
}

#[test]
fn what_failures_mean_can_be_said() {
    let config = Config::sources()
        .toml(URL)
        .toml("reconnect.dispositions = \"centrifuge\"")
        .load()
        .unwrap();
    assert!(config.builder().is_ok());
    assert_eq!(
        config.reconnect.dispositions,
        tower_ws::config::FailureTable::Centrifuge
    );
}

/// A session by these sections, to a server that answers.
async fn session(server: &Server, sections: &str) -> Result<(), Failure> {
    let text = format!("url = {:?}\n{sections}\n[reconnect]\nfail_fast = true\n", server.url());
    let config = Config::sources().toml(&text).load().unwrap();
    let (client, _inbound) = config.builder().unwrap().connect().await.map_err(Failure::of)?;
    let echoed: u64 = client.request("echo", &7).await.map_err(Failure::of)?;
    assert_eq!(echoed, 7);
    Ok(())
}

#[tokio::test]
async fn each_guard_and_each_scheme_is_what_it_says() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    let host = "allow_hosts = [\"127.0.0.1\"]";
    for (connect, is_refused) in [
        ("guard = \"untrusted\"".to_owned(), true),
        ("guard = \"untrusted\"\nallow_plaintext = true".to_owned(), true),
        // A host that is allowed may have any name, and no address of this machine.
        (format!("guard = \"untrusted\"\nallow_plaintext = true\n{host}"), true),
        ("guard = \"operator\"\nallow_plaintext = true".to_owned(), false),
        ("guard = \"unguarded\"\nproxy = \"none\"".to_owned(), false),
    ] {
        let ended = session(&server, &format!("[connect]\n{connect}")).await;
        let refused = ended.err().map(|failure| failure.kind());
        assert_eq!(refused, is_refused.then_some(FailureKind::Policy), "{connect}");
    }
    // To this machine a secret may go in plaintext.
    let secret = "secret = { command = [\"echo\", \"s3cr3t\"] }";
    for (scheme, header, expected) in [
        (
            "scheme = \"basic\"\nname = \"me\"",
            "authorization",
            "Basic bWU6czNjcjN0",
        ),
        ("scheme = \"header\"\nname = \"x-key\"", "x-key", "s3cr3t"),
        ("allow_plaintext = true", "authorization", "Bearer s3cr3t"),
    ] {
        session(&server, &format!("[auth]\n{secret}\n{scheme}")).await.unwrap();
        assert_eq!(server.requests().last().unwrap().headers[header], expected);
    }
}

/// No default of any section, and it works.
#[tokio::test]
async fn a_session_with_other_settings_than_the_defaults() {
    let server = Server::start(Script::json_rpc()).await.unwrap();
    for (overflow, lag, table) in [
        ("refuse", "wait", "mcp"),
        ("drop-oldest", "close", "graphql-ws"),
        ("wait", "drop-oldest", "centrifuge"),
    ] {
        let text = format!(
            "fallbacks = [{:?}]\n[queue]\noverflow = {overflow:?}\n[client]\nlag = {lag:?}\ninbound = 7\n\
             [transport]\nsubprotocols = [\"chat\"]\n[rate_limit]\ndials_per_minute = 60\nbytes_per_second = 100000\n\
             [reconnect]\nmax_outage = \"1m\"\ndispositions = {table:?}\n",
            server.url()
        );
        let text = format!("url = {:?}\n{text}", server.url());
        let config = Config::sources().toml(&text).load().unwrap();
        let (client, _inbound) = config.builder().unwrap().connect().await.unwrap();
        let echoed: u64 = client.request("echo", &7).await.unwrap();
        assert_eq!(echoed, 7);
        let request = server.requests().pop().unwrap();
        assert_eq!(request.headers["sec-websocket-protocol"], "chat");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_setting() {
    for (section, place, words) in [
        (
            "[connect]\nroots = \"/nowhere/roots.pem\"",
            "connect",
            "/nowhere/roots.pem",
        ),
        (
            "[connect]\nroots = \"/nowhere/roots.pem\"\nonly_roots = true",
            "connect",
            "/nowhere/roots.pem",
        ),
        (
            "[connect]\nclient_cert = \"/nowhere/cert.pem\"\nclient_key = \"/nowhere/key.pem\"",
            "connect",
            "/nowhere/cert.pem",
        ),
    ] {
        let config = Config::sources().toml(URL).toml(section).load().unwrap();
        let error = config.builder().unwrap_err();
        let told = error.problems()[0].to_string();
        assert!(told.starts_with(place) && told.contains(words), "{told}");
    }
    let odd = wrong(&format!(
        "{URL}fallbacks = [\"https://example.com\"]\n[auth]\nscheme = \"header\"\nname = \"a b\"\n"
    ));
    assert!(odd.iter().any(|told| told.contains("fallbacks[0]")), "{odd:?}");
    assert!(odd.iter().any(|told| told.contains("no name of a header")), "{odd:?}");
    let unknown = Config::sources().file("/nowhere/settings.yaml").load().unwrap_err();
    assert!(!unknown.problems().is_empty(), "{unknown}");
}

/// What a command prints is the secret; that it fails is told without it.
#[tokio::test]
async fn a_command_that_fails_is_named() {
    let secret = |command: &[&str]| Secret::Command(command.iter().map(|&word| word.to_owned()).collect());
    for (command, words) in [
        (&["false"][..], "`false`"),
        (&["tower-ws-test-no-such-program"], "tower-ws-test-no-such-program"),
    ] {
        let failure = secret(command).credentials().get().await.unwrap_err();
        let mut told = failure.to_string();
        let mut source = std::error::Error::source(&failure);
        while let Some(error) = source {
            told += &format!(": {error}");
            source = error.source();
        }
        assert!(told.contains(words.trim_matches('`')), "{told}");
    }
    let shown = format!("{:?} {:?}", Secret::Env("A".to_owned()), Secret::File("/token".into()));
    assert_eq!(shown, "Env(\"A\") File(\"/token\")");
}
