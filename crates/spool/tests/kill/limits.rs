//! Disks that do not take what they should, as far as that takes another process: one that is not
//! allowed to write, and one whose files may not grow, so that a commit fails in its middle.
#![cfg(unix)]

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    task::{Context, Waker},
};

use tokio::time::Instant;
use tower_ws_core::{Outgoing, Replay};
use tower_ws_queue::{Held, MakeStore, Store};
use tower_ws_spool::{Spool, Unacknowledged};

/// Nobody in particular, and not root, who may write everywhere.
const NOBODY: u32 = 65534;
/// In blocks of 512 bytes: 512 KiB.
const BLOCKS: &str = "1024";
const NONE: &str = "16";

/// Opens the file, and fills it until something comes back.
pub(crate) fn main(arguments: &[String]) {
    let spool = match Spool::<String, _>::open(&arguments[0], Unacknowledged) {
        Ok(spool) => spool,
        Err(error) => return println!("error {error:?}"),
    };
    println!("opened");
    let mut store = spool.make_store();
    for n in 0.. {
        let text = format!("{n} {}", "x".repeat(3000));
        let held = Held::new(Outgoing::new(text).replay(Replay::Safe), 1, Instant::now());
        assert!(store.push_back(held).is_ok());
        while store.poll_kept(&mut Context::from_waker(Waker::noop())).is_pending() {
            std::thread::yield_now();
        }
        match store.given_up() {
            None => println!("kept {n}"),
            Some((_, reason)) => return println!("{} {n}: {:?}", reason.as_str(), spool.handle().snapshot().failure),
        }
    }
}

fn said(mut command: Command) -> Option<String> {
    match command.output() {
        // Nobody may not get at this program.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        output => Some(String::from_utf8(output.unwrap().stdout).unwrap()),
    }
}

pub(crate) fn read_only_files_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool.db");
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    let attempt = || {
        let mut attempt = Command::new(std::env::current_exe().unwrap());
        attempt.arg("fill").arg(&file);
        if is_root {
            attempt.uid(NOBODY);
        }
        said(attempt)
    };
    fs::write(&file, "").unwrap();
    if is_root {
        chown(folder.path(), Some(NOBODY), None).unwrap();
        chown(&file, Some(NOBODY), None).unwrap();
    }
    let before = || (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().mode());
    mode(&file, 0o600);
    mode(folder.path(), 0o500);
    for _ in 0..2 {
        let was = before();
        let Some(said) = attempt() else {
            return println!("limits: skipped, another user may not run this");
        };
        assert!(said.starts_with("error Io"), "{said}");
        assert_eq!(was, before());
        // Next: the folder may be written to, the file may not, and is no empty one.
        mode(folder.path(), 0o700);
        let spool = Spool::<String, _>::open(folder.path().join("other.db"), Unacknowledged).unwrap();
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(spool.close());
        fs::rename(folder.path().join("other.db"), &file).unwrap();
        if is_root {
            chown(&file, Some(NOBODY), None).unwrap();
        }
        mode(&file, 0o400);
    }
    println!("limits: a folder, and a file, that are read-only");
}

/// A write that the system cuts short is an unknown outcome: the message comes back as interrupted,
/// what was accepted before is there, and so is nothing else but, perhaps, that one.
pub(crate) fn a_file_that_may_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool.db");
    // Without the signal the process would be ended; with it ignored a write fails.
    let script = r#"trap "" XFSZ; ulimit -f $1; exec "$2" fill "$3""#;
    let fill = |blocks| {
        let mut limited = Command::new("sh");
        limited.args(["-c", script, "sh", blocks]);
        limited.arg(std::env::current_exe().unwrap()).arg(&file);
        said(limited).unwrap()
    };
    let said = fill(BLOCKS);
    // What is there can be read, and sent, on a disk that takes nothing more, its own log included.
    assert!(fill(NONE).starts_with("opened"));
    let number = |line: &str, word| line.strip_prefix(word)?.split([' ', ':']).next()?.parse::<u32>().ok();
    let kept: BTreeSet<u32> = said.lines().filter_map(|line| number(line, "kept ")).collect();
    let lost = said.lines().find_map(|line| number(line, "interrupted ")).expect(&said);
    let spool = Spool::<String, _>::open(&file, Unacknowledged).unwrap();
    let found = spool.make_store().take_if(&mut |_| true);
    let found = found
        .into_iter()
        .map(|held| held.item.message.split(' ').next()?.parse().ok());
    let mut found: BTreeSet<u32> = found.map(Option::unwrap).collect();
    found.remove(&lost);
    assert!(kept.len() > 20 && found == kept, "{found:?} of {kept:?}");
    println!("limits: after {} messages a write was cut short", kept.len());
}
