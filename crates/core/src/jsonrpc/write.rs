use bytes::{BufMut, Bytes};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{RpcError, scan::without_mark};

/// Writes a request, or with no id a notification. `params` is JSON text as it stands.
pub fn write_call(out: &mut impl BufMut, id: Option<u64>, method: &str, params: Option<&[u8]>) {
    out.put_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = id {
        out.put_slice(br#""id":"#);
        put_decimal(out, id);
        out.put_slice(b",");
    }
    out.put_slice(br#""method":"#);
    put_string(out, method);
    if let Some(params) = params {
        out.put_slice(br#","params":"#);
        out.put_slice(params);
    }
    out.put_slice(b"}");
}

/// Writes the answer to a peer's request, under the id that it used. The result is JSON text as it
/// stands.
pub fn write_answer(out: &mut impl BufMut, id: &RawValue, answer: Result<&str, &RpcError>) {
    out.put_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.put_slice(id.get().as_bytes());
    match answer {
        Ok(result) => {
            out.put_slice(br#","result":"#);
            out.put_slice(result.as_bytes());
        }
        Err(error) => {
            out.put_slice(br#","error":{"code":"#);
            out.put_slice(error.code.to_string().as_bytes());
            out.put_slice(br#","message":"#);
            put_string(out, &error.message);
            if let Some(data) = &error.data {
                out.put_slice(br#","data":"#);
                out.put_slice(data.get().as_bytes());
            }
            out.put_slice(b"}");
        }
    }
    out.put_slice(b"}");
}

/// The text of a request or an answer with another id, and nothing else changed. `None` if it has
/// no id.
pub fn with_id(text: &[u8], id: u64) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let old = serde_json::from_slice::<Envelope<'_>>(without_mark(text)).ok()?.id;
    splice(text, old, id.to_string().as_bytes())
}

/// The text with other bytes in the place of a part of it. `None` if `part` is not borrowed from
/// `text`.
pub fn splice(text: &[u8], part: &RawValue, with: &[u8]) -> Option<Bytes> {
    let part = part.get();
    // A raw value that is borrowed from the text stands where it points.
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let (head, tail) = (text.get(..start)?, text.get(start + part.len()..)?);
    Some([head, with, tail].concat().into())
}

fn put_decimal(out: &mut impl BufMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

fn put_string(out: &mut impl BufMut, text: &str) {
    let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if plain {
        out.put_slice(b"\"");
        out.put_slice(text.as_bytes());
        out.put_slice(b"\"");
    } else {
        out.put_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Call, Kind, scan},
        *,
    };

    proptest! {
        #[test]
        fn what_is_written_is_read(id in 0..1u64 << 53, method in ".*", result in any::<i64>()) {
            let mut text = Vec::new();
            write_call(&mut text, Some(id), &method, Some(b"[1]"));
            prop_assert_eq!(scan(&text).unwrap(), Kind::Call);
            let call = Call::parse(&text).unwrap();
            prop_assert_eq!((call.id.unwrap().get(), &*call.method), (&*id.to_string(), &*method));
            let result = result.to_string();
            let mut answer = Vec::new();
            write_answer(&mut answer, call.id.unwrap(), Ok(&result));
            let expected = if id < 10_u64.pow(16) { Kind::Result(id) } else { Kind::Stray };
            prop_assert_eq!(scan(&answer).unwrap(), expected);
        }
    }

    #[test]
    fn an_error_is_written_with_its_data_and_read_again() {
        let mut error = RpcError::new(RpcError::BUSY, "say \"please\"\n");
        let mut text = Vec::new();
        let id: Box<RawValue> = serde_json::from_str("\"a\"").unwrap();
        write_answer(&mut text, &id, Err(&error));
        let plain = r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32000,"message":"say \"please\"\n"}}"#;
        assert_eq!(str::from_utf8(&text).unwrap(), plain);
        error.data = Some(serde_json::from_str("{\"secret\":\"hunter2\"}").unwrap());
        text.clear();
        write_answer(&mut text, RawValue::NULL, Err(&error));
        let written: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(written["error"]["data"]["secret"], "hunter2");
        // Of the data only the size is shown.
        let shown = format!("{error} {error:?}");
        assert!(
            shown.starts_with("the peer answered with error -32000: \"say") && shown.contains("data_bytes: Some(20)"),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn another_id_changes_nothing_else() {
        let text = br#" {"jsonrpc":"2.0", "id": "old","method":"m","params":{"id":1}} "#;
        let other = with_id(text, 7).unwrap();
        assert_eq!(
            other,
            &br#" {"jsonrpc":"2.0", "id": 7,"method":"m","params":{"id":1}} "#[..]
        );
        assert_eq!(with_id(br#"{"method":"m"}"#, 7), None);
        // A part of another text.
        let elsewhere: Box<RawValue> = serde_json::from_str("1").unwrap();
        assert_eq!(splice(b"[1]", &elsewhere, b"2"), None);
    }
}
