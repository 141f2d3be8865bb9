use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Malformed, RpcError, scan::present};

/// A request or a notification of the peer's, borrowed from its text.
///
/// Its `Debug` shows the method and the size of the parameters, never the parameters.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The id to answer under: raw, because a peer may use a string or a number. `None`: a
    /// notification.
    #[serde(borrow, default, deserialize_with = "present")]
    pub id: Option<&'a RawValue>,
    /// The method's name.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// The parameters, raw.
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// Reads the envelope of a text that [`scan`](super::scan) found to be a
    /// [`Kind::Call`](super::Kind::Call).
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is none.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        Ok(serde_json::from_slice(text)?)
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.id.map(RawValue::get))
            .field("method", &self.method)
            .field("params_bytes", &self.params.map(|params| params.get().len()))
            .finish()
    }
}

/// The result of a text that [`scan`](super::scan) found to be a
/// [`Kind::Result`](super::Kind::Result).
///
/// # Errors
///
/// [`Malformed`] if it has no result, or one that is no `T`.
pub fn parse_result<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Malformed> {
    #[derive(Deserialize)]
    struct Success<T> {
        result: T,
    }
    let Success { result } = serde_json::from_slice(text)?;
    Ok(result)
}

/// The error of a text that [`scan`](super::scan) found to be a
/// [`Kind::Error`](super::Kind::Error).
///
/// # Errors
///
/// [`Malformed`] if it has no error of the form that the specification gives it.
pub fn parse_error(text: &[u8]) -> Result<RpcError, Malformed> {
    #[derive(Deserialize)]
    struct Refusal {
        error: RpcError,
    }
    let Refusal { error } = serde_json::from_slice(text)?;
    Ok(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_parsed_by_type() {
        let parse = |text: &'static str| parse_result::<Option<u8>>(text.as_bytes());
        assert_eq!(parse(r#"{"jsonrpc":"2.0","id":1,"result":5}"#).unwrap(), Some(5));
        assert_eq!(parse(r#"{"jsonrpc":"2.0","id":1,"result":null}"#).unwrap(), None);
        assert!(parse(r#"{"jsonrpc":"2.0","id":1,"result":"secret"}"#).is_err());
        assert!(parse(r#"{"jsonrpc":"2.0","id":1,"result":5"#).is_err());
    }

    #[test]
    fn errors_have_a_code() {
        let text = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":[1]}}"#;
        assert_eq!(parse_error(text).unwrap().code, -1);
        assert!(parse_error(br#"{"jsonrpc":"2.0","id":1,"error":"no"}"#).is_err());
    }

    #[test]
    fn a_malformed_text_is_not_quoted() {
        let error = parse_result::<u8>(br#"{"jsonrpc":"2.0","id":1,"result":"hunter2"}"#).unwrap_err();
        let shown = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
