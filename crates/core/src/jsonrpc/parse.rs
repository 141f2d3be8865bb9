use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Malformed, RpcError,
    envelope::Envelope,
    scan::{beginning, without_mark},
};
use crate::failure::Excerpt;

/// A request or a notification of the peer's, borrowed from its text.
///
/// Its `Debug` shows the method and the size of the parameters, never the parameters.
#[derive(Clone)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The id to answer under: raw, because a peer may use a string or a number. `None`: a
    /// notification.
    pub id: Option<&'a RawValue>,
    /// The method's name.
    pub method: Cow<'a, str>,
    /// The parameters, raw.
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
        let envelope: Envelope<'_> = serde_json::from_slice(without_mark(text))?;
        let Method(method) = match envelope.method {
            Some(method) => serde_json::from_str(method.get())?,
            None => return Err(Malformed::Shape),
        };
        Ok(Self {
            id: envelope.id,
            method,
            params: envelope.params.filter(|params| params.get() != "null"),
        })
    }
}

/// A name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Method<'a>(#[serde(borrow)] Cow<'a, str>);

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
    // In the usual order the result is the last member: where it begins is known, and what is behind
    // it is the end.
    if let Some((_, true, from)) = beginning(text)
        && let Ok(from) = str::from_utf8(from)
    // Once, and not for each string in it.
    {
        let mut values = serde_json::Deserializer::from_str(from).into_iter::<T>();
        if let Some(Ok(result)) = values.next()
            && from[values.byte_offset()..] == *"}"
        {
            return Ok(result);
        }
    }
    #[derive(Deserialize)]
    struct Success<T> {
        result: T,
    }
    let Success { result } = serde_json::from_slice(without_mark(text))?;
    Ok(result)
}

/// The error of a text that [`scan`](super::scan) found to be a
/// [`Kind::Error`](super::Kind::Error). One that is out of form keeps the peer's words.
///
/// # Errors
///
/// [`Malformed`] if it has no error.
pub fn parse_error(text: &[u8]) -> Result<RpcError, Malformed> {
    let envelope: Envelope<'_> = serde_json::from_slice(without_mark(text))?;
    match envelope.error {
        Some(error) if envelope.has_error() => Ok(RpcError::read(error)),
        _ => Err(Malformed::Shape),
    }
}

/// What is wrong with a text that [`scan`](super::scan) found to be
/// [`Kind::Broken`](super::Kind::Broken), and what it says.
pub fn parse_broken(text: &[u8]) -> Malformed {
    let fault = match serde_json::from_slice::<Envelope<'_>>(without_mark(text)) {
        Ok(envelope) => envelope.fault().unwrap_or(Malformed::Shape),
        Err(error) => error.into(),
    };
    // More than is shown, and no more than that is checked.
    let beginning = &text[..text.len().min(4 * Excerpt::LIMIT + 4)];
    Malformed::Answer {
        said: Excerpt::new(&String::from_utf8_lossy(beginning)).to_string(),
        fault: fault.into(),
    }
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
        assert!(parse_error(br#"{"jsonrpc":"2.0","id":1,"result":1}"#).is_err());
    }

    #[test]
    fn errors_out_of_form_keep_the_peers_words() {
        for (error, code, message) in [
            (r#""no""#, 0, "no"),
            (r#"{"code":"-32601","message":"no"}"#, -32601, "no"),
            (r#"{"code":-32601.0,"message":"no"}"#, -32601, "no"),
            (r#"{"code":1.5,"message":"no"}"#, 0, "no"),
            (r#"{"code":"E_NO","message":"no"}"#, 0, "no"),
            (r#"{"code":null,"message":"no"}"#, 0, "no"),
            (r#"{"code":7}"#, 7, r#"{"code":7}"#),
            (r#"{"message":7}"#, 0, r#"{"message":7}"#),
            ("[1]", 0, "[1]"),
            ("false", 0, "false"),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
            let read = parse_error(text.as_bytes()).unwrap();
            assert_eq!((read.code, &*read.message), (code, message), "{error}");
        }
        let data = br#"{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"no","data":[1]}}"#;
        assert_eq!(parse_error(data).unwrap().data.unwrap().get(), "[1]");
    }

    #[test]
    fn what_is_broken_says_how_and_quotes_the_peer() {
        for (text, says) in [
            (r#"{"id":1,"result":5}"#, "version"),
            (r#"{"jsonrpc":"2.0","id":1,"result":5,"error":{}}"#, "neither"),
            (r#"{"jsonrpc":"2.0","id":1,"result":5,"result":5}"#, "twice"),
            (r#"{"jsonrpc":"2.0","id":1,"result":oops}"#, "JSON"),
        ] {
            let broken = parse_broken(text.as_bytes());
            let line = crate::Causes(&broken).to_string();
            assert!(line.contains(says) && line.contains("id"), "{line}");
        }
        let long = format!(r#"{{"id":1,"result":"{}"}}"#, "\u{1b}é".repeat(10_000));
        assert!(parse_broken(long.as_bytes()).to_string().len() < 2000);
    }

    #[test]
    fn a_malformed_text_is_not_quoted() {
        let error = parse_result::<u8>(br#"{"jsonrpc":"2.0","id":1,"result":"hunter2"}"#).unwrap_err();
        let shown = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
