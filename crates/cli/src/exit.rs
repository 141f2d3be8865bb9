//! How the program ends: a code for scripts, and words for people.

use std::{error::Error, fmt, process::ExitCode};

use tower_ws::{
    ConnectError,
    config::ConfigError,
    core::{Failure, FailureKind},
};

/// How the guard is told to let something pass.
pub(crate) const ALLOW: &str = "--allow-plaintext lets ws:// go to another machine, --set connect.allow_hosts=HOST lets this \
                                host be dialled, --guard unguarded anything";

/// How a credential is given.
pub(crate) const TOKEN: &str = "--token-file, --token-env and --token-command show a bearer token";

/// The class of an end, and its code. A script may try again after those from 3 to 10 and after 12.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Done; there is a way to the server.
    Done = 0,
    /// The server answered a call with an error.
    Answered = 1,
    /// The command line, or the settings.
    Usage = 2,
    /// Name or network.
    Network = 3,
    Tls = 4,
    Proxy = 5,
    /// No WebSocket there: 404, 200, a redirect, a subprotocol.
    NoWebSocket = 6,
    Credentials = 7,
    Time = 8,
    /// The peer closed, or broke the protocol.
    Peer = 9,
    /// Forbidden on this side; nothing was sent.
    Local = 10,
    /// The call may have been executed.
    Unknown = 11,
    Throttled = 12,
    /// By a signal.
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    /// The class of a failure; `status` is that of a refusal, `code` that of a close.
    pub(crate) fn of(kind: FailureKind, status: Option<u16>, code: Option<u16>) -> Self {
        match (status, kind) {
            (None, FailureKind::Closed) if matches!(code, Some(3000 | 4401)) => Self::Credentials,
            (Some(407), _) | (_, FailureKind::Proxy) => Self::Proxy,
            (Some(401 | 403), _) => Self::Credentials,
            (Some(429), _) => Self::Throttled,
            (_, FailureKind::Network | FailureKind::Dns) => Self::Network,
            (_, FailureKind::Tls) => Self::Tls,
            (_, FailureKind::Handshake) => Self::NoWebSocket,
            (_, FailureKind::Auth) => Self::Credentials,
            (_, FailureKind::Throttled) => Self::Throttled,
            (_, FailureKind::Timeout) => Self::Time,
            (_, FailureKind::Closed | FailureKind::Protocol) => Self::Peer,
            (_, FailureKind::Usage) => Self::Usage,
            _ => Self::Local,
        }
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        let code = failure.close().map(|close| close.code);
        Self::of(failure.kind(), failure.status(), code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why it did not work, in three parts: what, why, what to do.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) exit: Exit,
    what: String,
    causes: Vec<String>,
    help: Option<String>,
}

impl Trouble {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            causes: Vec::new(),
            help: None,
        }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With what is beneath it, each once.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if !self.what.contains(&text) && !self.causes.iter().any(|cause| cause.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        let failure = error.failure();
        let help = match failure.kind() {
            FailureKind::Policy => ALLOW,
            _ => "`tower-ws doctor` with the same address says where it fails, and whose fault it is",
        };
        Self::new(Exit::from(&failure), failure.to_string()).help(help)
    }
}

impl From<ConfigError> for Trouble {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.what.lines() {
            writeln!(f, "error: {line}")?;
        }
        for cause in &self.causes {
            writeln!(f, "  cause: {cause}")?;
        }
        match &self.help {
            Some(help) => writeln!(f, "  help: {help}"),
            None => Ok(()),
        }
    }
}
