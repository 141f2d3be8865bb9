//! Records of a spool as nobody wrote them, and files with some bytes changed. Each record is sent, given up with a reason, or
//! the spool is not opened.
#![no_main]

use std::{fs, path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower_ws_fuzz::shown;
use tower_ws_queue::{MakeStore, Store};
use tower_ws_spool::{OpenError, Spool, SpoolOptions, Survives, Unacknowledged};

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let path = FOLDER.path().join("spool.db");
    write(&path, first, rest);
    let Some(records) = insert(&path, rest, first) else {
        return drop(open(&path));
    };
    match open(&path) {
        Ok(spool) => {
            let mut store = spool.make_store();
            let given_up = std::iter::from_fn(|| store.given_up()).count();
            let held = store.take_if(&mut |_| true).len();
            assert_eq!(given_up + held, records, "each record has one end");
            drop(store);
            RUNTIME.with(|runtime| runtime.block_on(spool.close()));
        }
        Err(error) => drop(shown(&error)),
    }
});

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("there is room for a folder"));

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("it needs nothing");
}

/// A spool with nothing in it.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = FOLDER.path().join("empty.db");
    let spool = open(&path).expect("it is made");
    RUNTIME.with(|runtime| runtime.block_on(spool.close()));
    fs::read(path).expect("it is there")
});

fn open(path: &Path) -> Result<Spool<String, Unacknowledged>, OpenError> {
    SpoolOptions::new().survives(Survives::Crash).open(path, Unacknowledged)
}

/// The file, with bytes changed if that is what this input is about: places of two bytes, and changes.
fn write(path: &Path, first: u8, changes: &[u8]) {
    let mut bytes = EMPTY.clone();
    if first & 1 == 1 {
        for change in changes.chunks_exact(3) {
            let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] ^= change[2];
        }
    }
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", path.display()));
    }
    fs::write(path, bytes).expect("there is room for a file");
}

/// Puts records into a file that is sound; how many.
fn insert(path: &Path, mut input: &[u8], first: u8) -> Option<usize> {
    if first & 1 == 1 {
        return None;
    }
    let connection = Connection::open(path).expect("it is there");
    let mut count = 0;
    while let Some((record, rest)) = input.split_at_checked(RECORD) {
        let number = |at: usize| i64::from_be_bytes(record[at..at + 8].try_into().expect("there are eight"));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(record[RECORD - 1] % 32)));
        let deadline = (record[33] & 1 == 1).then(|| number(16));
        let inserted = connection.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                number(0),
                number(8),
                deadline,
                i64::from(record[32] as i8),
                i64::from(record[33] >> 1),
                number(24),
                payload
            ],
        );
        // A number that is there already.
        count += inserted.unwrap_or(0);
        input = rest;
    }
    if let [.., value] = input {
        let value = i64::from(*value as i8);
        drop(connection.execute("INSERT INTO counter VALUES ('id', ?)", params![value]));
    }
    Some(count)
}

/// Four numbers of eight bytes, and three of one.
const RECORD: usize = 4 * 8 + 3;
