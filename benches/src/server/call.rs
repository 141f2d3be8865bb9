//! JSON-RPC calls with one parameter, answered with it, its JSON copied as it stands.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::BoxError;

use super::frame;

/// Appends the frame that answers the call in `text`.
pub(crate) fn answer(text: &[u8], output: &mut Vec<u8>) -> Result<(), BoxError> {
    match canonical(text) {
        Some((id, result)) => put(output, id, result),
        None => {
            let call: Call<'_> = serde_json::from_slice(text)?;
            put(output, call.id.get().as_bytes(), call.params.0.get().as_bytes());
        }
    }
    Ok(())
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
            answer(call.as_bytes(), &mut output).unwrap();
            assert_eq!(&output[2..], answered);
        }
    }
}
