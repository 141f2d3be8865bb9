//! Whose a file is, among processes: three that want it, again and again, and one that opens and
//! closes what it must not.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use tokio::time::Instant;
use tower_ws_spool::{OpenError, Spool, Unacknowledged};

/// How often each of the three has to get the file.
const TURNS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn open(file: &Path) -> Result<Spool<String, Unacknowledged>, OpenError> {
    Spool::open(file, Unacknowledged)
}

fn close(spool: &Spool<String, Unacknowledged>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(spool.close());
}

/// One of the three: gets the file, shows that nobody else has it, and lets go of it.
pub(crate) fn main(arguments: &[String]) {
    let [file, inside, turns] = arguments else {
        panic!("three arguments: {arguments:?}")
    };
    let mut turns: u32 = turns.parse().unwrap();
    let start = Instant::now();
    while turns > 0 {
        assert!(start.elapsed() < PATIENCE, "{turns} turns are left");
        match open(Path::new(file)) {
            Ok(spool) => {
                fs::File::create_new(inside).expect("nobody else is inside");
                if turns == 1 {
                    // Refused, which takes a while, and it changes nothing.
                    assert!(matches!(open(Path::new(file)), Err(OpenError::InUse { .. })));
                }
                drop((fs::read(file).unwrap(), fs::read(format!("{file}-lock")).unwrap()));
                std::thread::yield_now();
                fs::remove_file(inside).unwrap();
                close(&spool);
                turns -= 1;
            }
            Err(OpenError::InUse { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn other(file: &Path, inside: &Path, turns: u32) -> Command {
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.arg("owner").arg(file).arg(inside).arg(turns.to_string());
    other.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    other
}

pub(crate) fn one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (file, inside) = (folder.path().join("spool.db"), folder.path().join("inside"));
    let three: Vec<_> = (0..3).map(|_| other(&file, &inside, TURNS).spawn().unwrap()).collect();
    for one in three {
        let Output { status, stderr, .. } = one.wait_with_output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }
    println!("owners: three processes had the file {TURNS} times each, one at a time");
}

/// What a process that has the file does to it otherwise: another open that is refused, a backup, a
/// link. It has it still.
pub(crate) fn nothing_undoes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, inside) = (folder.path().join("spool.db"), folder.path().join("inside"));
    let spool = open(&file).unwrap();
    let deeds: [(&str, &dyn Fn()); 4] = [
        ("nothing", &|| {}),
        ("a second open", &|| {
            assert!(matches!(open(&file), Err(OpenError::InUse { .. })));
        }),
        ("a backup", &|| {
            for end in ["", "-wal", "-lock"] {
                let from = format!("{}{end}", file.display());
                fs::copy(&from, format!("{from}.backup")).unwrap();
            }
        }),
        ("another name", &|| {
            #[cfg(unix)]
            {
                let link = folder.path().join("link.db");
                std::os::unix::fs::symlink(&file, &link).unwrap();
                assert!(matches!(open(&link), Err(OpenError::InUse { .. })));
            }
        }),
    ];
    for (deed, act) in deeds {
        act();
        let mut other = other(&file, &inside, 1).spawn().unwrap();
        // It tries for as long as it lives.
        std::thread::park_timeout(Duration::from_millis(200));
        assert!(
            other.try_wait().unwrap().is_none() && !inside.exists(),
            "after {deed} there are two"
        );
        other.kill().unwrap();
        other.wait().unwrap();
        println!("owners: one, after {deed}");
    }
    close(&spool);
    assert!(other(&file, &inside, 1).status().unwrap().success());
}
