//! The journal in a file: one table of messages and one of counters, in SQLite. Everything here
//! blocks.

use std::{
    fmt::Write,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, config::DbConfig, ffi, params};
use tower_ws_core::Replay;

use crate::{
    change::{Change, Row},
    error::OpenError,
    files::{self, Found},
    journal::{Batch, Contents, Journal, JournalError},
    options::Survives,
};

/// "twsq", so that `file` and we know the file again.
const APPLICATION: i64 = 0x7477_7371;
/// The form of the tables. 0 until they are made.
const VERSION: i64 = 1;
/// Above this neither a record's number nor an id gets: it is an integer that JSON holds, and at a million a second no counter
/// comes there in a lifetime.
const MOST: i64 = 1 << 53;
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
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// Let go after the connection.
    _lock: File,
}

impl Disk {
    /// Looks before it touches: a file that is no spool is left as it was, and so are those beside
    /// it.
    pub(crate) fn open(path: &Path, survives: Survives, most: u64) -> Result<(Self, Contents), OpenError> {
        let io = |cause| OpenError::Io {
            path: path.to_owned(),
            cause,
        };
        let path = files::resolve(path).map_err(io)?;
        let of = |error| OpenError::of(path.clone(), error);
        if files::look(&path)? == Found::Something && application(&path).map_err(of)? != APPLICATION {
            return Err(OpenError::Foreign { path });
        }
        files::check_modes(&path)?;
        let lock = files::lock(&path)?;
        // Looked at again: another may have made it, and ended, in between.
        let is_new = files::look(&path)? == Found::Nothing;
        if is_new {
            files::make(&path).map_err(io)?;
        }
        let mut connection = connect(&path).map_err(of)?;
        if is_new {
            begin(&mut connection).map_err(of)?;
        }
        match form(&mut connection).map_err(of)? {
            Form::Known(version) => configure(&mut connection, version, survives, most).map_err(of)?,
            Form::Foreign => return Err(OpenError::Foreign { path }),
            Form::Damaged => return Err(OpenError::Damaged { path }),
            Form::Other(found) => {
                let supported = VERSION;
                return Err(OpenError::Version { path, found, supported });
            }
        }
        let Some(contents) = load(&mut connection).map_err(of)? else {
            return Err(OpenError::Damaged { path });
        };
        let disk = Self {
            identity: files::identity(&path).map_err(io)?,
            connection,
            path,
            _lock: lock,
        };
        Ok((disk, contents))
    }
}

impl Journal for Disk {
    fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        // What is written to a file without a name outlives nothing.
        if files::identity(&self.path).ok().flatten() != self.identity {
            return Err(JournalError::Lost(
                "the file was removed, or another is in its place".into(),
            ));
        }
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(refused)?;
        write(&transaction, batch).map_err(refused)?;
        transaction.commit().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => refused(error),
            // The end of the batch may be in the log, and not known to be on the disk: if it is, and
            // nothing is written over it, it is found there.
            _ => JournalError::Unknown(error.into()),
        })
    }
}

fn refused(error: rusqlite::Error) -> JournalError {
    match is_damage(&error) {
        true => JournalError::Lost(error.into()),
        false => JournalError::Refused(error.into()),
    }
}

fn write(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), rusqlite::Error> {
    let mut put = transaction.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    let mut mark = transaction.prepare("UPDATE message SET leaving = ? WHERE seq = ?")?;
    let mut remove = transaction.prepare("DELETE FROM message WHERE seq = ?")?;
    for (seq, change) in batch.changes.iter() {
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
    transaction.execute(sql, params![batch.first_id as i64]).map(drop)
}

/// Whose database it is, by its header. Read without a lock, a log or a journal, so that nothing is
/// played back into it.
fn application(path: &Path) -> Result<i64, rusqlite::Error> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(char::from(*byte)),
            // Text takes whatever is written to it.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    // Without its log a file may be shorter than its header says: that is no damage yet.
    connection.pragma_update(None, "writable_schema", true)?;
    integer(&connection, "PRAGMA application_id")
}

fn integer(connection: &Connection, sql: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row(sql, (), |row| row.get(0))
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    // No lock of its own: it never leaves the thread that uses it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // What it may not write to, SQLite opens all the same.
    if connection.is_readonly("main")? {
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_READONLY),
            None,
        ));
    }
    // Whoever has it has it for long: to wait does not help.
    connection.busy_timeout(Duration::ZERO)?;
    // Keeps out what knows nothing of our lock, such as other programs.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // Until it is known what it is.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// Says whose it is, in an empty file: one write of one page, so that whoever looks, and a crash,
/// finds nothing or all of it.
fn begin(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    let transaction = connection.transaction()?;
    // Only has an effect before there is anything.
    transaction.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

enum Form {
    /// Of this version, or of 0.
    Known(i64),
    Foreign,
    Damaged,
    Other(i64),
}

/// Locks the file, and finds out what it is.
fn form(connection: &mut Connection) -> Result<Form, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    if integer(&transaction, "PRAGMA application_id")? != APPLICATION {
        return Ok(Form::Foreign);
    }
    let version = integer(&transaction, "PRAGMA user_version")?;
    if version != 0 && version != VERSION {
        return Ok(Form::Other(version));
    }
    let verdict: String = transaction.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    Ok(match verdict == "ok" {
        true => Form::Known(version),
        false => Form::Damaged,
    })
}

fn configure(connection: &mut Connection, version: i64, survives: Survives, most: u64) -> Result<(), rusqlite::Error> {
    // A commit is one write, and one flush of the disk, at the end of a log.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| match row.get_ref(0)?.as_str()? {
        "wal" => Ok(()),
        _ => Err(rusqlite::Error::InvalidQuery),
    })?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    let flush = match survives {
        Survives::PowerLoss => "FULL",
        Survives::Crash => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", flush)?;
    // On macOS a plain fsync leaves the data in the drive.
    connection.pragma_update(None, "fullfsync", survives == Survives::PowerLoss)?;
    if version == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    let page = integer(connection, "PRAGMA page_size")?;
    let pages = (most / page.max(1) as u64).clamp(1, u64::from(u32::MAX) - 1);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(()))?;
    match tidy(connection) {
        Err(error) if !is_damage(&error) => {
            tracing::warn!(%error, "the spool could not be tidied up; it is used as it is");
        }
        tidied => tidied?,
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// What an earlier outage needed, the file system gets back. A disk that is full may not allow it:
/// all the more has to be sent.
fn tidy(connection: &Connection) -> Result<(), rusqlite::Error> {
    // A page with each step.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut freed = vacuum.query(())?;
    while freed.next()?.is_some() {}
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// What it holds. `None` if it has numbers that are given out nowhere: counting could not go on from them.
fn load(connection: &mut Connection) -> Result<Option<Contents>, rusqlite::Error> {
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
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let id = "SELECT coalesce(max(value), 1) FROM counter WHERE name = 'id'";
    let first_id = integer(connection, id)? as u64;
    let given_out = 1..MOST as u64;
    let is_sound = given_out.contains(&first_id) && rows.iter().all(|row| given_out.contains(&row.seq));
    Ok(is_sound.then_some(Contents { rows, first_id }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Opened};

    #[test]
    fn it_keeps_what_a_journal_keeps() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spool.db");
        conformance::journal(|| {
            let opened = Disk::open(&path, Survives::Crash, 256 << 20).ok();
            opened.map(|(disk, contents)| (Box::new(disk) as Box<dyn Opened>, contents))
        });
    }
}
