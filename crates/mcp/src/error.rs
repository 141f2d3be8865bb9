use tower_ws_client::CallError;

use crate::{era::Era, input::InputRequired};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum McpError {
    /// The call failed, or the server answered with an error.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server wants to know something first: [answer](InputRequired::answer) it, and send the
    /// request that comes of it.
    #[error("the server asks for more before it answers `{}`", .0.method())]
    InputRequired(Box<InputRequired>),
    /// The server speaks another era of the protocol, which has another way.
    #[error("a {era} server has no `{method}`: use `{instead}`")]
    WrongEra {
        /// What this server speaks.
        era: Era,
        /// What was asked for.
        method: &'static str,
        /// What there is instead.
        instead: &'static str,
    },
    /// There are 64 listens already, as many as are repeated on each connection.
    #[error("there are {0} listens already: drop one first")]
    Listens(usize),
    /// A list does not end: the server gave the same cursor twice, or more pages than anybody
    /// reads.
    #[error("the list `{0}` does not end: the server repeats itself")]
    Endless(&'static str),
}

impl McpError {
    /// True when the server may have seen the request and its outcome is unknown, or when it
    /// answered. False: sending it again is safe.
    pub fn may_have_been_seen(&self) -> bool {
        match self {
            Self::Call(error) => error.may_have_been_seen(),
            Self::InputRequired(_) | Self::Endless(_) => true,
            Self::WrongEra { .. } | Self::Listens(_) => false,
        }
    }
}
