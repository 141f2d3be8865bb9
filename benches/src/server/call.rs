//! JSON-RPC calls with one parameter, answered with it, its JSON copied as it stands; and calls of
//! MCP tools with one argument.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::BoxError;

use super::{Mode, frame};

/// Appends the frame that answers the call in `text`.
pub(super) fn answer(mode: Mode, text: &[u8], output: &mut Vec<u8>) -> Result<(), BoxError> {
    if mode == Mode::Mcp {
        return answer_mcp(text, output);
    }
    match canonical(text) {
        Some((id, result)) => put(output, id, result),
        None => {
            let call: Call<'_> = serde_json::from_slice(text)?;
            put(output, call.id.get().as_bytes(), call.params.0.get().as_bytes());
        }
    }
    Ok(())
}

fn answer_mcp(text: &[u8], output: &mut Vec<u8>) -> Result<(), BoxError> {
    let ToolCall { id, method, params } = serde_json::from_slice(text)?;
    // What notifies is not answered.
    let Some(id) = id else { return Ok(()) };
    let result = match (method, params.arguments) {
        ("tools/call", Some(Arguments { text })) => {
            format!(r#"{{"content":[{{"type":"text","text":{text}}}],"resultType":"complete"}}"#)
        }
        ("initialize", _) => {
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"peer","version":"1"}}"#
                .to_owned()
        }
        _ => r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#.to_owned(),
    };
    put(output, id.get().as_bytes(), result.as_bytes());
    Ok(())
}

/// A message of MCP.
#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: &'a RawValue,
}

/// A call in any order of fields.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    params: (&'a RawValue,),
}

/// The id and the parameter of a call in the usual order of fields, without parsing either: a
/// client that had sent something else would see an answer that it cannot read.
fn canonical(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let (id, text) = text.split_at(text.iter().position(|byte| !byte.is_ascii_digit())?);
    let text = text.strip_prefix(br#","method":"echo","params":["#)?;
    Some((id, text.strip_suffix(b"]}")?))
}

fn put(output: &mut Vec<u8>, id: &[u8], result: &[u8]) {
    let parts = [br#"{"jsonrpc":"2.0","id":"#, id, br#","result":"#, result, b"}"];
    frame::put_head(
        output,
        frame::FIN | frame::TEXT,
        parts.iter().map(|part| part.len()).sum(),
    );
    for part in parts {
        output.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_fields_get_the_canonical_answer() {
        let answered = br#"{"jsonrpc":"2.0","id":7,"result":"a\"b"}"#;
        for call in [
            r#"{"jsonrpc":"2.0","id":7,"method":"echo","params":["a\"b"]}"#,
            r#"{"method":"echo", "params": ["a\"b"], "jsonrpc":"2.0", "id":7}"#,
        ] {
            let mut output = Vec::new();
            answer(Mode::Rpc, call.as_bytes(), &mut output).unwrap();
            assert_eq!(&output[2..], answered);
        }
    }
}
