use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tower_ws_core::{
    Replay,
    jsonrpc::{self, parse_result},
};

use crate::{error::CallError, params::Params};

/// A JSON-RPC call or notification: a method, parameters, and what the layers may know about it.
///
/// ```
/// use tower_ws_client::Request;
/// use tower_ws_core::Replay;
///
/// let read = Request::new("resources/read")
///     .params(&serde_json::json!({ "uri": "mem://x" }))?
///     .replay(Replay::Safe);
/// assert_eq!(read.method(), "resources/read");
/// # Ok::<_, serde_json::Error>(())
/// ```
///
/// Its `Debug` shows the method and the size of the parameters, never the parameters.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Cow<'static, str>,
    pub(crate) params: Option<Params>,
    pub(crate) replay: Replay,
    pub(crate) timeout: Option<Duration>,
}

impl Request {
    /// A request without parameters.
    pub fn new(method: impl Into<Cow<'static, str>>) -> Self {
        Self {
            method: method.into(),
            params: None,
            replay: Replay::Unknown,
            timeout: None,
        }
    }

    /// Sets the parameters.
    ///
    /// # Errors
    ///
    /// What `serde_json` says of a value that is no JSON: a map whose keys are no strings.
    pub fn params<T: Serialize + ?Sized>(mut self, params: &T) -> Result<Self, serde_json::Error> {
        self.params = Some(Params::of(params)?);
        Ok(self)
    }

    /// Sets the parameters from JSON text.
    #[must_use]
    pub fn raw_params(mut self, params: &RawValue) -> Self {
        self.params = Some(Params::raw(params));
        self
    }

    /// Declares whether the peer may see this request twice. Unless somebody says that it may, a
    /// request that was sent and not answered when the connection went down fails as
    /// [`Interrupted`](CallError::Interrupted).
    #[must_use]
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Sets how long to wait for the answer, from the call on, instead of the client's default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The request that a text of ours was made of; `None` if it was made of none.
    pub(crate) fn from_text(text: &[u8], replay: Replay) -> Option<Self> {
        let call = jsonrpc::Call::parse(text).ok()?;
        let request = Self::new(call.method.into_owned()).replay(replay);
        Some(match call.params {
            Some(params) => request.raw_params(params),
            None => request,
        })
    }

    /// The method's name.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The parameters as JSON text.
    pub fn params_text(&self) -> Option<&[u8]> {
        self.params.as_ref().map(Params::text)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("params_bytes", &self.params_text().map(<[u8]>::len))
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}

/// A successful answer, not parsed yet: it shares the memory of the message that brought it.
///
/// Its `Debug` shows the size only.
#[derive(Clone)]
pub struct Reply {
    text: Bytes,
}

impl Reply {
    pub(crate) fn new(text: Bytes) -> Self {
        Self { text }
    }

    /// Parses the result.
    ///
    /// # Errors
    ///
    /// [`CallError::Malformed`] if the result is no `T`.
    pub fn result<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        Ok(parse_result(&self.text)?)
    }

    /// The result as JSON text, borrowed.
    ///
    /// # Errors
    ///
    /// [`CallError::Malformed`] if it is no JSON.
    pub fn raw_result(&self) -> Result<&RawValue, CallError> {
        Ok(parse_result(&self.text)?)
    }

    /// The whole answer as JSON text, with its envelope.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("bytes", &self.text.len()).finish()
    }
}
