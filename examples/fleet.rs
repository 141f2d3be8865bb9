//! Three processes, one outbox: one owns it, two stand by. The owner is killed, the next one stands still for a while.
//!
//! It starts a PostgreSQL of its own, in a temporary folder. Where there is none it says what it needs.
//!
//! ```text
//! cargo run --example fleet
//! ```

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::sleep,
};
use tower_ws::{
    Request,
    ack::{AckLayer, JsonRpc},
    core::{BoxError, Replay},
    fleet::{Fleet, spool::SpoolOptions},
    tower::ServiceExt,
    transport::JsonText,
};
use tower_ws_test_kit::{Postgres, Script, Server};

const LEASE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, database, url] = &arguments[..] {
        return worker(name, database, url).await;
    }
    let Some(database) = Postgres::start() else {
        println!(
            "This example needs the server of PostgreSQL: apt-get install postgresql, or TOWER_WS_POSTGRES=its/bin"
        );
        return Ok(());
    };
    Fleet::new(database.url().parse()?, "example").migrate().await?;
    let server = Server::start(Script::json_rpc()).await?;

    let (told, mut says) = mpsc::unbounded_channel();
    let mut workers = BTreeMap::new();
    for name in ["one", "two", "three"] {
        workers.insert(
            name.to_owned(),
            start(name, &database.url(), &server.url(), told.clone())?,
        );
    }
    let (mut owners, mut answered) = (Vec::new(), Vec::new());
    while let Some(line) = says.recv().await {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["owns", name, token] => {
                println!("{name} owns the outbox, with token {token}");
                owners.push(name.to_owned());
            }
            ["answered", reading] => answered.push(reading.to_owned()),
            _ => println!("{line}"),
        }
        if answered.len() != 20 * owners.len() {
            continue;
        }
        let Some(owner) = owners.last().and_then(|name| workers.get_mut(name)) else {
            continue;
        };
        match owners.len() {
            1 => {
                println!("it is killed");
                owner.kill().await?;
            }
            2 => {
                println!("it stands still for two leases");
                signal(owner, "-STOP").await?;
                sleep(LEASE * 2).await;
                signal(owner, "-CONT").await?;
            }
            _ => break,
        }
    }
    for worker in workers.values_mut() {
        worker.kill().await?;
    }
    while let Ok(line) = says.try_recv() {
        answered.extend(line.strip_prefix("answered ").map(str::to_owned));
    }

    let mut arrived = BTreeMap::<String, usize>::new();
    for received in server.received() {
        let call: Value = serde_json::from_str(received.message.as_text().unwrap_or_default())?;
        *arrived
            .entry(call["params"][0].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    let lost = answered
        .iter()
        .filter(|reading| !arrived.contains_key(*reading))
        .count();
    let again = arrived.values().filter(|times| **times > 1).count();
    println!(
        "answered={} arrived={} again={again} lost={lost}",
        answered.len(),
        arrived.len()
    );
    Ok(())
}

/// Owns the outbox whenever it can, and sends readings through it.
async fn worker(name: &str, database: &str, url: &str) -> Result<(), BoxError> {
    let fleet = Fleet::new(database.parse()?, "example").lease(LEASE);
    let strategy = JsonRpc::new(JsonText);
    let mut readings = 0;
    loop {
        // A standby waits here.
        let owned = fleet.lane("readings").acquire().await?;
        println!("owns {name} {}", owned.token());
        let spool = owned.spool(SpoolOptions::new(), strategy.clone()).await?;
        let session = tower_ws::builder(url)
            .store(spool.clone())
            .ack(AckLayer::new(strategy.clone()));
        let (client, _inbound) = session.connect().await?;
        // Once the lane is lost the session ends, and with it each call.
        while owned.is_valid() {
            readings += 1;
            let reading = format!("{name}-{readings}");
            let request = Request::new("telemetry/put")
                .params(&json!([reading]))?
                .replay(Replay::Safe);
            if client.clone().oneshot(request).await.is_ok() {
                println!("answered {reading}");
            }
            sleep(LEASE / 100).await;
        }
        println!("{name} has lost the outbox: {}", owned.lost().await);
        drop(client);
        spool.close().await;
    }
}

fn start(name: &str, database: &str, url: &str, told: mpsc::UnboundedSender<String>) -> Result<Child, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([name, database, url])
        .kill_on_drop(true)
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = told.send(line);
        }
    });
    Ok(child)
}

async fn signal(child: &Child, signal: &str) -> Result<(), BoxError> {
    let pid = child.id().ok_or("it is there")?.to_string();
    Command::new("kill").args([signal, &pid]).status().await?;
    Ok(())
}
