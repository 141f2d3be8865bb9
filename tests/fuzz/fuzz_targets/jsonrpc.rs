//! JSON-RPC, held against what serde_json reads of the same text.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use tower_ws_core::jsonrpc::{
    Call, Kind, begins_as_result, parse_batch, parse_broken, parse_error, parse_result, scan, shape,
};
use tower_ws_fuzz::shown;

fuzz_target!(|input: &[u8]| {
    let scanned = scan(input);
    assert!(shape(input).len() < 1024);
    if let Err(error) = &scanned {
        shown(error);
    }
    // Bytes that are no text no codec lets through: only that they do no harm is asked.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let scanned = scanned.ok();
    match serde_json::from_str::<Members<'_>>(text) {
        Ok(members) => assert_eq!(scanned, members.kind(), "{text}"),
        // It may have the beginning of an answer of ours, or be a batch.
        Err(error) => assert!(
            matches!(scanned, None | Some(Kind::Batch | Kind::Broken(_))),
            "{error}: {text}"
        ),
    }
    check(input, text, scanned);
});

/// What is read further says the same.
fn check(input: &[u8], text: &str, scanned: Option<Kind>) {
    if let (Some(begun), Some(Kind::Result(id) | Kind::Error(id) | Kind::Broken(id))) =
        (begins_as_result(input), scanned)
    {
        assert_eq!(begun, id, "{text}");
    }
    match scanned {
        Some(Kind::Result(_)) => {
            let whole = serde_json::from_str::<Value>(text);
            match (parse_result::<Value>(input), whole) {
                (Ok(result), Ok(whole)) => assert_eq!(result, whole["result"], "{text}"),
                // A number that is none for a float, or too many brackets: both say so.
                (Err(_), Err(_)) => {}
                // What is beside the result may be odd.
                (Ok(_), Err(_)) => {}
                (Err(error), Ok(_)) => panic!("{error:?}: {text}"),
            }
        }
        Some(Kind::Error(_)) => {
            let error = parse_error(input).unwrap_or_else(|error| panic!("{error:?}: {text}"));
            shown(&error);
        }
        Some(Kind::Broken(_)) => drop(shown(&parse_broken(input))),
        Some(Kind::Call) => {
            let whole = serde_json::from_str::<Value>(text);
            match (Call::parse(input), whole) {
                (Ok(call), Ok(whole)) => assert_eq!(whole["method"], *call.method, "{text}"),
                (Err(_), Ok(whole)) => assert!(!whole["method"].is_string(), "{text}"),
                (_, Err(_)) => {}
            }
        }
        Some(Kind::Batch) => {
            let batch = parse_batch(input).map(|batch| batch.len());
            let whole = serde_json::from_str::<Vec<&RawValue>>(text).map(|whole| whole.len());
            assert_eq!(batch.ok(), whole.ok().filter(|len| (1..=1024).contains(len)), "{text}");
        }
        Some(Kind::Stray) | None => {}
    }
}

/// Every member at the top of an object, also those that are there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Members<'de> {
    fn all(&self, name: &str) -> Vec<&'de str> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.get()).collect()
    }

    /// By the table of `scan`. `None`: it is malformed.
    fn kind(&self) -> Option<Kind> {
        let names = ["jsonrpc", "method", "params", "result", "error"];
        let doubled = names.into_iter().any(|name| self.all(name).len() > 1);
        let last = |name| self.all(name).pop();
        let ids = self.all("id");
        if ids.len() > 1 {
            return None;
        }
        let is_version = last("jsonrpc") == Some("\"2.0\"");
        let (method, result, error) = (last("method"), last("result"), last("error"));
        let is_error = error.is_some_and(|error| error != "null");
        let is_result = result.is_some_and(|result| !is_error || result != "null");
        if method.is_some() && result.is_none() && error.is_none() {
            return (is_version && !doubled).then_some(Kind::Call);
        }
        let is_answer = is_version && !doubled && method.is_none() && is_result != is_error;
        match (ids.first().and_then(|id| own(id)), is_answer) {
            (Some(id), false) => Some(Kind::Broken(id)),
            (Some(id), true) if is_error => Some(Kind::Error(id)),
            (Some(id), true) => Some(Kind::Result(id)),
            (None, true) => Some(Kind::Stray),
            (None, false) => None,
        }
    }
}

/// An id that could be ours: a number, also one that a gateway made a string or a fraction of.
fn own(id: &str) -> Option<u64> {
    let digits = match serde_json::from_str(id).ok()? {
        Value::String(_) => id.trim_matches('"'),
        Value::Number(_) => id.strip_suffix(".0").unwrap_or(id),
        _ => return None,
    };
    let id: u64 = digits.parse().ok()?;
    (id.to_string() == digits).then_some(id)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}
