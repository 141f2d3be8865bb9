//! The files of a spool, as the file system shows them, and the lock that says whose they are.
//!
//! None that SQLite may have open is opened here: when a process closes a file, whatever locks
//! POSIX gave it on that file are gone, those of its other descriptors too
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::error::OpenError;

/// How often, and how far apart, a lock is tried that somebody else has.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(10);

/// What stands where the database should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// No file, or an empty one.
    Nothing,
    /// Something, which SQLite may look at.
    Something,
}

/// The same path, without links: two names of one file are to have one lock.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "no name of a file");
            let name = path.file_name().ok_or_else(no_name)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Ok(folder.unwrap_or(Path::new(".")).canonicalize()?.join(name))
        }
        resolved => resolved,
    }
}

/// What is there, as far as it can be told from outside.
pub(crate) fn look(path: &Path) -> Result<Found, OpenError> {
    let (log, journal) = (beside(path, "-wal"), beside(path, "-journal"));
    let is_empty = |path| Ok(regular(path)?.is_none_or(|file| file.len() == 0));
    match (regular(path)?.map_or(0, |file| file.len()), is_empty(&log)?) {
        // SQLite takes one of a single byte for empty. The log of one that is, it throws away.
        (1, _) | (0, false) => Err(OpenError::Damaged { path: path.to_owned() }),
        // A spool has no such file. It would be played back into one.
        _ if regular(&journal)?.is_some() => Err(OpenError::Damaged { path: path.to_owned() }),
        (0, true) => Ok(Found::Nothing),
        _ => Ok(Found::Something),
    }
}

/// Fails if others than their owner can write to the files: they could make this process send what
/// they like. That others can read them is logged.
pub(crate) fn check_modes(path: &Path) -> Result<(), OpenError> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-lock")] {
        match regular(&file)?.map_or(0, |found| mode(&found)) {
            mode if mode & 0o022 != 0 => return Err(OpenError::Exposed { path: file, mode }),
            mode if mode & 0o044 != 0 => {
                tracing::warn!(file = ?file, "others can read this file of the spool, which may hold secrets");
            }
            _ => {}
        }
    }
    // Whoever may write there may replace the file, unless the folder is sticky.
    let folder = path.parent().unwrap_or(path);
    match metadata(folder)?.map_or(0, |found| mode(&found)) {
        mode if mode & 0o002 != 0 && mode & 0o1000 == 0 => {
            let path = folder.to_owned();
            Err(OpenError::Exposed { path, mode })
        }
        _ => Ok(()),
    }
}

/// Makes the file, or takes an empty one, readable by its owner alone: messages may hold secrets.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    match private().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            #[cfg(unix)]
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            Ok(())
        }
        made => made.map(drop),
    }
}

/// Locks a spool for as long as the file that is returned is open, which no other descriptor can
/// undo: the lock is that of one opening of a file beside, not of the process, and the kernel drops
/// it with the process.
///
/// It is never removed. Somebody else may be about to lock it. Whoever has it may be about to close:
/// that is waited for, for half a second.
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |cause| OpenError::Io {
        path: path.to_owned(),
        cause,
    };
    let lock = private().create(true).truncate(false).open(beside(path, "-lock"));
    let lock = lock.map_err(io)?;
    for _ in 0..LOOKS {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => thread::park_timeout(LOOK),
            Err(TryLockError::Error(cause)) => return Err(io(cause)),
        }
    }
    Err(OpenError::InUse { path: path.to_owned() })
}

/// By which a file is known again under its name; `None` where there is no such thing.
pub(crate) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let metadata = fs::symlink_metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(Some((metadata.dev(), metadata.ino())))
    }
    #[cfg(not(unix))]
    Ok(metadata.is_file().then_some((0, 0)))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// A file, if there is one, and nothing else.
fn regular(path: &Path) -> Result<Option<fs::Metadata>, OpenError> {
    match metadata(path)? {
        Some(metadata) if !metadata.is_file() => Err(OpenError::Io {
            path: path.to_owned(),
            cause: io::Error::new(io::ErrorKind::InvalidInput, "no regular file"),
        }),
        metadata => Ok(metadata),
    }
}

fn metadata(path: &Path) -> Result<Option<fs::Metadata>, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(OpenError::Io {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Who may do what with it. Elsewhere than on Unix other means say so, which are not looked at.
fn mode(metadata: &fs::Metadata) -> u32 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777;
    #[cfg(not(unix))]
    return u32::from(metadata.is_file()) * 0o600;
}
