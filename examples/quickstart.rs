//! A client that lives through failures.
//!
//! It starts a real MCP server on a loopback WebSocket, connects to it by the recommended stack,
//! and calls a tool all the time, from several tasks at once. Meanwhile the server crashes, closes,
//! freezes, and the cable is cut. Every call is accounted for: the last line says how they ended.
//! Half of the calls are declared safe to send again, and are, when the connection went down before
//! the answer came; the other half fail then, with "outcome unknown".
//!
//! ```text
//! cargo run --example quickstart
//! ```

#[path = "support/mcp_server.rs"]
mod mcp_server;

use std::{
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_server::McpServer;
use serde_json::json;
use tokio::{
    sync::broadcast::Receiver,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_ws::{
    Inbound, Incoming, ack,
    core::{BoxError, Replay},
    health,
    mcp::{self, CallToolResult, Implementation, Mcp, McpError},
    reconnect::{Handle, State, Transition},
};
use tower_ws_test_kit::{Cut, Fault, Proxy};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, BoxError> {
    let mut server = McpServer::start().await?;
    // Between client and server, a cable that can be cut.
    let cable = Proxy::start(server.addr()).await?;
    let log = Log::new();
    log.say(format!(
        "an MCP server (the official SDK's) listens on {}",
        server.addr()
    ));

    // The recommended stack. Each new connection begins with MCP's handshake, before any call may
    // go.
    let url = format!("ws://{}/mcp", cable.addr());
    let (mcp, inbound) = mcp::connect(url, Implementation::new("quickstart", "1")).await?;
    let tally = Arc::<Tally>::default();
    tokio::spawn(narrate(inbound, tally.clone(), log.clone()));

    let tools = mcp.tools().all().await?;
    let tools: Vec<_> = tools.iter().map(|tool| &tool.name).collect();
    log.say(format!("connected; the server's tools: {tools:?}"));

    let mut callers = JoinSet::new();
    for _ in 0..4 {
        callers.spawn(call_all_the_time(mcp.clone(), tally.clone(), log.clone()));
    }
    let mut recovered = tally.moves_on().await;

    log.say("the server closes with 1001, going away");
    server.close(1001, "going away");
    recovered &= recovers(&tally).await;

    log.say("the cable is cut: a reset");
    cable.cut_now(Cut::Rst);
    recovered &= recovers(&tally).await;

    log.say("the connection ends without a word");
    cable.cut_now(Cut::Fin);
    recovered &= recovers(&tally).await;

    log.say("the server freezes for 3 s, with its connection open");
    cable.set(Fault::Stall);
    sleep(Duration::from_secs(3)).await;
    log.say("the server thaws");
    cable.set(Fault::None);
    recovered &= tally.moves_on().await;
    if let Some(health) = tally.health.get() {
        log.say(format!("  a probe of the peer: {:.1?}", health.probe_now().await));
    }

    log.say("the server crashes");
    server.kill();
    sleep(Duration::from_secs(1)).await;
    log.say("the server is started again");
    server.restart().await?;
    recovered &= recovers(&tally).await;

    tally.stop.store(true, Ordering::Relaxed);
    let all_ended = timeout(Duration::from_secs(5), async {
        while callers.join_next().await.is_some() {}
    })
    .await
    .is_ok();
    let left = mcp.close(Duration::from_secs(2)).await;
    log.say(format!(
        "closed in order; {} calls reached the tool, {} were left unsent, {} unanswered",
        server.used(),
        left.unsent.len(),
        left.unanswered
    ));
    if !recovered {
        log.say("after one of the faults no call was answered");
    }
    let lost = tally.report();
    Ok(ExitCode::from(u8::from(lost > 0 || !recovered || !all_ended)))
}

/// One of the callers: adds numbers, and checks the sums.
async fn call_all_the_time(mcp: Mcp, tally: Arc<Tally>, log: Log) {
    while !tally.stop.load(Ordering::Relaxed) {
        let n = tally.calls.fetch_add(1, Ordering::Relaxed);
        match add(&mcp, n).await {
            Ok(sum) if sum.text().parse() == Ok(n + 1) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
            }
            // A wrong answer is an answer lost.
            Ok(_) => {}
            Err(error) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                log.say(format!("  a call failed: {error}"));
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn add(mcp: &Mcp, n: u64) -> Result<CallToolResult, McpError> {
    // An addition may be done twice. For the sake of the demonstration, only every other one.
    let replay = if n.is_multiple_of(2) {
        Replay::Safe
    } else {
        Replay::Unsafe
    };
    let request = mcp.tool_request("add", &json!({ "a": n, "b": 1 }))?;
    mcp.send(request.replay(replay)).await
}

/// Tells what the session goes through: what comes in, and what is planned.
async fn narrate(mut inbound: Inbound, tally: Arc<Tally>, log: Log) {
    let mut plans = None;
    loop {
        tokio::select! {
            biased;
            item = inbound.next() => match item {
                Some(Incoming::Up(up)) => {
                    log.say(format!("  up: connection {} of the session", up.epoch));
                    tally.connections.store(up.epoch, Ordering::Relaxed);
                    plans = plans.or_else(|| Some(up.extensions.get::<Handle>()?.transitions()));
                    // The handles are those of the session: the first `Up` brings them.
                    up.extensions.get::<ack::Handle>().map(|handle| tally.ack.set(handle.clone()));
                    up.extensions.get::<health::Handle>().map(|handle| tally.health.set(handle.clone()));
                }
                Some(Incoming::Down(down)) => log.say(format!("  down: {}", down.cause)),
                Some(other) => log.say(format!("  {other:?}")),
                None => return log.say("  the session has ended"),
            },
            Some(plan) = next(&mut plans) => if let (State::BackingOff { .. }, Some(delay)) = (plan.state, plan.delay) {
                log.say(format!("  next: dials again in {:.1} s", delay.as_secs_f64()));
            },
        }
    }
}

async fn next(plans: &mut Option<Receiver<Transition>>) -> Option<Transition> {
    plans.as_mut()?.recv().await.ok()
}

/// True if a new connection comes up and calls are answered on it.
async fn recovers(tally: &Tally) -> bool {
    let before = tally.connections.load(Ordering::Relaxed);
    tally
        .until(|tally| tally.connections.load(Ordering::Relaxed) > before)
        .await
        && tally.moves_on().await
}

/// How the calls ended.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    calls: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    connections: AtomicU64,
    ack: OnceLock<ack::Handle>,
    health: OnceLock<health::Handle>,
}

impl Tally {
    /// True if a hundred calls are answered from now on.
    async fn moves_on(&self) -> bool {
        let goal = self.answered.load(Ordering::Relaxed) + 100;
        self.until(|tally| tally.answered.load(Ordering::Relaxed) >= goal).await
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) -> bool {
        let look = async {
            while !done(self) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(15), look).await.is_ok()
    }

    /// Prints the last line, and returns how many calls are unaccounted for.
    fn report(&self) -> u64 {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (calls, answered, failed) = (get(&self.calls), get(&self.answered), get(&self.failed));
        let lost = calls - answered - failed;
        let reconnects = get(&self.connections).saturating_sub(1);
        let resent = self.ack.get().map_or(0, |ack| ack.snapshot().resent);
        println!(
            "calls={calls} answered={answered} resent={resent} failed={failed} lost={lost} reconnects={reconnects}"
        );
        lost
    }
}

/// Prints what happens, and when.
#[derive(Clone)]
struct Log(Instant);

impl Log {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn say(&self, what: impl AsRef<str>) {
        println!("{:6.2} s  {}", self.0.elapsed().as_secs_f64(), what.as_ref());
    }
}
