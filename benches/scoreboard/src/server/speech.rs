//! What the clients speak: JSON-RPC in three accents, plain text, and SignalR's protocol.

use serde::Deserialize;
use serde_json::{Value, json};

/// A client's language, by the path that it dials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Speech {
    /// JSON-RPC 2.0; pushes are notifications.
    Rpc,
    /// JSON-RPC 2.0; pushes belong to the subscription.
    Ethereum,
    /// JSON-RPC 2.0, opened by `initialize`; pushes are log messages.
    Mcp,
    /// `apply N …`, answered by `done N`; pushes are `push N`.
    Text,
    /// JSON, each message ended by a record separator.
    SignalR,
}

/// What a message of the client's means.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// To be executed, and answered with the second, if it is to be answered.
    Apply(u64, Option<String>),
    /// To be answered with this.
    Reply(String),
    /// Nothing.
    Nothing,
}

const SEPARATOR: char = '\u{1e}';
/// What is told to each subscriber.
const SUBSCRIPTION: &str = "0xcd0c3e8af590364c09d0fa6a1210faf5";

#[derive(Deserialize)]
struct Request {
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    protocol: Option<String>,
    r#type: Option<u8>,
    invocation_id: Option<String>,
    #[serde(default)]
    arguments: Vec<Value>,
}

impl Speech {
    pub(crate) fn by_path(path: &str) -> Self {
        match path {
            "/ethereum" => Self::Ethereum,
            "/mcp" => Self::Mcp,
            "/text" => Self::Text,
            "/signalr" => Self::SignalR,
            _ => Self::Rpc,
        }
    }

    pub(crate) fn read(self, text: &str) -> Vec<Said> {
        match self {
            Self::Rpc | Self::Ethereum | Self::Mcp => vec![read_rpc(text)],
            Self::Text => vec![read_text(text)],
            Self::SignalR => text
                .split(SEPARATOR)
                .filter(|part| !part.is_empty())
                .map(read_signalr)
                .collect(),
        }
    }

    /// The `n`th push, with so many letters behind it.
    pub(crate) fn push(self, n: u64, pad: usize) -> String {
        let pad = "x".repeat(pad);
        match self {
            Self::Rpc => format!(r#"{{"jsonrpc":"2.0","method":"push","params":{{"n":{n},"pad":"{pad}"}}}}"#),
            Self::Ethereum => format!(
                r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{SUBSCRIPTION}","result":[{n},"{pad}"]}}}}"#
            ),
            Self::Mcp => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":[{n},"{pad}"]}}}}"#
            ),
            Self::Text => format!("push {n} {pad}"),
            Self::SignalR => format!(r#"{{"type":1,"target":"push","arguments":[{n},"{pad}"]}}{SEPARATOR}"#),
        }
    }

    /// What the server of this protocol says each 10 s.
    pub(crate) fn heartbeat(self) -> Option<String> {
        (self == Self::SignalR).then(|| format!(r#"{{"type":6}}{SEPARATOR}"#))
    }
}

fn read_rpc(text: &str) -> Said {
    let Ok(Request {
        id,
        method: Some(method),
        params,
    }) = serde_json::from_str(text)
    else {
        return Said::Nothing;
    };
    let result = match method.as_str() {
        "apply" => json!(params[0]),
        "eth_subscribe" => json!(SUBSCRIPTION),
        "initialize" => json!({
            "protocolVersion": params["protocolVersion"],
            "capabilities": { "logging": {} },
            "serverInfo": { "name": "scoreboard", "version": "1" },
        }),
        _ => json!(true),
    };
    let reply = id.map(|id| json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
    match (method.as_str(), params[0].as_u64(), reply) {
        ("apply", Some(n), reply) => Said::Apply(n, reply),
        (_, _, Some(reply)) => Said::Reply(reply),
        (_, _, None) => Said::Nothing,
    }
}

fn read_text(text: &str) -> Said {
    let mut words = text.split(' ');
    match (words.next(), words.next().and_then(|n| n.parse().ok())) {
        (Some("apply"), Some(n)) => Said::Apply(n, Some(format!("done {n}"))),
        (Some("feed"), Some(n)) => Said::Apply(n, None),
        _ => Said::Nothing,
    }
}

fn read_signalr(text: &str) -> Said {
    match serde_json::from_str(text) {
        Ok(Invocation { protocol: Some(_), .. }) => Said::Reply(format!("{{}}{SEPARATOR}")),
        Ok(Invocation {
            r#type: Some(1),
            invocation_id,
            arguments,
            ..
        }) => {
            let Some(n) = arguments.first().and_then(Value::as_u64) else {
                return Said::Nothing;
            };
            let reply = |id| format!("{}{SEPARATOR}", json!({ "type": 3, "invocationId": id, "result": n }));
            Said::Apply(n, invocation_id.map(reply))
        }
        _ => Said::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_in_each_language() {
        let said = Speech::Rpc.read(r#"{"jsonrpc":"2.0","id":7,"method":"apply","params":[3,"x"]}"#);
        assert_eq!(reply(&said), json!({ "jsonrpc": "2.0", "id": 7, "result": 3 }));
        assert_eq!(Speech::Text.read("apply 3 x"), [Said::Apply(3, Some("done 3".into()))]);
        let call = "{\"type\":1,\"invocationId\":\"0\",\"target\":\"apply\",\"arguments\":[3,\"x\"]}\u{1e}";
        assert_eq!(
            reply(&Speech::SignalR.read(call)),
            json!({ "type": 3, "invocationId": "0", "result": 3 })
        );
    }

    /// The one, of a call with the number 3.
    fn reply(said: &[Said]) -> Value {
        match said {
            [Said::Apply(3, Some(reply))] => serde_json::from_str(reply.trim_end_matches(SEPARATOR)).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_wants_no_answer_gets_none() {
        assert_eq!(
            Speech::Rpc.read(r#"{"method":"apply","params":[3]}"#),
            [Said::Apply(3, None)]
        );
        assert_eq!(Speech::Text.read("feed 3 x"), [Said::Apply(3, None)]);
        assert_eq!(
            Speech::Mcp.read(r#"{"method":"notifications/initialized"}"#),
            [Said::Nothing]
        );
        assert_eq!(Speech::SignalR.read("{\"type\":6}\u{1e}"), [Said::Nothing]);
    }

    #[test]
    fn what_nobody_can_read_is_nothing() {
        for speech in [Speech::Rpc, Speech::Text, Speech::SignalR] {
            assert_eq!(speech.read("{"), [Said::Nothing]);
        }
    }
}
