//! The server dies, or stands still, and its synchronous standby takes its place.

use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};
use tower_ws_fleet::Fleet;
use tower_ws_test_kit::Postgres;

use crate::{LEASE, WORKERS, Worker, judge, ledger::Ledger, peer};

pub(crate) async fn prove(times: u32) {
    let Some(mut server) = Postgres::start() else { return };
    let fleet = Fleet::new(server.url().parse().unwrap(), "proof");
    fleet.migrate().await.unwrap();
    let ledger = Ledger::default();
    let peer = peer::start(&ledger).await;
    let mut workers: Vec<Worker> = Vec::new();
    for time in 0..times {
        let standby = block_in_place(|| server.standby());
        // The old one first: nobody may wait for it.
        let url = format!(
            "postgresql://postgres@{},{}/postgres?target_session_attrs=read-write",
            server.addr(),
            standby.addr()
        );
        for worker in workers {
            worker.kill().await;
        }
        workers = (0..WORKERS).map(|_| Worker::start(&url, &peer, &ledger)).collect();
        sleep(LEASE * 2).await;
        // The old server ends, as it should; or it stands still, and goes on beside the new one.
        match time % 2 {
            0 => block_in_place(|| server.kill()),
            _ => server.freeze(),
        }
        // What was accepted before is told by then.
        sleep(LEASE / 5).await;
        let before = ledger.verdict().accepted;
        block_in_place(|| standby.promote());
        let promoted = Instant::now();
        while ledger.verdict().accepted == before {
            assert!(promoted.elapsed() < LEASE * 60, "nobody goes on");
            sleep(LEASE / 20).await;
        }
        println!(
            "promoted; {:.1} s later somebody goes on",
            promoted.elapsed().as_secs_f64()
        );
        sleep(LEASE * 2).await;
        server.thaw();
        sleep(LEASE * 2).await;
        server = standby;
    }
    println!("{times} failovers to a synchronous standby");
    judge(&ledger, workers).await;
}
