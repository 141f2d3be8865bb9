//! The proof: a process that is killed, again and again, and a server that remembers what it was
//! told.
//!
//! Each scenario runs many processes over one file. Each process sends numbered messages, says
//! which ones were accepted (its flush was done), and is killed: by SIGKILL at a random moment,
//! while it starts, in regular traffic or in an outage; or at its first [step](steps), its second,
//! its third, and so on, a commit's beginning and end among them. The last one may finish. Then:
//!
//! - what is safe to send twice: everything accepted was applied, in the order of acceptance;
//! - what is not: nothing was applied twice, and everything accepted was applied or reported as
//!   interrupted;
//! - calls: each answer was that of its question, no id meant two calls, and no call was asked by a
//!   stranger's id;
//! - the file has not grown with the number of messages.
//!
//! 52 kills, and twenty times as many where `TOWER_WS_LONG` is set. There, and if there is `strace`,
//! a process is also killed at each system call that writes.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod child;
mod limits;
mod owners;
mod server;
mod steps;

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

/// How often each is killed.
const TRAFFIC: [(Traffic, u64); 4] = [
    (Traffic::Safe, 16),
    (Traffic::Cumulative, 8),
    (Traffic::Unsafe, 16),
    (Traffic::Calls, 12),
];
const LONG: u64 = 20;

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Start,
    Traffic,
    Outage,
    /// By itself, at this step.
    Step(u64),
    /// At this system call.
    Call(u64),
    /// In order.
    Last,
}

/// Longer than a child ever takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than what is under way at a time, less than what goes through.
const FILE_BYTES: u64 = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "child" => return child::main(rest),
        Some((first, rest)) if first == "owner" => return owners::main(rest),
        #[cfg(unix)]
        Some((first, rest)) if first == "fill" => return limits::main(rest),
        // Asked by a runner of tests, which then asks for those that are not to run.
        _ if arguments.iter().any(|argument| argument == "--ignored") => return,
        _ if arguments.iter().any(|argument| argument == "--list") => return println!("kill: test"),
        _ => {}
    }
    owners::one_at_a_time();
    owners::nothing_undoes_it();
    #[cfg(unix)]
    {
        limits::read_only_files_are_told_at_once();
        limits::a_file_that_may_not_grow();
    }
    let seed = std::env::var("SPOOL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let is_long = std::env::var_os("TOWER_WS_LONG").is_some();
    let has_strace = is_long && std::process::Command::new("strace").arg("-V").output().is_ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut kills = 0;
    for (traffic, rounds) in TRAFFIC {
        println!("{traffic:?}: SPOOL_SEED={seed}");
        let rounds = rounds * if is_long { LONG } else { 1 };
        let mut rng = fastrand::Rng::with_seed(seed);
        // Every other one at the next step.
        let ends = (0..rounds).map(|round| match (round % 2, rng.u8(0..3)) {
            (0, _) => End::Step(round / 2 + 1),
            (_, 0) => End::Start,
            (_, 1) => End::Traffic,
            _ => End::Outage,
        });
        let mut ends: Vec<_> = ends.collect();
        if has_strace {
            ends.extend((0..rounds / 4).map(|call| End::Call(call + 1)));
        }
        kills += ends.len();
        runtime.block_on(scenario(traffic, &ends, seed));
    }
    println!("{kills} kills, and the ledgers add up");
}

/// What the children have said.
#[derive(Debug, Default)]
struct Said {
    accepted: Vec<u64>,
    interrupted: BTreeSet<u64>,
    others: BTreeMap<String, usize>,
    left: Option<usize>,
}

async fn scenario(traffic: Traffic, ends: &[End], seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool.db");
    let server = Server::start(rng.u64(..)).await;
    let mut said = Said::default();
    for (round, end) in ends.iter().enumerate() {
        let (mut child, mut lines) = start(traffic, &file, &server, rng.u64(..), *end);
        if let End::Traffic | End::Outage = end {
            said.until(&mut lines, "up").await;
            said.during(&mut lines, Duration::from_millis(rng.u64(0..150))).await;
        }
        if let End::Outage = end {
            server.go_dark(true);
            said.until(&mut lines, "down").await;
        }
        if let End::Start | End::Traffic | End::Outage = end {
            said.during(&mut lines, Duration::from_millis(rng.u64(0..80))).await;
            child.start_kill().unwrap();
        }
        // What it had said before is still in the pipe.
        said.rest(&mut lines).await;
        let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert!(status.code().is_none(), "it was not killed, but ended with {status}");
        server.go_dark(false);
        println!(
            "{traffic:?}: round {round}, {end:?}: {} accepted so far",
            said.accepted.len()
        );
    }
    let (mut child, mut lines) = start(traffic, &file, &server, rng.u64(..), End::Last);
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
    end: End,
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = match end {
        End::Call(call) => {
            // Counted by thread.
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
            let calls = "write,writev,sendto,pwrite64,fsync,fdatasync,ftruncate,unlink,openat";
            strace.arg(format!("inject={calls}:signal=SIGKILL:when={call}"));
            strace.arg(std::env::current_exe().unwrap());
            strace
        }
        _ => Command::new(std::env::current_exe().unwrap()),
    };
    let step = if let End::Step(step) = end { step } else { 0 };
    let mut child = command
        .arg("child")
        .arg(format!("{traffic:?}"))
        .arg(file)
        .arg(server.port().to_string())
        .arg(seed.to_string())
        .arg(matches!(end, End::Last).to_string())
        .arg(step.to_string())
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
