//! What goes to standard error, or into a file.

use std::{fs::File, io, sync::Mutex};

use tracing::level_filters::LevelFilter;

use crate::{args::Connection, exit::Trouble};

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
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false);
    match &connection.log_file {
        None => log.with_writer(io::stderr).init(),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))?;
            log.with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}
