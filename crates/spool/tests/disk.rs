//! Disks and files as they should not be.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod support;

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use futures_util::{SinkExt, StreamExt};
use support::{dropped, folder, message, numbers, open, session, within};
use tower_ws_core::{DropReason, Event};
use tower_ws_queue::{Held, MakeStore, Store};
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
    // Dropped is closed soon, and waited for.
    for _ in 0..20 {
        drop(open(&path, numbers()));
    }
}

/// Everything in a folder: names, contents and modes.
fn everything(folder: &Path) -> BTreeMap<OsString, (Vec<u8>, fs::Permissions)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        let bytes = fs::read(entry.path()).unwrap();
        (entry.file_name(), (bytes, entry.metadata().unwrap().permissions()))
    };
    entries.map(read).collect()
}

/// Somebody else's database, with this beside it when its process was killed.
fn foreign(path: &Path, sql: &str) {
    let other = rusqlite::Connection::open(path).unwrap();
    other.execute_batch(sql).unwrap();
    let copies = ["", "-wal", "-journal"].map(|end| (name(path, end), fs::read(name(path, end))));
    drop(other);
    for (name, bytes) in copies {
        bytes.into_iter().for_each(|bytes| write(&name, bytes));
    }
}

#[tokio::test]
async fn what_is_no_spool_is_left_alone() {
    let texts = [1, 12, 99, 100, 511, 512, 4096].map(|length| "y".repeat(length));
    let texts = texts.iter().map(|text| ("damaged", "", text.as_str()));
    // What belonged to something else, or to a spool that is gone.
    let beside = [("damaged", "-wal", "the log of nothing"), ("damaged", "-journal", "")];
    // Their logs and journals are not played back, either.
    let databases = [
        "PRAGMA user_version = 1; CREATE TABLE diary (day)",
        "PRAGMA auto_vacuum = FULL; PRAGMA application_id = 7; CREATE TABLE diary (day)",
        "PRAGMA journal_mode = WAL; CREATE TABLE diary (day); INSERT INTO diary VALUES (1)",
    ];
    let databases = databases.map(|sql| ("foreign", "sql", sql));
    let unfinished =
        "PRAGMA cache_size = 1; CREATE TABLE diary (day); BEGIN; INSERT INTO diary VALUES (randomblob(99999))";
    let odd = texts
        .chain(beside)
        .chain(databases)
        .chain([("damaged", "sql", unfinished)]);
    for (expected, kind, content) in odd {
        let (folder, path) = folder();
        match kind {
            "sql" => foreign(&path, content),
            end => write(name(&path, end), content),
        }
        let before = everything(folder.path());
        let told = match error(&path) {
            OpenError::Damaged { .. } => "damaged",
            OpenError::Foreign { .. } => "foreign",
            other => panic!("{content}: {other:?}"),
        };
        assert_eq!(
            (told, everything(folder.path()) == before),
            (expected, true),
            "{content}"
        );
    }
    let (folder, path) = folder();
    assert!(matches!(error(folder.path()), OpenError::Io { .. }));
    assert!(matches!(error(&path.join("no/such/folder.db")), OpenError::Io { .. }));
    #[cfg(unix)]
    assert!(matches!(error(Path::new("/dev/null")), OpenError::Io { .. }));
}

#[tokio::test]
async fn what_a_later_version_wrote_is_left_alone() {
    let (folder, path) = folder();
    killed(&path, 3).await;
    let later = rusqlite::Connection::open(&path).unwrap();
    let keep_log = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    later.set_db_config(keep_log, true).unwrap();
    later.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(later);
    let before = everything(folder.path());
    let error = error(&path);
    let version = matches!(
        error,
        OpenError::Version {
            found: 2,
            supported: 1,
            ..
        }
    );
    assert!(version && everything(folder.path()) == before, "{error:?}");
}

/// Counting goes on from them, and must not end.
#[tokio::test]
async fn numbers_that_no_spool_gives_out_are_damage() {
    for sql in [
        "UPDATE message SET seq = -1 WHERE seq = 3",
        "UPDATE message SET seq = 0 WHERE seq = 1",
        "UPDATE message SET seq = 9223372036854775807 WHERE seq = 3",
        "INSERT OR REPLACE INTO counter VALUES ('id', -1)",
        "INSERT OR REPLACE INTO counter VALUES ('id', 9223372036854775807)",
    ] {
        let (_folder, path) = folder();
        killed(&path, 3).await;
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = error(&path);
        assert!(matches!(error, OpenError::Damaged { .. }), "{sql}: {error:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_others_may_write_to_is_refused_and_no_mode_is_changed() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (folder, path) = folder();
    killed(&path, 1).await;
    let (log, lock) = (name(&path, "-wal"), name(&path, "-lock"));
    let wide = [
        (&*path, 0o620),
        (Path::new(&log), 0o602),
        (Path::new(&lock), 0o666),
        (folder.path(), 0o777),
    ];
    for (wide, wrong) in wide {
        let right = mode(wide);
        chmod(wide, wrong);
        let error = error(&path);
        let found = matches!(&error, OpenError::Exposed { mode, .. } if *mode == wrong);
        assert!(found && mode(wide) == wrong, "{wide:?}: {error:?}");
        chmod(wide, right);
    }
    // Whoever may only read, or add to the folder, changes nothing: that is logged at most.
    chmod(folder.path(), 0o1777);
    chmod(&path, 0o640);
    within(open(&path, numbers()).close()).await;
    assert_eq!(mode(&path), 0o640);
    // An empty file is a new one.
    let empty = folder.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    let spool = open(&empty, numbers());
    assert_eq!((mode(&empty), mode(Path::new(&name(&empty, "-wal")))), (0o600, 0o600));
    within(spool.close()).await;
}

/// What is written to a file that has no name any more outlives nothing.
#[tokio::test]
async fn a_file_that_was_taken_away_accepts_nothing() {
    let (folder, path) = folder();
    let spool = open(&path, numbers());
    let (mut session, _peer, _listener) = session(&spool).await;
    within(session.send(message(1))).await.unwrap();
    fs::rename(&path, folder.path().join("elsewhere.db")).unwrap();
    within(session.send(message(2))).await.unwrap();
    let back = dropped(&mut session);
    assert!(
        matches!(&back[..], [(two, DropReason::Refused(_))] if two == "2"),
        "{back:?}"
    );
    let failure = spool.handle().snapshot().failure.unwrap();
    assert!(failure.contains("removed"), "{failure}");
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

/// The power fails in the middle of a write. After each commit both files are copied; what a write
/// that was cut short leaves behind is put together from two copies. The next process finds the
/// messages of the one or of the other, all of them.
#[tokio::test]
async fn a_torn_write_is_all_or_nothing_at_each_commit() {
    const COMMITS: usize = 40;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (folder, path) = folder();
    let spool = open(&path, numbers().all_safe());
    let mut store = spool.make_store();
    let (mut live, mut copies) = (Vec::new(), Vec::new());
    // Until the log has been written back, too, and begun anew: that is when it has 4 MB.
    let mut written_back = 0;
    for n in 0.. {
        if n >= COMMITS && written_back > 0 {
            break;
        }
        assert!(n < 10 * COMMITS, "the log was never written back");
        let before = spool.handle().snapshot().commits;
        match live.len() > 3 && rng.bool() {
            true => {
                let mut held = store.pop_front().unwrap();
                let _ = store.dropped(&mut held.item, DropReason::Expired);
                live.remove(0);
            }
            false => {
                let text = format!("{n} {}", "x".repeat(rng.usize(1..400_000)));
                let held = Held::new(message(&text), 1, tokio::time::Instant::now());
                assert!(store.push_back(held).is_ok());
                live.push(text);
            }
        }
        within(async {
            std::future::poll_fn(|cx| store.poll_kept(cx)).await;
            while spool.handle().snapshot().commits == before {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let file = fs::read(&path).unwrap();
        let last: Option<&(Vec<String>, Vec<u8>, Vec<u8>)> = copies.last();
        written_back += usize::from(last.is_some_and(|(_, before, _)| *before != file));
        copies.push((live.clone(), file, fs::read(name(&path, "-wal")).unwrap()));
    }
    let mut checked = 0;
    let mut check = |file: &[u8], log: &[u8], may: [&Vec<String>; 2]| {
        checked += 1;
        let path = folder.path().join(format!("copy {checked}.db"));
        write(&path, file);
        write(name(&path, "-wal"), log);
        let spool = open(&path, numbers());
        let mut store = spool.make_store();
        let found: Vec<_> = store
            .take_if(&mut |_| true)
            .into_iter()
            .map(|held| held.item.message)
            .collect();
        assert!(may.contains(&&found), "{checked}: {} messages", found.len());
        drop((store, spool));
        fs::remove_file(path).unwrap();
    };
    for pair in copies.windows(2) {
        let [(was, old_file, old_log), (is, file, log)] = pair else {
            unreachable!()
        };
        // The log is written first.
        for _ in 0..2 {
            let cut = rng.usize(0..=log.len());
            let rest = old_log.get(cut..).unwrap_or_default();
            check(old_file, &[&log[..cut], rest].concat(), [was, is]);
        }
        check(old_file, log, [is, is]);
        // Then, sometimes, the file from it, in whatever order.
        if old_file != file {
            let mut torn = file.clone();
            for (page, old) in torn.chunks_mut(4096).zip(old_file.chunks(4096)) {
                if rng.bool() && page.len() == old.len() {
                    page.copy_from_slice(old);
                }
            }
            torn.truncate(rng.usize(old_file.len().min(file.len())..=file.len()));
            check(&torn, log, [is, is]);
        }
    }
    within(spool.close()).await;
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
