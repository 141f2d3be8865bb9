use bytes::Bytes;
use tower_ws_core::{
    Probe,
    jsonrpc::{Codec, Kind, scan, write_call},
};

/// The least nonce that health draws. Requests are counted from far below, so what is answered
/// under such an id is a probe.
const NONCES: u64 = 1 << 52;

/// An answer to a ping is no longer than this, error and all; what is longer is not looked into.
const LONGEST: usize = 1024;

/// Asks by a JSON-RPC request without parameters, for a transport that has no pings: lines over a
/// child's stdio, a Unix socket.
///
/// The method is `ping`, as [MCP has
/// it](https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/ping). The nonce is
/// the request's id. An error is an answer too: a peer that does not know the method is there.
///
/// ```
/// use tower_ws_core::Probe;
/// use tower_ws_health::JsonRpcPing;
/// use tower_ws_transport::JsonText;
///
/// let ping = JsonRpcPing::new(JsonText).method("health");
/// let nonce = 1 << 52;
/// let question: String = ping.probe(nonce);
/// assert_eq!(question, r#"{"jsonrpc":"2.0","id":4503599627370496,"method":"health"}"#);
/// let answer = r#"{"jsonrpc":"2.0","id":4503599627370496,"result":{}}"#;
/// assert_eq!(ping.answer(&answer.to_owned()), Some(nonce));
/// ```
#[derive(Clone, Debug)]
pub struct JsonRpcPing<K> {
    codec: K,
    method: &'static str,
}

impl<K> JsonRpcPing<K> {
    /// Asks by `ping`.
    pub fn new(codec: K) -> Self {
        Self { codec, method: "ping" }
    }

    /// Asks by another method, one that takes no parameters and costs the peer little.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }
}

impl<M, K: Codec<M>> Probe<M> for JsonRpcPing<K> {
    fn probe(&self, nonce: u64) -> M {
        let mut text = Vec::with_capacity(64);
        write_call(&mut text, Some(nonce), self.method, None);
        let message = self.codec.encode(Bytes::from(text));
        message.expect("a codec refuses nothing but what is no UTF-8, and this is")
    }

    fn answer(&self, message: &M) -> Option<u64> {
        let text = self.codec.text(message).filter(|text| text.len() <= LONGEST)?;
        match scan(text) {
            Ok(Kind::Result(id) | Kind::Error(id) | Kind::Broken(id)) => Some(id).filter(|id| *id >= NONCES),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tower_ws_transport::{JsonText, Message};

    use super::*;

    #[test]
    fn answers_are_told_from_the_rest() {
        let ping = JsonRpcPing::new(JsonText);
        let answer = |text: &str| ping.answer(&Message::text(text));
        let nonce = NONCES + 7;
        assert_eq!(
            answer(&format!(r#"{{"jsonrpc":"2.0","id":{nonce},"result":{{}}}}"#)),
            Some(nonce)
        );
        assert_eq!(
            answer(&format!(
                r#"{{"jsonrpc":"2.0","error":{{"code":-32601,"message":"?"}},"id":{nonce}}}"#
            )),
            Some(nonce)
        );
        let long = "x".repeat(LONGEST);
        for other in [
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"push"}"#,
            &format!(r#"{{"jsonrpc":"2.0","id":{nonce},"method":"ping"}}"#),
            &format!(r#"{{"jsonrpc":"2.0","id":{nonce},"result":"{long}"}}"#),
            "",
        ] {
            assert_eq!(answer(other), None, "{other}");
        }
        assert_eq!(ping.answer(&Message::binary(vec![1])), None);
    }
}
