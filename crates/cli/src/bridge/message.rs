//! As much of a JSON-RPC message as a bridge has to know. No I/O.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tower_ws::mcp::relay::Interrupted;

#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "some")]
    pub(super) id: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) result: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) error: Option<Box<RawValue>>,
}

/// An id that is `null` is one, too.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    #[serde(rename = "_meta")]
    meta: Meta,
    #[serde(rename = "progressToken")]
    progress_token: Option<Value>,
    #[serde(rename = "requestId")]
    request_id: Option<Box<RawValue>>,
    cursor: Option<Value>,
    #[serde(rename = "protocolVersion")]
    protocol_version: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    #[serde(rename = "progressToken")]
    progress_token: Option<Value>,
}

impl Message {
    /// None, if it is none; batches are none either: the revisions of MCP that hosts speak have no such thing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // A list would be read as the fields in their order.
        text.trim_start()
            .starts_with('{')
            .then(|| serde_json::from_str(text).ok())?
    }

    /// Whether it has an id that no request may have ([MCP](https://modelcontextprotocol.io/specification) forbids `null`).
    pub(super) fn has_no_good_id(&self) -> bool {
        let id = self.id.as_deref().map(RawValue::get);
        id.is_some_and(|id| !id.starts_with('"') && id.parse::<f64>().is_err())
    }

    /// Which revision it asks for.
    pub(super) fn revision(&self) -> Option<String> {
        self.inside().protocol_version
    }

    fn inside(&self) -> Params {
        let params = self.params.as_deref().map(RawValue::get);
        params
            .and_then(|params| serde_json::from_str(params).ok())
            .unwrap_or_default()
    }

    /// Under which its progress is reported.
    pub(super) fn progress_token(&self) -> Option<Value> {
        let params = self.inside();
        params.meta.progress_token.or(params.progress_token)
    }

    /// Which request a cancellation is of.
    pub(super) fn cancels(&self) -> Option<Box<RawValue>> {
        self.inside().request_id
    }

    /// Whether it asks for the first page of the list of tools.
    pub(super) fn lists_tools(&self) -> bool {
        self.method.as_deref() == Some("tools/list") && self.inside().cursor.is_none()
    }
}

/// The answer to a request.
pub(super) fn answer(id: &RawValue, result: &RawValue) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

/// The answer to a request that the server has not answered.
pub(super) fn unanswered(id: &RawValue, why: &str, outcome: Interrupted) -> String {
    let error = json!({ "code": Interrupted::CODE, "message": why, "data": { "towerWs": outcome } });
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}

/// The answer to what is no message, or no request: by the codes of [JSON-RPC](https://www.jsonrpc.org/specification).
pub(super) fn refused(code: i64, why: &str) -> String {
    let error = json!({ "code": code, "message": why });
    json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string()
}

/// Tells the host that a list is another.
pub(super) fn changed(list: &str) -> String {
    json!({ "jsonrpc": "2.0", "method": format!("notifications/{list}/list_changed") }).to_string()
}
