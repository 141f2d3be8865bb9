//! Disks and files as they should not be.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{fs, path::Path};

use futures_util::{SinkExt, StreamExt};
use support::{dropped, folder, message, numbers, open, session, within};
use tower_ws_core::{DropReason, Event};
use tower_ws_spool::{OpenError, Spool, SpoolOptions, Survives};
use tower_ws_transport::Message;

fn error(path: &Path) -> OpenError {
    Spool::<String, _>::open(path, numbers()).unwrap_err()
}

/// A spool with this many messages that nobody has acknowledged, as a killed process leaves it: the
/// file and its log.
async fn killed(path: &Path, messages: usize) {
    let spool = open(path, numbers().all_safe());
    let (mut session, peer, _listener) = session(&spool).await;
    drop(peer);
    while !matches!(within(session.next()).await, Some(Event::Down(_))) {}
    for n in 0..messages {
        within(session.send(message(n))).await.unwrap();
    }
    let copies = ["", "-wal"].map(|end| (format!("{}{end}", path.display()), fs::read(name(path, end)).unwrap()));
    drop(session);
    within(spool.close()).await;
    for (name, bytes) in copies {
        write(name, bytes);
    }
}

/// A file that is its owner's alone.
fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::write(&path, bytes).unwrap();
    #[cfg(unix)]
    chmod(path, 0o600);
}

#[cfg(unix)]
fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

fn name(path: &Path, end: &str) -> String {
    format!("{}{end}", path.display())
}

#[tokio::test]
async fn two_may_not_have_the_same_file() {
    let (_folder, path) = folder();
    let spool = open(&path, numbers());
    let error = error(&path);
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(
        error.to_string().contains("give each process a file of its own"),
        "{error}"
    );
    within(spool.close()).await;
    within(open(&path, numbers()).close()).await;
    // Dropped is closed too, soon.
    drop(open(&path, numbers()));
    within(async {
        while Spool::<String, _>::open(&path, numbers()).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_spool_is_left_alone() {
    let (folder, path) = folder();
    fs::write(
        &path,
        b"Dear diary, this is no database at all, and it is longer than a header is.".repeat(20),
    )
    .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(error(&path), OpenError::Damaged { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);

    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE diary (day TEXT); PRAGMA user_version = 1;")
        .unwrap();
    drop(other);
    assert!(matches!(error(&path), OpenError::Foreign { .. }));

    let path = folder.path().join("later.db");
    within(open(&path, numbers()).close()).await;
    let later = rusqlite::Connection::open(&path).unwrap();
    later.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(later);
    assert!(matches!(
        error(&path),
        OpenError::Version {
            found: 2,
            supported: 1,
            ..
        }
    ));

    assert!(matches!(error(folder.path()), OpenError::Io { .. }));
    assert!(matches!(
        error(&folder.path().join("no/such/folder.db")),
        OpenError::Io { .. }
    ));
}

#[tokio::test]
async fn what_was_packed_otherwise_is_told_at_once() {
    let (_folder, path) = folder();
    killed(&path, 1).await;
    // A text whose first byte is no kind of frame.
    let error = Spool::<Message, _, _>::open(&path, tower_ws_spool::Unacknowledged).unwrap_err();
    assert!(matches!(error, OpenError::Unreadable { record: 1, .. }), "{error:?}");
    assert_eq!(open(&path, numbers()).handle().snapshot().recovered, 1);
}

/// The power fails in the middle of a write: the end of the log is missing, or is rubbish.
#[tokio::test]
async fn a_torn_log_costs_no_more_than_what_is_missing() {
    const MESSAGES: usize = 30;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (folder, whole) = folder();
    killed(&whole, MESSAGES).await;
    let (file, log) = (fs::read(&whole).unwrap(), fs::read(name(&whole, "-wal")).unwrap());
    let mut before = MESSAGES;
    for cut in (0..=20).rev() {
        let path = folder.path().join(format!("{cut}.db"));
        let mut log = log.clone();
        log.truncate(log.len() * cut / 20);
        // What follows was on the disk before.
        log.extend((0..rng.usize(0..5000)).map(|_| rng.u8(..)));
        write(&path, &file);
        write(name(&path, "-wal"), log);
        let recovered = open(&path, numbers()).handle().snapshot().recovered;
        assert!(recovered <= before, "{cut}: {recovered} of {before}");
        before = recovered;
        if cut == 20 {
            assert_eq!(recovered, MESSAGES, "nothing was missing");
        }
        // They are the first ones, and whole.
        let rows = rusqlite::Connection::open(&path).unwrap();
        let sql = "SELECT count(*), coalesce(max(CAST(CAST(payload AS TEXT) AS INTEGER)), -1) FROM message";
        let (count, last) = rows
            .query_row(sql, (), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .unwrap();
        assert_eq!((count, last), (recovered as i64, recovered as i64 - 1));
    }
    assert_eq!(before, 0);
}

/// Damage is told or does no harm; it never panics.
#[tokio::test]
async fn a_damaged_file_never_panics() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (folder, path) = folder();
    killed(&path, 50).await;
    within(open(&path, numbers()).close()).await;
    let whole = fs::read(&path).unwrap();
    let mut told = 0;
    for n in 0..150 {
        let mut bytes = whole.clone();
        match rng.u8(0..4) {
            0 => bytes.truncate(rng.usize(1..bytes.len())),
            1 => (0..64).for_each(|_| bytes[rng.usize(0..whole.len())] = rng.u8(..)),
            2 => bytes[rng.usize(0..512)] ^= 1 << rng.u8(0..8),
            _ => {
                let at = rng.usize(0..bytes.len() - 512);
                bytes[at..at + 512].fill(0);
            }
        }
        let path = folder.path().join(format!("{n}.db"));
        write(&path, bytes);
        match Spool::<String, _>::open(&path, numbers().all_safe()) {
            Ok(spool) => {
                let (mut session, _peer, _listener) = session(&spool).await;
                within(session.send(message(1000))).await.unwrap();
            }
            Err(error) => {
                told += 1;
                assert!(!error.to_string().is_empty());
            }
        }
        fs::remove_file(&path).unwrap();
    }
    assert!(told > 30, "only {told} of 150 were noticed");
}

/// While the disk is full everything new comes back, and nothing that is there is lost.
#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (_folder, path) = folder();
    let small = || {
        SpoolOptions::new()
            .file_limit(128 << 10)
            .open(&path, numbers().all_safe())
            .unwrap()
    };
    let spool = small();
    let (mut first, mut peer, _listener) = session(&spool).await;
    let large = |n: usize| message(format!("{n} {}", "x".repeat(8 << 10)));
    let (mut sent, mut refused) = (Vec::new(), 0);
    for n in 0..40 {
        within(first.send(large(n))).await.unwrap();
        let back = dropped(&mut first);
        match back.as_slice() {
            [] => sent.push(n),
            [(_, DropReason::Refused(why))] => {
                assert!(why.contains("could not record it"), "{why}");
                refused += 1;
                if refused > 1 {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 1 && sent.len() > 5, "{} sent, {refused} refused", sent.len());
    assert!(
        spool
            .handle()
            .snapshot()
            .failure
            .is_some_and(|why| why.contains("full"))
    );
    // It is not sent either.
    let arrived = support::arrivals(&mut first, &mut peer, sent.len()).await;
    assert!(
        arrived
            .iter()
            .zip(&sent)
            .all(|(text, n)| text.starts_with(&format!("{n} ")))
    );
    for n in &sent[..3] {
        within(peer.send(format!("ack {n}"))).await.unwrap();
        assert!(matches!(within(first.next()).await, Some(Event::Delivered(_))));
    }
    // Settling makes room, though the disk is full.
    within(async {
        loop {
            first.send(large(100)).await.unwrap();
            if dropped(&mut first).is_empty() {
                return;
            }
        }
    })
    .await;
    assert_eq!(spool.handle().snapshot().failure, None);
    drop(first);
    within(spool.close()).await;
    assert_eq!(small().handle().snapshot().recovered, sent.len() - 3 + 1);
}

#[tokio::test]
async fn a_closed_spool_refuses() {
    let (_folder, path) = folder();
    let spool = SpoolOptions::new()
        .survives(Survives::Crash)
        .open(&path, numbers())
        .unwrap();
    let (mut session, _peer, _listener) = session(&spool).await;
    within(session.send(message(1))).await.unwrap();
    within(spool.close()).await;
    within(session.send(message(2))).await.unwrap();
    assert_eq!(
        dropped(&mut session),
        [("2".to_owned(), DropReason::Refused("the spool is closed"))]
    );
    assert_eq!(open(&path, numbers()).handle().snapshot().recovered, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn it_is_nobody_elses_business() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    let spool = open(&path, numbers());
    let (mut session, _peer, _listener) = session(&spool).await;
    within(session.send(message("1 secret"))).await.unwrap();
    for end in ["", "-wal"] {
        let mode = fs::metadata(name(&path, end)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{end}");
    }
    let shown = format!("{spool:?} {:?}", spool.handle());
    assert!(!shown.contains("secret"), "{shown}");
}

/// What an outage needed, the next start gives back.
#[tokio::test]
async fn the_file_shrinks() {
    let (_folder, path) = folder();
    let spool = open(&path, numbers().all_safe());
    let (mut first, mut peer, _listener) = session(&spool).await;
    for n in 0..100 {
        within(first.feed(message(format!("{n} {}", "x".repeat(20_000)))))
            .await
            .unwrap();
    }
    let acks = async {
        for n in 0..100 {
            peer.next().await.unwrap().unwrap();
            peer.send(format!("ack {n}")).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let reads = async {
        let mut delivered = 0;
        while delivered < 100 {
            delivered += usize::from(matches!(first.next().await, Some(Event::Delivered(_))));
        }
    };
    within(async {
        tokio::select! { () = acks => {}, () = reads => {} }
    })
    .await;
    drop(first);
    within(spool.close()).await;
    let large = fs::metadata(&path).unwrap().len();
    within(open(&path, numbers()).close()).await;
    let small = fs::metadata(&path).unwrap().len();
    assert!(large > 500_000 && small < 100_000, "{large} bytes, then {small}");
}
