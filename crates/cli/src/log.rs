//! What goes to standard error, or into a file.

use std::{
    fs::File,
    io::{self, Write},
    sync::{
        OnceLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::{args::Connection, exit::Trouble};

/// How many lines wait to be written; more are left out. Whoever does not read the log must not stop what is logged.
const ROOM: usize = 1024;

/// How long the last lines are waited for.
const PATIENCE: Duration = Duration::from_millis(200);

static LOG: OnceLock<Log> = OnceLock::new();

/// Whether somebody wants to see the log on standard error.
pub(crate) fn is_shown(connection: &Connection) -> bool {
    let asked = connection.verbose > 0 || std::env::var_os("TOWER_WS_LOG").is_some();
    connection.log_file.is_none() && !connection.quiet && asked
}

/// Begins to log: state changes and worse, unless it is told otherwise.
pub(crate) fn begin(connection: &Connection, usually: LevelFilter) -> Result<(), Trouble> {
    let level = match (connection.quiet, connection.verbose, std::env::var("TOWER_WS_LOG")) {
        (true, ..) => LevelFilter::ERROR,
        (_, 0, Err(_)) => usually,
        (_, 0, Ok(name)) => name
            .parse()
            .map_err(|_| Trouble::usage("TOWER_WS_LOG is error, warn, info, debug, trace or off"))?,
        (_, 1, _) => LevelFilter::INFO,
        (_, 2, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let target: Box<dyn Write + Send> = match &connection.log_file {
        None => Box::new(io::stderr()),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            Box::new(file.map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))?)
        }
    };
    let log = LOG.get_or_init(|| Log::new(target));
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        // It would be told on standard error, which may be what cannot be written.
        .log_internal_errors(false)
        .with_writer(log)
        .init();
    Ok(())
}

/// Until what was logged is written; not for ever.
pub(crate) fn finish() {
    if let Some(log) = LOG.get() {
        let (done, all) = sync_channel(1);
        if log.lines.try_send(Order::Done(done)).is_ok() {
            let _ = all.recv_timeout(PATIENCE);
        }
    }
}

/// A log that is written on a thread of its own.
struct Log {
    lines: SyncSender<Order>,
}

enum Order {
    Line(Vec<u8>),
    Done(SyncSender<()>),
}

impl Log {
    fn new(target: Box<dyn Write + Send>) -> Self {
        let (lines, taken) = sync_channel(ROOM);
        thread::spawn(move || write_all(target, &taken));
        Self { lines }
    }
}

fn write_all(mut target: Box<dyn Write + Send>, orders: &Receiver<Order>) {
    for order in orders {
        match order {
            // What cannot be written cannot be told of either.
            Order::Line(line) => drop(target.write_all(&line)),
            Order::Done(done) => drop(done.try_send(())),
        }
    }
}

/// A line that is being made.
struct Line<'a> {
    text: Vec<u8>,
    log: &'a Log,
}

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let _ = self.log.lines.try_send(Order::Line(std::mem::take(&mut self.text)));
    }
}

impl<'a> MakeWriter<'a> for &'static Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            text: Vec::new(),
            log: self,
        }
    }
}
