//! Autobahn's cases of the WebSocket protocol, by the runner that `tests/peers/install` installs: a server that does what no
//! server should, and judges what the client makes of it. All layers of a connection stand on top of the framing.
//!
//! With `TOWER_WS_LONG` set all cases of compression are run, otherwise some.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tower::ServiceBuilder;
use tower_ws::{
    ack::{AckLayer, JsonRpc},
    connect_by,
    connector::tcp_connector,
    core::{Event, Failure},
    health::HealthLayer,
    metrics::MetricsLayer,
    queue::QueueLayer,
    rate_limit::RateLimitLayer,
    reconnect::{Decision, History, ReconnectLayer},
    transport::{
        Framing, JsonText, Message, TransportLayer, Tungstenite,
        sockudo::{Deflate, Sockudo},
    },
};

/// How the server knows the client.
const AGENT: &str = "tower-ws";

/// Those of the 301 cases without compression that are not plainly right, and what they are: the verdict on what the client did, and
/// on how it closed.
const EXPECTED: &str = include_str!("expected.txt");

#[tokio::test]
async fn framing_by_tungstenite() {
    if let Some(server) = Server::start(["-x", "12.*", "-x", "13.*"]).await {
        assert_eq!(server.judge(301, Tungstenite).await, EXPECTED);
    }
}

#[tokio::test]
async fn framing_by_sockudo() {
    if let Some(server) = Server::start(["-x", "12.*", "-x", "13.*"]).await {
        assert_eq!(server.judge(301, compressing(Deflate::new())).await, EXPECTED);
    }
}

/// Each case is 1,000 messages: of five kinds, and by what a server may ask for.
#[tokio::test]
async fn compression() {
    let (cases, count) = match env::var_os("TOWER_WS_LONG") {
        Some(_) => (&["12.*", "13.1.*", "13.3.*", "13.4.*", "13.7.*"][..], 162),
        None => (&["12.1.3", "12.2.11", "13.3.3", "13.7.11"][..], 4),
    };
    if let Some(server) = Server::start(cases.iter().flat_map(|case| ["-i", case])).await {
        assert_eq!(server.judge(count, compressing(Deflate::new())).await, "");
    }
}

/// What a server asks only of a client that offers it.
#[tokio::test]
async fn compression_of_each_message_by_itself() {
    let (cases, count) = match env::var_os("TOWER_WS_LONG") {
        Some(_) => (&["13.2.*", "13.5.*", "13.6.*"][..], 54),
        None => (&["13.2.3", "13.5.11"][..], 2),
    };
    if let Some(server) = Server::start(cases.iter().flat_map(|case| ["-i", case])).await {
        let framing = compressing(Deflate::new().no_context_takeover());
        assert_eq!(server.judge(count, framing).await, "");
    }
}

/// The cases want each message to be compressed, also the smallest.
fn compressing(deflate: Deflate) -> Sockudo {
    Sockudo::new().deflate(deflate.threshold(0))
}

/// The runner, as a process of its own. Dropping it kills it.
struct Server {
    child: Child,
    url: String,
    reports: TempDir,
}

impl Server {
    /// `None`, said aloud, if it has not been installed; with `TOWER_WS_PEERS_REQUIRED` set that is a failure.
    async fn start<'a>(cases: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = env::var_os("TOWER_WS_PEERS").map_or_else(|| root.join("target/peers"), PathBuf::from);
        let home = installed.join("autobahn");
        if !home.join("complete").exists() {
            let required = env::var_os("TOWER_WS_PEERS_REQUIRED").is_some();
            assert!(!required, "autobahn's cases are not installed: run tests/peers/install");
            // Not by `println!`, which the test runner keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: autobahn's cases are not installed; tests/peers/install does it"
            );
            return None;
        }
        let reports = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(home.join("venv/bin/kosoku"))
            .args(["-m", "fuzzingserver", "-o"])
            .arg(reports.path())
            .args(cases)
            .arg(free.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("ws://{free}");
        let server = Self { child, url, reports };
        let listens = async {
            while TcpStream::connect(free).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(60), listens).await.expect("it starts");
        Some(server)
    }

    /// Runs all cases, of which there are `expected`. Gives those that are not plainly right.
    async fn judge(mut self, expected: usize, framing: impl Framing + Copy + Send + Sync + 'static) -> String {
        let count = self.ask("getCaseCount", framing).await;
        assert_eq!(count[0].as_text(), Some(&*expected.to_string()));
        // Several at once, since some cases do nothing but wait. Each has its own connection.
        stream::iter(1..=expected)
            .for_each_concurrent(4, |case| {
                let path = format!("runCase?case={case}&agent={AGENT}");
                let server = &self;
                async move { drop(server.ask(&path, framing).await) }
            })
            .await;
        self.ask(&format!("updateReports?agent={AGENT}"), framing).await;
        // It writes them, and ends.
        let ended = tokio::task::spawn_blocking(move || {
            self.child.wait().unwrap();
            self
        });
        ended.await.unwrap().verdicts(expected)
    }

    /// Connects, sends back each message, and gives what was said, once the server has ended it.
    ///
    /// Each is sent back before the next is read. A client on top, with a task of its own, reads on meanwhile: where a message and
    /// a fault come together the fault may end the connection first, which the cases allow and call not strict.
    async fn ask(&self, path: &str, framing: impl Framing + Clone + Send + Sync + 'static) -> Vec<Message> {
        let once = |_: &Failure, history: &History| match history.uptime {
            Some(_) => Decision::GiveUp,
            None => Decision::RetryAfter(Duration::from_millis(100)),
        };
        let stack = ServiceBuilder::new()
            .layer(MetricsLayer::session())
            .layer(QueueLayer::new())
            .layer(AckLayer::new(JsonRpc::new(JsonText)))
            .layer(ReconnectLayer::new().policy(once))
            .layer(MetricsLayer::connection())
            .layer(RateLimitLayer::new())
            .layer(HealthLayer::new())
            .layer(TransportLayer::new().framing(framing))
            .service(tcp_connector());
        let case = async {
            let mut connection = connect_by(stack, format!("{}/{path}", self.url)).await.unwrap();
            let mut said = Vec::new();
            while let Some(event) = connection.next().await {
                match event {
                    Event::Message(message) if message.is_data() => {
                        said.push(message.clone());
                        // It fails where the server is gone already, which is no fault.
                        let _ = connection.send(message.into()).await;
                    }
                    _ => {}
                }
            }
            said
        };
        // The longest that any case waits.
        timeout(Duration::from_secs(500), case)
            .await
            .unwrap_or_else(|_| panic!("{path} does not end"))
    }

    /// What it has written down.
    fn verdicts(&self, count: usize) -> String {
        let index = find(self.reports.path(), "index.json").expect("it has written its reports");
        let index: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
        let cases = index[AGENT].as_object().unwrap();
        assert_eq!(cases.len(), count);
        let mut told = BTreeMap::new();
        for (case, verdict) in cases {
            let of = |name: &str| verdict[name].as_str().unwrap();
            let (behavior, close) = (of("behavior"), of("behaviorClose"));
            if (behavior, close) != ("OK", "OK") {
                let place: Vec<u32> = case.split('.').map(|part| part.parse().unwrap()).collect();
                told.insert(place, format!("{case} {behavior} {close}\n"));
            }
        }
        told.into_values().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    entries.into_iter().find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => (path.file_name()? == name).then_some(path),
    })
}
