use serde::Deserialize;
use serde_json::value::RawValue;

use super::Malformed;

/// What a JSON-RPC text is, as far as routing needs to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The answer to the request with this id: a result.
    Result(u64),
    /// The answer to the request with this id: an error.
    Error(u64),
    /// A request or a notification of the peer's. [`Call::parse`](super::Call::parse) reads it.
    Call,
    /// A well-formed answer to no request that could be ours: its id is null or no positive
    /// integer, nor one that some gateway has made a string (`"7"`) or a fraction (`7.0`) of.
    Stray,
}

/// Looks at the envelope of a JSON-RPC text.
///
/// # Errors
///
/// [`Malformed`] if it is no JSON-RPC 2.0 object. What `result` or `error` hold is checked when
/// they are parsed.
pub fn scan(text: &[u8]) -> Result<Kind, Malformed> {
    if let Some(kind) = scan_prefix(text) {
        return Ok(kind);
    }
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Malformed::Batch);
    }
    let envelope: Envelope<'_> = serde_json::from_slice(text)?;
    if envelope.jsonrpc != "2.0" {
        return Err(Malformed::Version);
    }
    let id = || envelope.id.and_then(|id| lenient(id.get()));
    match (
        envelope.method.is_some(),
        envelope.result.is_some(),
        envelope.error.is_some(),
    ) {
        (true, false, false) => Ok(Kind::Call),
        (false, true, false) => Ok(id().map_or(Kind::Stray, Kind::Result)),
        (false, false, true) => Ok(id().map_or(Kind::Stray, Kind::Error)),
        _ => Err(Malformed::Shape),
    }
}

/// An id of ours, also as a peer that keeps ids in another type gives it back.
fn lenient(id: &str) -> Option<u64> {
    let digits = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(id);
    digits.strip_suffix(".0").unwrap_or(digits).parse().ok()
}

/// The usual order: version and id (in either order), then `result` or `error`. `None`: look
/// closer.
fn scan_prefix(text: &[u8]) -> Option<Kind> {
    let mut rest = punctuation(text, b'{')?;
    let (mut version, mut id) = (false, None);
    loop {
        let key = string(&mut rest)?;
        rest = punctuation(rest, b':')?;
        match key {
            b"jsonrpc" => version = string(&mut rest)? == b"2.0",
            b"id" => id = Some(integer(&mut rest)?),
            b"result" if version => return id.map(Kind::Result),
            b"error" if version => return id.map(Kind::Error),
            _ => return None,
        }
        rest = punctuation(rest, b',')?;
    }
}

fn punctuation(text: &[u8], mark: u8) -> Option<&[u8]> {
    match text.split_first() {
        Some((&first, rest)) if first == mark => Some(rest.trim_ascii_start()),
        _ => text
            .trim_ascii_start()
            .strip_prefix(&[mark])
            .map(<[u8]>::trim_ascii_start),
    }
}

/// A string without escapes, such as every key of an envelope is.
fn string<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let rest = text.strip_prefix(b"\"")?;
    let end = rest.iter().take(16).position(|&byte| byte == b'"' || byte == b'\\')?;
    *text = rest[end..].strip_prefix(b"\"")?;
    Some(&rest[..end])
}

fn integer(text: &mut &[u8]) -> Option<u64> {
    let digits = text.iter().take(17).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    let canonical = number.len() == 1 || number.first() != Some(&b'0');
    (0 < digits && digits < 17 && canonical).then(|| {
        number
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
    })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    jsonrpc: &'a str,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A field that is there, be it null: `"result":null` is a result.
pub(super) fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_shape_is_told_apart() {
        for (text, kind) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, Kind::Result(7)),
            (r#"{ "id": 7, "jsonrpc": "2.0", "result": null }"#, Kind::Result(7)),
            (r#"{"result":1,"id":7,"jsonrpc":"2.0"}"#, Kind::Result(7)),
            (
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#,
                Kind::Error(7),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
                Kind::Stray,
            ),
            (r#"{"jsonrpc":"2.0","id":"7","result":1}"#, Kind::Result(7)),
            (r#"{"jsonrpc":"2.0","id":7.0,"result":1}"#, Kind::Result(7)),
            (r#"{"jsonrpc":"2.0","id":"7a","result":1}"#, Kind::Stray),
            (r#"{"jsonrpc":"2.0","id":7.5,"result":1}"#, Kind::Stray),
            (r#"{"jsonrpc":"2.0","id":-7,"result":1}"#, Kind::Stray),
            (r#"{"jsonrpc":"2.0","method":"m"}"#, Kind::Call),
            (r#"{"jsonrpc":"2.0","id":7,"method":"m","params":[]}"#, Kind::Call),
        ] {
            assert_eq!(scan(text.as_bytes()).unwrap(), kind, "{text}");
        }
        for text in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"jsonrpc":"1.0","id":7,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"m","result":1}"#,
            r#"{"jsonrpc":"2.0","id":007,"result":"#,
        ] {
            assert!(scan(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&text);
            let _ = super::super::Call::parse(&text);
        }

        #[test]
        fn a_short_cut_agrees_with_the_parser(spaces in "[ \n\t]{0,3}", id in 0..1_000_000u64) {
            let text = format!("{{{spaces}\"id\":{spaces}{id},{spaces}\"jsonrpc\":\"2.0\"{spaces},\"result\"{spaces}:1}}");
            prop_assert_eq!(scan(text.as_bytes()).unwrap(), Kind::Result(id));
        }
    }
}
