//! What a modern request says of itself: members for the `_meta` of its parameters, put in without
//! rewriting the rest.

use std::{ops::Range, sync::LazyLock};

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, value::RawValue};
use tower_ws_client::{CallError, Request};
use tower_ws_core::jsonrpc::{Call, begins_as_request};

/// The request with a member in the `_meta` of its parameters: `traceparent`, say, by which
/// [traces go on](https://www.w3.org/TR/trace-context/) at the server. One of that name is replaced.
///
/// # Errors
///
/// [`CallError::Params`] if the value is no JSON, or the parameters are no object.
pub fn with_meta<T: Serialize + ?Sized>(request: Request, name: &str, value: &T) -> Result<Request, CallError> {
    let params = request.params_text().unwrap_or(b"{}");
    let mut params: Map<String, Value> = serde_json::from_slice(params).map_err(CallError::Params)?;
    let value = serde_json::to_value(value).map_err(CallError::Params)?;
    match params.entry("_meta").or_insert_with(|| Map::new().into()) {
        Value::Object(meta) => drop(meta.insert(name.to_owned(), value)),
        // Whatever else it was, it was none.
        other => *other = Map::from_iter([(name.to_owned(), value)]).into(),
    }
    request.params(&params).map_err(CallError::Params)
}

/// Puts `members` (JSON text without braces) first into the `_meta` of a request's parameters, both
/// of which may be missing.
///
/// `None` if the text is no request, or if its parameters or their `_meta` are no object: MCP has no such request, so the text
/// goes as it is, and the server says what is wrong with it. `None`, too, if the request says
/// already which version it speaks: a library above stamps its own.
pub(crate) fn stamp(text: &[u8], members: &str) -> Option<Bytes> {
    let Gap { replaced, head, tail } = match usual_gap(text) {
        Some(gap) => gap,
        None => gap(text)?,
    };
    let parts = [
        &text[..replaced.start],
        head.as_bytes(),
        members.as_bytes(),
        tail.as_bytes(),
        &text[replaced.end..],
    ];
    Some(parts.concat().into())
}

/// Where the members go.
struct Gap {
    /// What makes room for them: nothing, as a rule.
    replaced: Range<usize>,
    /// What stands before them.
    head: &'static str,
    /// What stands behind them.
    tail: &'static str,
}

impl Gap {
    fn new(replaced: Range<usize>, head: &'static str, tail: &'static str) -> Self {
        Self { replaced, head, tail }
    }

    /// At the beginning of parameters that have no `_meta`.
    fn without_meta(at: Range<usize>, is_empty: bool) -> Self {
        Self::new(at, r#""_meta":{"#, if is_empty { "}" } else { "}," })
    }
}

/// In a request as the client writes it, whose parameters have no `_meta`: as nearly all are.
fn usual_gap(text: &[u8]) -> Option<Gap> {
    let (_, _, rest) = begins_as_request(text)?;
    let inside = rest.strip_prefix(br#","params":{"#)?;
    let at = text.len() - inside.len();
    (!may_have_meta(inside)).then(|| Gap::without_meta(at..at, ends(inside)))
}

/// In any request.
fn gap(text: &[u8]) -> Option<Gap> {
    let Call {
        id: Some(_), params, ..
    } = Call::parse(text).ok()?
    else {
        return None;
    };
    // A sequence would do for a struct.
    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let params = match params {
        Some(params) => Some(params),
        // Parameters that are null count as none, and are read a second time: they must not be
        // there twice.
        None => serde_json::from_slice::<Envelope<'_>>(text).ok()?.params,
    };
    Some(match params.map(RawValue::get) {
        None => {
            // Before the brace that ends the request. It has a method, so a member stands before
            // it.
            let end = text.trim_ascii_end().len() - 1;
            Gap::new(end..end, r#","params":{"_meta":{"#, "}}")
        }
        Some("null") => Gap::new(place(text, params?.get())?, r#"{"_meta":{"#, "}}"),
        Some(params) => match meta_of(params)? {
            None => Gap::without_meta(inside(text, params)?, is_empty(params)),
            Some(meta) if meta.get().contains(VERSION) => return None,
            Some(meta) => Gap::new(
                inside(text, meta.get())?,
                "",
                if is_empty(meta.get()) { "" } else { "," },
            ),
        },
    })
}

/// The `_meta` of parameters, which are an object.
fn meta_of(params: &str) -> Option<Option<&RawValue>> {
    match may_have_meta(params.as_bytes()) {
        true => Some(serde_json::from_str::<Params<'_>>(params).ok()?.meta),
        false => params.starts_with('{').then_some(None),
    }
}

/// Most have none, and say so without a look at each member. An escape could spell the name.
fn may_have_meta(params: &[u8]) -> bool {
    static META: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"_meta\""));
    META.find(params).is_some() || memchr::memchr(b'\\', params).is_some()
}

/// The member by which a request says which version it speaks.
const VERSION: &str = "\"io.modelcontextprotocol/protocolVersion\"";

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default, rename = "_meta", deserialize_with = "present")]
    meta: Option<&'a RawValue>,
}

/// A field that is there, be it null.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Where a part stands in the text that it is borrowed from.
fn place(text: &[u8], part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let end = start + part.len();
    (end <= text.len()).then_some(start..end)
}

/// Right behind the brace that begins an object.
fn inside(text: &[u8], object: &str) -> Option<Range<usize>> {
    let start = place(text, object)?.start + 1;
    object.starts_with('{').then_some(start..start)
}

fn is_empty(object: &str) -> bool {
    ends(&object.as_bytes()[1..])
}

/// Whether nothing comes before the brace that ends an object.
fn ends(members: &[u8]) -> bool {
    members.trim_ascii_start().starts_with(b"}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const MEMBERS: &str = r#""a":1,"b":{}"#;

    fn stamped(text: &str) -> Option<Value> {
        stamp(text.as_bytes(), MEMBERS).map(|text| serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn the_rest_stays_as_it_was() {
        let meta = json!({ "a": 1, "b": {} });
        for (text, params) in [
            (r#"{"id":1,"method":"m"}"#, json!({ "_meta": meta })),
            (r#"{"id":1,"method":"m" } "#, json!({ "_meta": meta })),
            (r#"{"id":1,"method":"m","params":null}"#, json!({ "_meta": meta })),
            (r#"{"id":1,"method":"m","params":{ }}"#, json!({ "_meta": meta })),
            (
                r#"{"params":{"x":[1]},"id":1,"method":"m"}"#,
                json!({ "_meta": meta, "x": [1] }),
            ),
            (
                r#"{"id":1,"method":"m","params":{"x":{"_meta":3},"_meta":{ }}}"#,
                json!({ "_meta": meta, "x": { "_meta": 3 } }),
            ),
            (
                r#"{"id":1,"method":"m","params":{"_meta":{"progressToken":"t"}}}"#,
                json!({ "_meta": { "a": 1, "b": {}, "progressToken": "t" } }),
            ),
        ] {
            let expected = json!({ "id": 1, "method": "m", "params": params });
            assert_eq!(stamped(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_request_of_mcp_goes_as_it_is() {
        for text in [
            "",
            "[]",
            "7",
            r#"{"method":"m"}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"id":1,"method":"m","params":[1]}"#,
            r#"{"id":1,"method":"m","params":"x"}"#,
            r#"{"id":1,"method":"m","params":{"_meta":null}}"#,
            r#"{"id":1,"method":"m","params":{"_meta":[]}}"#,
            r#"{"id":1,"method":"m","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01"}}}"#,
        ] {
            assert_eq!(stamped(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_parameters_keep_their_values(keys in prop::collection::btree_map("[a-z_{}\"]{0,4}", any::<i32>(), 0..5), spaces in "[ \n]{0,2}") {
            let params = serde_json::to_value(&keys).unwrap();
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m",{spaces}"params":{spaces}{params}{spaces}}}"#);
            let stamped = stamped(&text).unwrap();
            let mut expected = params;
            expected["_meta"] = json!({ "a": 1, "b": {} });
            prop_assert_eq!(&stamped["params"], &expected);
        }

        #[test]
        fn no_text_is_too_odd(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = stamp(&text, MEMBERS);
        }
    }
}
