//! A real server: a process of its own, on a port of loopback.

use std::{
    env, fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tower_ws::mcp::Era;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    PythonLegacy,
    PythonDual,
    TypescriptDual,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::PythonLegacy, Self::PythonDual, Self::TypescriptDual];

    fn name(self) -> &'static str {
        match self {
            Self::PythonLegacy => "python-legacy",
            Self::PythonDual => "python-dual",
            Self::TypescriptDual => "typescript-dual",
        }
    }

    pub(crate) fn era(self) -> Era {
        match self {
            Self::PythonLegacy => Era::Legacy,
            Self::PythonDual | Self::TypescriptDual => Era::Modern,
        }
    }

    /// How it is started, if it has been installed.
    fn command(self) -> Option<Command> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = env::var_os("TOWER_WS_PEERS").map_or_else(|| root.join("target/peers"), PathBuf::from);
        let home = installed.join(self.name());
        if !home.join("complete").exists() {
            return None;
        }
        let scripts = root.join("tests/peers");
        let mut command = match self {
            Self::PythonLegacy | Self::PythonDual => {
                let mut command = Command::new(home.join("venv/bin/python"));
                command.arg(scripts.join(format!("{}.py", self.name().replace('-', "_"))));
                command
            }
            Self::TypescriptDual => {
                // Modules are looked for beside the script. Another test may be reading it: it is
                // there whole, or not yet.
                static COPIED: Once = Once::new();
                let script = home.join("typescript_dual.mjs");
                COPIED.call_once(|| {
                    let copy = script.with_extension(std::process::id().to_string());
                    fs::copy(scripts.join("typescript_dual.mjs"), &copy).expect("the folder can be written to");
                    fs::rename(copy, &script).expect("the folder can be written to");
                });
                let mut command = Command::new("node");
                command.arg(script);
                command
            }
        };
        command.current_dir(home);
        Some(command)
    }
}

/// Dropping it kills it.
pub(crate) struct Peer {
    kind: Kind,
    addr: SocketAddr,
    folder: PathBuf,
    tokens: bool,
    ping: Duration,
    child: Option<Child>,
}

impl Peer {
    /// Starts a server. `None`, said aloud, if it has not been installed; with
    /// `TOWER_WS_PEERS_REQUIRED` set that is a failure.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, false)
    }

    /// The same, which lets in only those who show the [token](Self::set_token).
    pub(crate) fn start_guarded(kind: Kind, token: &str) -> Option<Self> {
        let peer = Self::start_with(kind, true)?;
        peer.set_token(token);
        Some(peer)
    }

    fn start_with(kind: Kind, tokens: bool) -> Option<Self> {
        if kind.command().is_none() {
            let required = env::var_os("TOWER_WS_PEERS_REQUIRED").is_some();
            assert!(!required, "{} is not installed: run tests/peers/install", kind.name());
            // Not by `println!`, which the test runner keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: {} is not installed; tests/peers/install does it",
                kind.name()
            );
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "tower-ws-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = env::temp_dir().join(unique);
        fs::create_dir(&folder).expect("there is room for a folder");
        fs::write(folder.join("ledger"), "").expect("the folder can be written to");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let mut peer = Self {
            kind,
            addr: free.expect("a port is free"),
            folder,
            tokens,
            ping: Duration::from_secs(20),
            child: None,
        };
        peer.restart();
        Some(peer)
    }

    /// How it is started to be spoken to over its stdio, again and again. `None`, said aloud, if it
    /// has not been installed.
    pub(crate) fn on_stdio(kind: Kind) -> Option<impl Fn() -> tokio::process::Command + Send + Sync + 'static> {
        // It says so if it is not there.
        drop(Self::start(kind)?);
        Some(move || {
            let mut command = kind.command().expect("it has been installed");
            command.args(["stdio", "/dev/null"]).stderr(Stdio::null());
            command.into()
        })
    }

    /// Starts it again, to ping this often and to wait as long for the pong.
    pub(crate) fn ping_every(&mut self, ping: Duration) {
        self.ping = ping;
        self.restart();
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.addr)
    }

    /// Starts it, on the port that it had, and waits until it listens.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut command = self.kind.command().expect("it has been installed");
        command
            .arg(self.addr.port().to_string())
            .arg(self.folder.join("ledger"));
        command.env("PING", self.ping.as_secs_f64().to_string());
        if self.tokens {
            command.arg(self.folder.join("token"));
        }
        // They say much, which helps only when a test fails.
        let said = fs::File::create(self.folder.join("stderr")).expect("the folder can be written to");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        self.child = Some(command.spawn().expect("it can be started"));
        for _ in 0..600 {
            if TcpStream::connect(self.addr).is_ok() {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none(),
                "{} ended as it was started: {ended:?}",
                self.kind.name()
            );
            #[allow(clippy::disallowed_methods, reason = "a process is waited for, before anything runs")]
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not listen", self.kind.name());
    }

    /// Ends it without a word, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in its tracks, with its connections open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// The token that lets in from now on.
    pub(crate) fn set_token(&self, token: &str) {
        fs::write(self.folder.join("token"), token).expect("the folder can be written to");
    }

    /// What the tool `book` has written, whoever was alive.
    pub(crate) fn ledger(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.folder.join("ledger")).expect("there is a ledger");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let said = fs::read(self.folder.join("stderr")).unwrap_or_default();
            let last = &said[said.len().saturating_sub(4096)..];
            eprintln!("{} said last: {}", self.kind.name(), String::from_utf8_lossy(last));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
