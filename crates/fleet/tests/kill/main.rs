//! The proof: workers that are killed, or stand still, and a server that is killed under them, while
//! the peer keeps a ledger.
//!
//! Three workers, which are this program again, fight for two lanes. Whoever owns one numbers
//! messages into its outbox, the odd ones unsafe to send twice, and says which were accepted (their
//! flush was done). The peer, which is this process, notes each message as it comes, with the token of
//! its owner, and acknowledges it. After all:
//!
//! - **lost**: each accepted message has come, or was told of as interrupted, which only unsafe ones
//!   may be;
//! - **unsafe twice**: no unsafe message has come twice;
//! - **out of order**: the first time that they come, the messages of a lane come in the order of
//!   acceptance;
//! - what comes with a token has not come after a larger one, unless its worker stood still: the
//!   kernel may hold what he had written.
//!
//! 20 workers and 2 servers, and ten times as many where `TOWER_WS_LONG` is set. There [limits] are
//! tried with eight processes for longer, too, and there are ten [failovers](failover), not two.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod failover;
mod ledger;
mod limits;
mod peer;
mod worker;

use std::{process::Stdio, time::Duration};

use ledger::Ledger;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tower_ws_fleet::Fleet;
use tower_ws_test_kit::Postgres;

const LANES: [&str; 2] = ["a", "b"];
const WORKERS: usize = 3;
const LEASE: Duration = Duration::from_secs(1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match &arguments[..] {
        [what, url, peer] if what == "worker" => runtime.block_on(worker::run(url, peer)),
        [what, url, rate, seconds] if what == "limit" => runtime.block_on(limits::pass(url, rate, seconds)),
        // Listing tests, as `cargo test -- --list` does.
        [first, ..] if first == "--list" => {}
        _ => runtime.block_on(run()),
    }
}

struct Worker {
    child: Child,
    reads: tokio::task::JoinHandle<()>,
}

impl Worker {
    fn start(url: &str, peer: &str, ledger: &Ledger) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["worker", url, peer])
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ledger = ledger.clone();
        let reads = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                ledger.told(&line);
            }
        });
        Self { child, reads }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
        // What it had said before.
        self.reads.await.unwrap();
    }

    async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
    }
}

async fn run() {
    let Some(server) = Postgres::start() else { return };
    let long = std::env::var_os("TOWER_WS_LONG").is_some();
    let (kills, crashes) = if long { (200, 20) } else { (20, 2) };
    limits::prove(&server, if long { 20 } else { 5 }).await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    Fleet::new(server.url().parse().unwrap(), "proof")
        .migrate()
        .await
        .unwrap();
    let ledger = Ledger::default();
    let peer = peer::start(&ledger).await;
    let (url, began) = (server.url(), Instant::now());
    let mut workers: Vec<_> = (0..WORKERS).map(|_| Worker::start(&url, &peer, &ledger)).collect();
    let (mut killed, mut crashed, mut paused) = (0, 0, 0);
    while killed < kills || crashed < crashes {
        sleep(Duration::from_millis(rng.u64(50..900))).await;
        if crashed < crashes && killed * crashes >= crashed * kills && rng.u8(..4) == 0 {
            crashed += 1;
            tokio::task::block_in_place(|| server.restart());
            continue;
        }
        if killed >= kills {
            continue;
        }
        let at = rng.usize(..WORKERS);
        let worker = std::mem::replace(&mut workers[at], Worker::start(&url, &peer, &ledger));
        if rng.bool() {
            // It stands still until others have its lanes, goes on for a moment, and is killed.
            paused += 1;
            worker.signal("-STOP").await;
            sleep(LEASE + LEASE / 2).await;
            worker.signal("-CONT").await;
            sleep(LEASE / 5).await;
        }
        killed += 1;
        worker.kill().await;
    }
    let took = began.elapsed().as_secs();
    println!(
        "{killed} workers killed, {paused} of them after they stood still, {crashed} crashes of the server, {took} s"
    );
    judge(&ledger, workers).await;
    failover::prove(if long { 10 } else { 2 }).await;
}

/// The last workers go on until everything that was accepted has come or was told of.
async fn judge(ledger: &Ledger, workers: Vec<Worker>) {
    let settled = timeout(LEASE * 60, async {
        while !ledger.is_settled() {
            sleep(LEASE / 10).await;
        }
    });
    let settled = settled.await.is_ok();
    for worker in workers {
        worker.kill().await;
    }
    let verdict = ledger.verdict();
    println!("{verdict:?}");
    assert!(settled, "not everything was settled");
    assert!(verdict.accepted > 100, "hardly anything was tried");
    assert_eq!((verdict.lost, verdict.unsafe_twice, verdict.out_of_order), (0, 0, 0));
}
