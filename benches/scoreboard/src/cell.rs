//! One run: a server of its own, a client in a process of its own, and what both have to say in the end.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, interval, sleep_until};

use crate::account::Account;
use crate::process;
use crate::rival::Rival;
use crate::row::{Company, Row};
use crate::server::Server;
use crate::{BoxError, Settings};

/// Then a client is settled: the first connection is up, and nothing has happened to it yet.
const SETTLED: Duration = Duration::from_millis(800);
/// A client that idles is not counted before.
const QUIET: Duration = Duration::from_secs(5);
/// A client that has grown so much has shown what it does, and leaves the machine's memory alone.
const ENOUGH: u64 = 2 << 30;

/// Runs one client against the server of one row.
pub(crate) async fn run(row: Row, rival: &Rival, settings: Settings, verbose: bool) -> Result<Account, BoxError> {
    let (server, port) = Server::new(row.plan())?;
    let mut child = rival
        .command()?
        .args(["--settings", settings.name(), "--url"])
        .arg(format!("ws://{}{}", server.address(), rival.path))
        .args(["--work", &serde_json::to_string(&row.work())?])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if verbose { Stdio::inherit() } else { Stdio::null() })
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the client has no standard output")?;
    let mut watch = Watch {
        server: &server,
        until: Instant::now() + row.lasts(),
        weighs: row.company() == Company::Alone,
        verbose,
        account: Account::default(),
    };
    tokio::select! {
        served = server.run(port) => served?,
        watched = watch.run(&mut child, BufReader::new(stdout).lines()) => watched?,
    }
    child.kill().await?;
    let mut account = watch.account;
    account.ledger = server.ledger().clone();
    Ok(account)
}

struct Watch<'a> {
    server: &'a Server,
    until: Instant,
    /// The client's memory is of interest.
    weighs: bool,
    verbose: bool,
    account: Account,
}

impl Watch<'_> {
    async fn run(&mut self, child: &mut Child, mut lines: Lines<BufReader<ChildStdout>>) -> Result<(), BoxError> {
        let pid = child.id().ok_or("the client has no process")?;
        let mut look = interval(Duration::from_millis(if self.weighs { 50 } else { 500 }));
        let mut settled = None;
        let mut quiet = None;
        loop {
            tokio::select! {
                line = lines.next_line() => match line? {
                    Some(line) => self.note(&line)?,
                    None => {
                        self.account.ended = Some(self.server.now());
                        return Ok(());
                    }
                },
                _ = look.tick() => {
                    let now = self.server.now();
                    let up = self.server.ledger().up;
                    let Some(up) = up.map(|up| now.saturating_sub(up)) else { continue };
                    if up >= QUIET && quiet.is_none() {
                        quiet = process::sleeps(pid).map(|sleeps| (now, sleeps));
                    }
                    if !self.weighs || up < SETTLED {
                        continue;
                    }
                    let Some(memory) = process::memory(pid) else { continue };
                    let before = *settled.get_or_insert(memory);
                    self.account.growth = self.account.growth.max(memory.saturating_sub(before));
                    if self.account.growth > ENOUGH {
                        return Ok(());
                    }
                }
                () = sleep_until(self.until) => {
                    if let (Some((since, before)), Some(sleeps)) = (quiet, process::sleeps(pid)) {
                        let time = (self.server.now() - since).as_secs_f64();
                        self.account.wakeups_per_second = (sleeps - before) as f64 / time.max(1.0);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn note(&mut self, line: &str) -> Result<(), BoxError> {
        if self.verbose {
            eprintln!("{:8.3} {line}", self.server.now().as_secs_f64());
        }
        let event = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        self.account.events.push((self.server.now(), event));
        Ok(())
    }
}
