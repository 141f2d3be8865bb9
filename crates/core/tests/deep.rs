//! JSON that is nested a million deep: no way to read it recurses without an end, and none takes
//! more than a multiple of it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use serde_json::{Value, value::RawValue};
use tower_ws_core::jsonrpc::{Call, Kind, parse_batch, parse_error, parse_result, scan};

const DEPTH: usize = 1_000_000;

fn deep() -> String {
    "[".repeat(DEPTH) + &"]".repeat(DEPTH)
}

/// As much stack as a thread of tokio's has, and no more.
fn with_little_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(test).unwrap();
    thread.join().unwrap();
}

#[test]
fn envelopes_are_looked_at_without_recursion() {
    with_little_stack(|| {
        let deep = deep();
        // In the order that everybody writes, and in another.
        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{deep}}}"#),
            format!(r#"{{"result":{deep},"id":7,"jsonrpc":"2.0"}}"#),
        ] {
            assert_eq!(scan(text.as_bytes()).unwrap(), Kind::Result(7));
        }
        let call = format!(r#"{{"params":{deep},"method":"a","jsonrpc":"2.0"}}"#);
        assert_eq!(scan(call.as_bytes()).unwrap(), Kind::Call);
        assert_eq!(Call::parse(call.as_bytes()).unwrap().method, "a");
        // A batch, which is taken apart without recursion too; cut short, it is none.
        assert_eq!(scan(deep.as_bytes()).unwrap(), Kind::Batch);
        assert_eq!(parse_batch(deep.as_bytes()).unwrap().len(), 1);
        assert!(parse_batch(&deep.as_bytes()[..DEPTH]).is_err());
        // Anything but a message: an error.
        let none = format!(r#"{{"id":{deep},"jsonrpc":"2.0"}}"#);
        assert!(scan(none.as_bytes()).is_err());
    });
}

#[test]
fn results_are_parsed_to_a_depth() {
    with_little_stack(|| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{}}}"#, deep());
        assert!(parse_result::<Value>(text.as_bytes()).is_err());
        // Whoever wants the text as it is gets it.
        let raw: Box<RawValue> = parse_result(text.as_bytes()).unwrap();
        assert_eq!(raw.get().len(), 2 * DEPTH);
        let error = format!(
            r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":1,"message":"m","data":{}}}}}"#,
            deep()
        );
        assert_eq!(parse_error(error.as_bytes()).unwrap().code, 1);
    });
}
