use std::fmt;

/// The revision without sessions: each request says for itself which version it speaks.
pub const MODERN_VERSION: &str = "2026-07-28";

/// The revisions that begin with `initialize`, the newest first: what is offered, and what is
/// accepted.
pub const LEGACY_VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// How a server wants to be spoken to. This list is complete.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Era {
    /// [`MODERN_VERSION`]: no handshake, no session, metadata with each request.
    Modern,
    /// One of [`LEGACY_VERSIONS`]: `initialize` opens each connection.
    Legacy,
}

impl Era {
    /// The name used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    /// The era that a version belongs to; `None` for one that this client does not speak.
    pub fn of(version: &str) -> Option<Self> {
        match version {
            MODERN_VERSION => Some(Self::Modern),
            legacy if LEGACY_VERSIONS.contains(&legacy) => Some(Self::Legacy),
            _ => None,
        }
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Codes of errors; by the first three a modern server refuses a request, and whoever answers with
/// one of them is modern.
pub(crate) mod code {
    /// What the transport says about a request is not what the request says.
    pub(crate) const HEADER_MISMATCH: i64 = -32020;
    /// The request needs a capability that this client did not declare.
    pub(crate) const MISSING_CAPABILITY: i64 = -32021;
    /// The server does not speak the version that the request names; `data.supported` has those
    /// that it speaks.
    pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;
    /// Not the server's: under it ends a listen that the server has cancelled.
    pub(crate) const CANCELLED: i64 = -32800;
}
