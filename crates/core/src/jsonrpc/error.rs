use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::failure::Excerpt;

/// An error that a peer answers with, or that we answer a peer with.
///
/// Shown, both ways, without its data, and with the message cut and escaped.
#[derive(Clone, Deserialize, Serialize)]
pub struct RpcError {
    /// What kind of error; -32768 to -32000 are the protocol's own.
    pub code: i64,
    /// One sentence. The peer's words: displayed escaped and cut.
    pub message: String,
    /// More about it, raw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl RpcError {
    /// The method does not exist: -32601.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// Something went wrong on the side that answers: -32603.
    pub const INTERNAL: i64 = -32603;
    /// This side cannot take on more work now: -32000, the first of the codes left to
    /// implementations.
    pub const BUSY: i64 = -32000;

    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcError")
            .field("code", &self.code)
            .field("message", &format_args!("{}", Excerpt::new(&self.message)))
            .field("data_bytes", &self.data.as_ref().map(|data| data.get().len()))
            .finish()
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, .. } = self;
        write!(f, "the peer answered with error {code}: {}", Excerpt::new(message))
    }
}

impl std::error::Error for RpcError {}

/// A text that is no JSON-RPC 2.0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It is no JSON, or not of the type asked for. The source has the place, never the text.
    #[error("not the JSON expected")]
    Json(#[source] JsonPlace),
    /// Its `jsonrpc` member is not "2.0".
    #[error("the JSON-RPC version is not 2.0")]
    Version,
    /// It is neither a call nor an answer, or both.
    #[error("neither a call nor an answer")]
    Shape,
    /// It is a batch.
    #[error("a batch: send its messages one by one")]
    Batch,
    /// It is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(JsonPlace(error))
    }
}

/// Where JSON could not be read: kind, line, column. The message of `serde_json` can quote values,
/// and values can be secrets.
pub struct JsonPlace(serde_json::Error);

impl fmt::Debug for JsonPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for JsonPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = (self.0.line(), self.0.column());
        let what = match self.0.classify() {
            serde_json::error::Category::Data => "not of the type asked for",
            serde_json::error::Category::Eof => "cut off",
            _ => "not JSON",
        };
        write!(f, "{what}, at line {line} column {column}")
    }
}

impl std::error::Error for JsonPlace {}
