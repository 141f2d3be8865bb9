//! The program as somebody runs it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The program, with folders of its own and nothing of the environment.
pub(crate) struct Program {
    home: TempDir,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            home: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tower-ws"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).spawn().unwrap())
    }

    /// With this on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ended::of(child)
    }
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// No run takes for ever.
    pub(crate) fn of(mut child: Child) -> Self {
        let id = child.id();
        let watch = std::thread::spawn(move || {
            let Output { status, stdout, stderr } = {
                let stdin = child.stdin.take();
                drop(stdin);
                child.wait_with_output().unwrap()
            };
            Self {
                code: status.code(),
                out: String::from_utf8_lossy(&stdout).into_owned(),
                err: String::from_utf8_lossy(&stderr).into_owned(),
            }
        });
        let started = Instant::now();
        while !watch.is_finished() {
            if started.elapsed() > Duration::from_secs(60) {
                let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
                panic!("it hangs: {:?}", watch.join().unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        watch.join().unwrap()
    }
}
