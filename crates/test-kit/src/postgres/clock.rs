//! A server by a clock of its own, by libfaketime. The machine's clock is left alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Postgres, binaries, skipped};

impl Postgres {
    /// Starts one whose wall clock can be [set](Self::set_clock). `None`, as by
    /// [`start`](Self::start), also where libfaketime is missing.
    ///
    /// # Panics
    ///
    /// If they are there and it does not start.
    pub fn start_with_clock() -> Option<Self> {
        let Some((binaries, library)) = binaries().zip(library()) else {
            return skipped("there is no PostgreSQL server here, or no libfaketime");
        };
        Some(Self::new(binaries, Some(library)).expect("the server starts"))
    }

    /// Sets its clock to so many seconds after the machine's, or before it.
    ///
    /// # Panics
    ///
    /// If it was not [started with one](Self::start_with_clock).
    pub fn set_clock(&self, offset: i64) {
        assert!(self.clock.is_some(), "it has the machine's clock");
        write(&self.offset(), offset).expect("its folder can be written to");
    }

    /// The server's program, with its clock, if it has one.
    pub(super) fn program(&self) -> io::Result<Command> {
        let Some(library) = &self.clock else {
            return Ok(self.command("postgres"));
        };
        if !self.offset().exists() {
            write(&self.offset(), 0)?;
        }
        // By `env`, so that the library does not begin its work before the user is another one.
        let mut program = self.command_at(Path::new("env"));
        let file = self.offset();
        for (name, value) in [("LD_PRELOAD", library), ("FAKETIME_TIMESTAMP_FILE", &file)] {
            program.arg(format!("{name}={}", value.display()));
        }
        program.args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
        program.arg(self.binaries.join("postgres"));
        Ok(program)
    }

    fn offset(&self) -> PathBuf {
        self.folder.join("clock")
    }
}

/// At once: it is read all the time.
fn write(file: &Path, offset: i64) -> io::Result<()> {
    let next = file.with_extension("next");
    fs::write(&next, format!("{offset:+}"))?;
    fs::rename(next, file)
}

/// What the library leaves behind of a server that was killed.
pub(super) fn clean_up(pid: u32) {
    for name in ["faketime_shm", "sem.faketime_sem"] {
        let _ = fs::remove_file(format!("/dev/shm/{name}_{pid}"));
    }
}

fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let nested = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders
        .into_iter()
        .chain(nested.map(|folder| folder.path()))
        .map(|folder| folder.join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file())
}
