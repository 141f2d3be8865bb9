use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

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
    /// The parameters are not what the method takes.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Something went wrong on the side that answers: -32603.
    pub const INTERNAL: i64 = -32603;
    /// This side cannot take on more work now: -32000, the first of the codes left to
    /// implementations.
    pub const BUSY: i64 = -32000;

    /// Stands for a code that a peer left out or that is none: 0, which the protocol gives no
    /// meaning.
    pub const NO_CODE: i64 = 0;

    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// What a peer put in the place of an error, whatever its form: the words are kept. A code that
    /// is a fraction without a rest, or a string of digits, is that number; any other, and none, is
    /// [`NO_CODE`](Self::NO_CODE). Without a message the whole is the message.
    pub(super) fn read(said: &RawValue) -> Self {
        if let Ok(error) = serde_json::from_str(said.get()) {
            return error;
        }
        #[derive(Deserialize)]
        struct Odd {
            code: Option<Value>,
            message: Option<String>,
            data: Option<Box<RawValue>>,
        }
        let odd = serde_json::from_str(said.get()).unwrap_or(Odd {
            code: None,
            message: serde_json::from_str(said.get()).ok(),
            data: None,
        });
        let code = match odd.code {
            Some(Value::Number(code)) => code.as_f64().filter(|code| code.fract() == 0.0).map(|code| code as i64),
            Some(Value::String(code)) => code.parse().ok(),
            _ => None,
        };
        Self {
            code: code.unwrap_or(Self::NO_CODE),
            message: odd.message.unwrap_or_else(|| said.get().to_owned()),
            data: odd.data,
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
    /// It has two ids: which one is meant, nobody knows.
    #[error("two ids")]
    TwoIds,
    /// A member of its envelope is there twice.
    #[error("a member is there twice")]
    Doubled,
    /// It answers a request and breaks a rule, which is the source. With the peer's words.
    #[error("the answer is out of form: {said}")]
    Answer {
        /// The beginning of the answer, escaped.
        said: String,
        /// The rule.
        #[source]
        fault: Box<Malformed>,
    },
    /// It is a batch within a batch.
    #[error("a batch within a batch")]
    Nested,
    /// It is a batch of more than [`BATCH_LIMIT`](super::BATCH_LIMIT) messages.
    #[error("a batch of more than {} messages", super::BATCH_LIMIT)]
    LargeBatch,
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
