use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Kind, Malformed, RpcError, scan, scan::present};

/// A request or a notification of the peer's, borrowed from its text.
#[derive(Clone, Debug, Deserialize)]
pub struct Call<'a> {
    /// The id to answer under: raw, because a peer may use a string or a number. `None`: a notification.
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
    /// Reads the envelope of a text that [`scan`] found to be a [`Kind::Call`].
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is none.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        Ok(serde_json::from_slice(text)?)
    }
}

/// The answer to a request: a result of type `T`, or the peer's error.
///
/// # Errors
///
/// [`Malformed`] if the text is no answer, or its result is no `T`.
pub fn parse_answer<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<Result<T, RpcError>, Malformed> {
    #[derive(Deserialize)]
    struct Success<T> {
        result: T,
    }
    #[derive(Deserialize)]
    struct Refusal {
        error: RpcError,
    }
    match scan(text)? {
        Kind::Result(_) => serde_json::from_slice(text).map(|Success { result }| Ok(result)),
        Kind::Error(_) => serde_json::from_slice(text).map(|Refusal { error }| Err(error)),
        Kind::Call | Kind::Stray => return Err(Malformed::Shape),
    }
    .map_err(Malformed::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_parsed_by_type() {
        let parse = |text: &'static str| parse_answer::<Option<u8>>(text.as_bytes());
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","id":1,"result":5}"#).unwrap().unwrap(),
            Some(5)
        );
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","id":1,"result":null}"#).unwrap().unwrap(),
            None
        );
        let error = parse(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":[1]}}"#);
        assert_eq!(error.unwrap().unwrap_err().code, -1);
        assert!(parse(r#"{"jsonrpc":"2.0","id":1,"result":"secret"}"#).is_err());
        assert!(parse(r#"{"jsonrpc":"2.0","id":1,"result":5"#).is_err());
    }

    #[test]
    fn an_error_never_quotes_the_text() {
        let error = parse_answer::<u8>(br#"{"jsonrpc":"2.0","id":1,"result":"hunter2"}"#).unwrap_err();
        let shown = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
