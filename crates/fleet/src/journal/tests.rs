#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

use tokio::runtime::Handle;
use tower_ws_spool::conformance::{self, Opened};
use tower_ws_test_kit::Postgres;

use super::*;
use crate::Fleet;

const FREE: &str = "UPDATE tower_ws_lane SET until = '-infinity'";

/// With a lane that is free, whoever had it.
async fn lease(fleet: &Fleet) -> Arc<Lease> {
    let (link, lane) = (fleet.link(), fleet.lane("lane"));
    link.query(FREE, &[], READ).await.unwrap();
    lane.lease().await.unwrap()
}

async fn fleet(server: &Postgres) -> Fleet {
    let fleet = Fleet::new(server.url().parse().unwrap(), "tests");
    fleet.migrate().await.unwrap();
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_what_a_journal_keeps() {
    let Some(server) = Postgres::start() else { return };
    let fleet = fleet(&server).await;
    let runtime = Handle::current();
    let suite = move || {
        conformance::journal(|| {
            runtime.block_on(async {
                let lease = lease(&fleet).await;
                let contents = load(&lease.link, &lease).await.unwrap();
                Some((Box::new(LaneJournal::new(lease)) as Box<dyn Opened>, contents))
            })
        });
    };
    tokio::task::spawn_blocking(suite).await.unwrap();
}

fn commit(lease: &Arc<Lease>, number: i64, put: &[i64], removed: &[i64], marked: &[i64]) -> Commit {
    let all = |n: usize| vec![0; n];
    Commit {
        lease: lease.clone(),
        number,
        first_id: 1,
        removed: removed.to_vec(),
        marked: marked.to_vec(),
        marks: vec![true; marked.len()],
        put: put.to_vec(),
        accepted: all(put.len()),
        deadlines: vec![None; put.len()],
        replays: vec![0; put.len()],
        leaving: vec![false; put.len()],
        sizes: all(put.len()),
        payloads: vec![Vec::new(); put.len()],
    }
}

#[tokio::test]
async fn a_commit_may_be_tried_again_and_never_comes_after_a_later_one() {
    let Some(server) = Postgres::start() else { return };
    let fleet = fleet(&server).await;
    let lease = lease(&fleet).await;
    let rows = async || {
        let rows = load(&lease.link, &lease).await.unwrap().rows;
        rows.iter().map(|row| (row.seq, row.leaving)).collect::<Vec<_>>()
    };
    let first = commit(&lease, 1, &[1, 2], &[], &[]);
    for _ in 0..3 {
        assert_eq!(first.attempt(TRY).await.unwrap(), Outcome::Made);
        assert_eq!(rows().await, [(1, false), (2, false)]);
    }
    let second = commit(&lease, 2, &[3], &[1], &[2]);
    for _ in 0..2 {
        second.make().await.unwrap();
        assert_eq!(rows().await, [(2, true), (3, false)]);
    }
    // The server gets to the first one's request only now: the dead are not raised.
    assert_eq!(first.attempt(TRY).await.unwrap(), Outcome::Taken);
    assert_eq!(rows().await, [(2, true), (3, false)]);
}

#[tokio::test]
async fn one_who_was_taken_over_writes_nothing_and_hears_of_it() {
    let Some(server) = Postgres::start() else { return };
    let fleet = fleet(&server).await;
    let first = lease(&fleet).await;
    commit(&first, 1, &[1], &[], &[]).make().await.unwrap();
    let second = lease(&fleet).await;
    assert_eq!(second.token, first.token + 1);
    let late = commit(&first, 2, &[2], &[1], &[]).make().await;
    assert!(matches!(late, Err(JournalError::Lost(_))), "{late:?}");
    assert!(first.left().is_zero());
    let rows = load(&second.link, &second).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1]);
    // Their commits are counted apart.
    commit(&second, 1, &[3], &[], &[]).make().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_go_on_after_the_server_was_killed_and_end_with_the_lease() {
    let Some(server) = Postgres::start() else { return };
    let fleet = fleet(&server).await.lease(Duration::from_secs(20));
    let lease = lease(&fleet).await;
    commit(&lease, 1, &[1], &[], &[]).make().await.unwrap();
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    for number in 2..50 {
        commit(&lease, number, &[number], &[], &[]).make().await.unwrap();
        sleep(Duration::from_millis(10)).await;
    }
    let server = server.await.unwrap();
    commit(&lease, 50, &[50], &[], &[]).make().await.unwrap();
    assert_eq!(load(&lease.link, &lease).await.unwrap().rows.len(), 50);
    drop(lease);

    let fleet = fleet.lease(Duration::from_secs(1));
    let lease = self::lease(&fleet).await;
    server.kill();
    let unknown = commit(&lease, 1, &[51], &[], &[]).make().await;
    assert!(matches!(unknown, Err(JournalError::Unknown(_))), "{unknown:?}");
    let lost = commit(&lease, 2, &[52], &[], &[]).make().await;
    assert!(matches!(lost, Err(JournalError::Lost(_))), "{lost:?}");
}

fn on(server: &Postgres) -> Link {
    Fleet::new(server.url().parse().unwrap(), "tests").link().another()
}

/// A server that crashes while a commit waits for the standby has that commit when it is back, and
/// the standby has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_made_once_the_standby_has_it_too() {
    let Some(server) = Postgres::start() else { return };
    let standby = server.standby();
    let fleet = fleet(&server).await.lease(Duration::from_secs(60));
    let lease = lease(&fleet).await;
    standby.freeze();
    let first = commit(&lease, 1, &[1], &[], &[]);
    let within = Duration::from_secs(2);
    assert!(first.attempt(within).await.is_err());
    server.restart();
    let rows = lease.link.query("SELECT seq FROM tower_ws_message", &[], READ).await;
    assert_eq!(rows.unwrap().len(), 1, "it is there");
    let again = first.attempt(within).await;
    assert!(again.is_err(), "nobody else has it: {again:?}");
    standby.thaw();
    first.make().await.unwrap();
    server.kill();
    standby.promote();
    let rows = on(&standby).query("SELECT seq FROM tower_ws_message", &[], READ).await;
    assert_eq!(rows.unwrap().len(), 1);
}

/// Whoever promotes a standby should end the old server. If it lives on, it is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_holds_that_was_replaced_is_not_loaded() {
    let Some(server) = Postgres::start() else { return };
    let standby = server.standby();
    let fleet = fleet(&server).await;
    let old = lease(&fleet).await;
    commit(&old, 1, &[1], &[], &[]).make().await.unwrap();
    standby.promote();
    let new = lease(&Fleet::new(standby.url().parse().unwrap(), "tests")).await;
    commit(&new, 1, &[], &[1], &[]).make().await.unwrap();
    let stale = load(&on(&server), &new).await;
    assert!(matches!(stale, Err(FleetError::Lost(_))), "{stale:?}");
    assert!(load(&on(&standby), &new).await.unwrap().rows.is_empty());
}
