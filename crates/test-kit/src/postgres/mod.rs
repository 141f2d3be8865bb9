//! A PostgreSQL of a test's own.

mod clock;
mod standby;

use std::{
    env, fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// A PostgreSQL server of a test's own, in a temporary folder, on a port of the loopback address. It
/// ends, and its folder goes, when it is dropped or the process ends.
///
/// The user is `postgres`, and nobody is asked for a password. Everything here blocks for a second
/// or so.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    binaries: PathBuf,
    /// The library that gives it a clock of its own.
    clock: Option<PathBuf>,
    port: u16,
    /// Dropped, it ends the server.
    server: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    pid: u32,
    _end: mpsc::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How long it may take to start, or to recover.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

impl Postgres {
    /// Starts one. `None`, and a line that says so, if there is none on this machine: with
    /// `TOWER_WS_PEERS_REQUIRED` set, as in CI, that is a failure.
    ///
    /// It is looked for in `$TOWER_WS_POSTGRES`, in `/usr/lib/postgresql/*/bin`, and in the path.
    ///
    /// # Panics
    ///
    /// If it is there and does not start.
    pub fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            return skipped("there is no PostgreSQL server here");
        };
        Some(Self::new(binaries, None).expect("the server starts"))
    }

    fn new(binaries: PathBuf, clock: Option<PathBuf>) -> io::Result<Self> {
        let server = Self::empty(binaries, clock)?;
        let mut init = server.command("initdb");
        init.args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "-D",
        ]);
        run(init.arg(server.data()))?;
        server.run()?;
        Ok(server)
    }

    /// A folder and a port, without data.
    fn empty(binaries: PathBuf, clock: Option<PathBuf>) -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("tower-ws-postgres-{}-{made}", std::process::id()));
        fs::create_dir(&folder)?;
        let server = Self {
            folder,
            binaries,
            clock,
            port: TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            server: Mutex::new(None),
        };
        if let Some(user) = user() {
            run(Command::new("chown").arg(user).arg(&server.folder))?;
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// How it is connected to, in the form of a connection string.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@{}/postgres", self.addr())
    }

    /// Lets it stand still, with all of its processes: it takes connections, and answers nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(running) = &*self.lock() {
            signal_all(running.pid, signal);
        }
    }

    /// Kills it as a crash does: whatever is not committed is lost, and nobody is told.
    pub fn kill(&self) {
        self.lock().take();
    }

    /// Kills it, and starts it again.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&self) {
        self.kill();
        self.run().expect("the server starts again");
    }

    fn run(&self) -> io::Result<()> {
        let mut command = self.program()?;
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-c",
            "max_connections=200",
            "-c",
            "wal_retrieve_retry_interval=100ms",
        ]);
        // A signal is sent to it when the thread that started it ends; so that one lives as long.
        let (end, ended) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let thread = thread::spawn(move || {
            let child = command.spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(Ok(child.id()));
            let _ = ended.recv();
            stop(&mut child);
        });
        let pid = starts.recv().map_err(io::Error::other)??;
        *self.lock() = Some(Running {
            pid,
            _end: end,
            thread: Some(thread),
        });
        self.wait()
    }

    /// It answers.
    fn wait(&self) -> io::Result<()> {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if TcpStream::connect(self.addr()).is_ok() && self.is_ready()? {
                return Ok(());
            }
            thread::park_timeout(LOOK);
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("PostgreSQL does not start: {log}")))
    }

    fn is_ready(&self) -> io::Result<bool> {
        let mut ready = self.command("pg_isready");
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        Ok(ready.status()?.success())
    }

    /// One of its programs.
    fn command(&self, program: &str) -> Command {
        self.command_at(&self.binaries.join(program))
    }

    /// A program as somebody who is not root: PostgreSQL refuses to run as such.
    fn command_at(&self, path: &Path) -> Command {
        let mut command = match user() {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([
                    "--reuid",
                    user,
                    "--regid",
                    user,
                    "--clear-groups",
                    "--pdeathsig",
                    "QUIT",
                ]);
                command.arg(path);
                command
            }
        };
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"));
        let log = log.map_or_else(|_| Stdio::null(), Stdio::from);
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (end, _) = mpsc::channel();
        drop(std::mem::replace(&mut self._end, end));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// By SIGQUIT: an immediate shutdown, which is a crash to whoever is connected.
fn stop(child: &mut Child) {
    let _ = Command::new("kill").arg("-QUIT").arg(child.id().to_string()).status();
    // If it stands still.
    signal_all(child.id(), "-CONT");
    let _ = child.wait();
    clock::clean_up(child.id());
}

/// To a server, and then to its children: one that stands still makes no more of them.
fn signal_all(pid: u32, signal: &str) {
    let script = format!("kill {signal} {pid}; for p in $(ps -o pid= --ppid {pid}); do kill {signal} $p; done");
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

/// Says what is missing. In CI it is a failure.
fn skipped(missing: &str) -> Option<Postgres> {
    let hint = format!("{missing}; tests/peers/install-postgres installs it");
    assert!(env::var_os("TOWER_WS_PEERS_REQUIRED").is_none(), "{hint}");
    eprintln!("SKIPPED: {hint}");
    None
}

/// The ordinary user to become, if this is root.
fn user() -> Option<&'static str> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| owner(&me) == 0);
    let has = |user: &str| {
        Command::new("id")
            .arg(user)
            .output()
            .is_ok_and(|id| id.status.success())
    };
    is_root.then(|| if has("postgres") { "postgres" } else { "nobody" })
}

#[cfg(unix)]
fn owner(file: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(file)
}

#[cfg(not(unix))]
fn owner(_: &fs::Metadata) -> u32 {
    1
}

fn binaries() -> Option<PathBuf> {
    let named = env::var_os("TOWER_WS_POSTGRES").map(PathBuf::from);
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    debian.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    let places = named
        .into_iter()
        .chain(debian.into_iter().rev())
        .chain(env::split_paths(&path));
    let has = |place: &PathBuf, program: &str| place.join(program).is_file();
    places
        .into_iter()
        .find(|place: &PathBuf| has(place, "initdb") && has(place, "postgres"))
}

fn run(command: &mut Command) -> io::Result<()> {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("{command:?}: {status}"))),
    }
}
