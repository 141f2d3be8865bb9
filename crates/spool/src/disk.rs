//! The file: one table of messages and one of counters, in SQLite. Everything here blocks.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use tower_ws_core::Replay;

use crate::{
    change::{Change, Changes, Row},
    error::OpenError,
    options::Survives,
};

/// "twsq", so that `file` and we know the file again.
const APPLICATION: i64 = 0x7477_7371;
/// The form of the tables.
const VERSION: i64 = 1;
/// How far the log may grow beyond its regular size before it is cut back after a burst: 4 MiB, as
/// large as it gets in regular use.
const LOG_BYTES: i64 = 4 << 20;

const TABLES: &str = "
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY,
        accepted INTEGER NOT NULL,
        deadline INTEGER,
        replay INTEGER NOT NULL,
        leaving INTEGER NOT NULL,
        size INTEGER NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// An open file, locked against everybody else.
#[derive(Debug)]
pub(crate) struct Disk {
    connection: Connection,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// In the order of acceptance.
    pub(crate) rows: Vec<Row>,
    /// The first id that no process has used.
    pub(crate) first_id: u64,
}

impl Disk {
    pub(crate) fn open(path: &Path, survives: Survives, most: u64) -> Result<(Self, Contents), OpenError> {
        let path = path.to_owned();
        if let Err(cause) = make(&path) {
            return Err(OpenError::Io { path, cause });
        }
        // No lock of its own: it never leaves the thread that uses it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> Result<_, rusqlite::Error> {
            let mut connection = Connection::open_with_flags(&path, flags)?;
            // Whoever has it has it for long: to wait does not help.
            connection.busy_timeout(Duration::ZERO)?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            let form = form(&mut connection)?;
            Ok((connection, form))
        };
        let (mut connection, form) = open().map_err(|error| OpenError::of(path.clone(), error))?;
        match form {
            Form::Known => {}
            Form::Foreign => return Err(OpenError::Foreign { path }),
            Form::Damaged => return Err(OpenError::Damaged { path }),
            Form::Other(found) => {
                let supported = VERSION;
                return Err(OpenError::Version { path, found, supported });
            }
        }
        configure(&connection, survives, most).map_err(|error| OpenError::of(path.clone(), error))?;
        let contents = load(&mut connection).map_err(|error| OpenError::of(path, error))?;
        Ok((Self { connection }, contents))
    }

    /// Writes all of it, or nothing.
    pub(crate) fn commit(&mut self, changes: &Changes, first_id: u64) -> Result<(), rusqlite::Error> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)")?;
            let mut mark = transaction.prepare("UPDATE message SET leaving = ? WHERE seq = ?")?;
            let mut remove = transaction.prepare("DELETE FROM message WHERE seq = ?")?;
            for (seq, change) in changes.iter() {
                let seq = seq as i64;
                match change {
                    Change::Put(row) => put.execute(params![
                        seq,
                        row.accepted,
                        row.deadline,
                        code(row.replay),
                        row.leaving,
                        row.size as i64,
                        &row.payload[..],
                    ])?,
                    Change::Mark(leaving) => mark.execute(params![leaving, seq])?,
                    Change::Remove => remove.execute(params![seq])?,
                };
            }
            let sql = "INSERT INTO counter VALUES ('id', ?1) ON CONFLICT DO UPDATE SET value = ?1 WHERE value < ?1";
            transaction.execute(sql, params![first_id as i64])?;
        }
        transaction.commit()
    }
}

/// Makes the file if it is not there, readable by its owner alone: messages may hold secrets.
fn make(path: &PathBuf) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

enum Form {
    Known,
    Foreign,
    Damaged,
    Other(i64),
}

/// Locks the file, and finds out what it is; a new one gets its tables.
fn form(connection: &mut Connection) -> Result<Form, rusqlite::Error> {
    let integer = |connection: &Connection, sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    // Only has an effect before there are tables.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let application = integer(&transaction, "PRAGMA application_id")?;
    let version = integer(&transaction, "PRAGMA user_version")?;
    let tables = integer(&transaction, "SELECT count(*) FROM sqlite_schema")?;
    if (application, version, tables) == (0, 0, 0) {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    } else if application != APPLICATION {
        return Ok(Form::Foreign);
    } else if version != VERSION {
        return Ok(Form::Other(version));
    } else {
        let verdict: String = transaction.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(Form::Damaged);
        }
    }
    transaction.commit()?;
    Ok(Form::Known)
}

fn configure(connection: &Connection, survives: Survives, most: u64) -> Result<(), rusqlite::Error> {
    // A commit is one write, and one flush of the disk, at the end of a log.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    let flush = match survives {
        Survives::PowerLoss => "FULL",
        Survives::Crash => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", flush)?;
    // On macOS a plain fsync leaves the data in the drive.
    connection.pragma_update(None, "fullfsync", survives == Survives::PowerLoss)?;
    let page: i64 = connection.query_row("PRAGMA page_size", (), |row| row.get(0))?;
    let pages = (most / page.max(1) as u64).clamp(1, u64::from(u32::MAX) - 1);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(()))?;
    // What an earlier outage needed, the file system gets back: a page with each step.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut freed = vacuum.query(())?;
    while freed.next()?.is_some() {}
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
}

fn load(connection: &mut Connection) -> Result<Contents, rusqlite::Error> {
    let mut query = connection
        .prepare("SELECT seq, accepted, deadline, replay, leaving, size, payload FROM message ORDER BY seq")?;
    let rows = query.query_map((), |row| {
        Ok(Row {
            seq: row.get::<_, i64>(0)? as u64,
            accepted: row.get(1)?,
            deadline: row.get(2)?,
            replay: replay(row.get(3)?),
            leaving: row.get(4)?,
            size: row.get::<_, i64>(5)?.try_into().unwrap_or(0),
            payload: row.get::<_, Vec<u8>>(6)?.into(),
        })
    })?;
    let rows = rows.collect::<Result<_, _>>()?;
    let id = "SELECT coalesce(max(value), 1) FROM counter WHERE name = 'id'";
    let first_id = connection.query_row(id, (), |row| row.get::<_, i64>(0))? as u64;
    Ok(Contents { rows, first_id })
}

fn code(replay: Replay) -> i64 {
    match replay {
        Replay::Unknown => 0,
        Replay::Safe => 1,
        Replay::Unsafe => 2,
    }
}

fn replay(code: i64) -> Replay {
    match code {
        0 => Replay::Unknown,
        1 => Replay::Safe,
        // Whatever it is: once is enough.
        _ => Replay::Unsafe,
    }
}
