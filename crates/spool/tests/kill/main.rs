//! The proof: a process that is killed, again and again, at random moments, and a server that
//! remembers what it was told.
//!
//! Each scenario runs many processes over one file. Each process sends numbered messages, says
//! which ones were accepted (its flush was done), and is killed by SIGKILL: in regular traffic,
//! while it starts, in an outage. The last one may finish. Then:
//!
//! - what is safe to send twice: everything accepted was applied, in the order of acceptance;
//! - what is not: nothing was applied twice, and everything accepted was applied or reported as
//!   interrupted;
//! - calls: each answer was that of its question, no id meant two calls, and no call was asked by a
//!   stranger's id;
//! - the file has not grown with the number of messages.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod child;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};

use server::Server;

/// What is sent, and how it is acknowledged. A child gets it as its first argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Traffic {
    /// Bare acknowledgements; everything may be sent twice.
    Safe,
    /// Cumulative acknowledgements; everything may be sent twice.
    Cumulative,
    /// Bare acknowledgements; nothing may be sent twice.
    Unsafe,
    /// JSON-RPC by a client.
    Calls,
}

const TRAFFIC: [(Traffic, u64); 4] = [
    (Traffic::Safe, 25),
    (Traffic::Cumulative, 8),
    (Traffic::Unsafe, 15),
    (Traffic::Calls, 10),
];

/// Longer than a child ever takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than what is under way at a time, less than what goes through.
const FILE_BYTES: u64 = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) == Some("child") {
        return child::main(&arguments[2..]);
    }
    let seed = std::env::var("SPOOL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for (traffic, rounds) in TRAFFIC {
        println!("{traffic:?}: SPOOL_SEED={seed}");
        runtime.block_on(scenario(traffic, rounds, seed));
    }
}

/// What the children have said.
#[derive(Debug, Default)]
struct Said {
    accepted: Vec<u64>,
    interrupted: BTreeSet<u64>,
    others: BTreeMap<String, usize>,
    left: Option<usize>,
}

async fn scenario(traffic: Traffic, rounds: u64, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool.db");
    let server = Server::start(rng.u64(..)).await;
    let mut said = Said::default();
    for round in 0..rounds {
        let (mut child, mut lines) = start(traffic, &file, &server, rng.u64(..), false);
        // A third is killed as it starts, a third in traffic, a third in an outage.
        let kind = rng.u8(0..3);
        if kind > 0 {
            said.until(&mut lines, "up").await;
            said.during(&mut lines, Duration::from_millis(rng.u64(0..150))).await;
        }
        if kind == 2 {
            server.go_dark(true);
            said.until(&mut lines, "down").await;
        }
        said.during(&mut lines, Duration::from_millis(rng.u64(0..80))).await;
        child.start_kill().unwrap();
        let _ = child.wait().await;
        // What it had said before is still in the pipe.
        said.rest(&mut lines).await;
        server.go_dark(false);
        println!(
            "{traffic:?}: round {round}, kind {kind}: {} accepted so far",
            said.accepted.len()
        );
    }
    let (mut child, mut lines) = start(traffic, &file, &server, rng.u64(..), true);
    said.rest(&mut lines).await;
    assert!(
        timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success(),
        "the last child failed"
    );
    check(traffic, &said, &server, &file);
}

fn check(traffic: Traffic, said: &Said, server: &Server, file: &Path) {
    let applied = server.applied();
    let mut first = Vec::new();
    let (mut seen, mut twice) = (BTreeSet::new(), 0);
    for n in &applied {
        match seen.insert(*n) {
            true => first.push(*n),
            false => twice += 1,
        }
    }
    println!(
        "{traffic:?}: {} accepted, {} applied, {twice} of them again, {} interrupted, others: {:?}",
        said.accepted.len(),
        first.len(),
        said.interrupted.len(),
        said.others
    );
    // So many are the last child's alone.
    assert!(said.accepted.len() > 40, "there was hardly any traffic");
    assert!(first.is_sorted(), "out of order: {first:?}");
    let missing: Vec<_> = said.accepted.iter().filter(|n| !seen.contains(n)).collect();
    match traffic {
        Traffic::Safe | Traffic::Cumulative | Traffic::Calls => assert!(missing.is_empty(), "lost: {missing:?}"),
        Traffic::Unsafe => {
            assert_eq!(twice, 0, "applied twice: {applied:?}");
            let silent: Vec<_> = missing.iter().filter(|n| !said.interrupted.contains(n)).collect();
            assert!(silent.is_empty(), "lost without a word: {silent:?}");
        }
    }
    assert!(said.others.is_empty(), "something else came back: {:?}", said.others);
    assert_eq!(said.left, Some(0), "the spool is not empty");
    let size = std::fs::metadata(file).unwrap().len();
    assert!(size < FILE_BYTES, "the file has {size} bytes");
}

fn start(
    traffic: Traffic,
    file: &Path,
    server: &Server,
    seed: u64,
    last: bool,
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .arg(format!("{traffic:?}"))
        .arg(file)
        .arg(server.port().to_string())
        .arg(seed.to_string())
        .arg(last.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

impl Said {
    async fn until(&mut self, lines: &mut Lines<BufReader<ChildStdout>>, word: &str) {
        let wait = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line == word {
                    return;
                }
                self.note(&line);
            }
            panic!("the child ended before it said {word}");
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("the child never said {word}"));
    }

    async fn during(&mut self, lines: &mut Lines<BufReader<ChildStdout>>, time: Duration) {
        let end = sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                line = lines.next_line() => match line.unwrap() {
                    Some(line) => self.note(&line),
                    None => panic!("the child ended by itself"),
                },
            }
        }
    }

    async fn rest(&mut self, lines: &mut Lines<BufReader<ChildStdout>>) {
        let rest = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                self.note(&line);
            }
        };
        timeout(PATIENCE, rest)
            .await
            .expect("the child neither ends nor says anything");
    }

    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (word, number) = (words.next(), words.next().and_then(|n| n.parse::<u64>().ok()));
        match (word, number) {
            (Some("accepted"), Some(n)) => self.accepted.push(n),
            (Some("interrupted"), Some(n)) => drop(self.interrupted.insert(n)),
            (Some("left"), Some(n)) => self.left = Some(n as usize),
            (Some("up" | "down"), None) => {}
            _ => *self.others.entry(line.to_owned()).or_default() += 1,
        }
    }
}
