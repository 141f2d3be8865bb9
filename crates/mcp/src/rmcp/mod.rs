//! A transport for [`rmcp`], the official SDK: an unmodified client of it lives through the restarts of its server.
//!
//! ```text
//! let service = handler.serve(TokioChildProcess::new(command)?).await?;          // before
//! let service = handler.serve(tower_ws::mcp::rmcp_transport(url)).await?;        // after
//! ```
//!
//! With a stack of one's own, [`RmcpTransport::new`].
//!
//! # What the SDK sees
//!
//! - One connection that never breaks. What it says while there is none waits in the stack, within its bounds.
//! - Its `initialize` or `server/discover` opens the first connection, and is answered with what the server said. On each
//!   later connection the stack opens by itself, and repeats the subscriptions, the log level and the listens.
//! - If the server is another one then, or can do other things, notifications that its lists have changed.
//! - A request that was sent and not answered when the connection was lost is sent again if it only reads. Any other is
//!   answered with an error that says so; [`interrupted`] knows it.
//! - Closing says 1000; so does dropping.
//! - When the session ends for good (a refusal that is final, say) `receive` gives `None`.
//!
//! Ids on the wire are the stack's own, never used twice; answers get the SDK's back. Requests of the server reach the SDK
//! and its answers go to the connection that asked.

mod transport;
mod worker;

use ::rmcp::model::ErrorData;
use serde::{Deserialize, Serialize};

pub use self::transport::{RmcpTransport, TransportClosed};

/// The code of an error that stands for an answer which never came: the first that JSON-RPC leaves to implementations.
pub const INTERRUPTED: i32 = -32000;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Interrupted {
    /// It was sent, and the connection was lost or its time was up: nobody knows whether the server acted on it.
    OutcomeUnknown,
    /// Not a byte of it was sent: making it again is safe.
    NotSent,
}

/// Our mark in the data of an error.
#[derive(Deserialize, Serialize)]
struct Mark {
    #[serde(rename = "towerWs")]
    interrupted: Interrupted,
}

/// What became of a request, if this is the error of one that was never answered. `None`: the server's own error.
pub fn interrupted(error: &ErrorData) -> Option<Interrupted> {
    let mark = serde_json::from_value::<Mark>(error.data.clone()?).ok()?;
    (error.code.0 == INTERRUPTED).then_some(mark.interrupted)
}
