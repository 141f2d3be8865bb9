//! How the other layers are to be set for MCP.

use serde::Deserialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use tower_ws_ack::{AckLayer, JsonRpc};
use tower_ws_client::{Cancel, ClientLayer, Notification, Request};

/// The layer on top, as MCP wants it: what nobody waits for any more is cancelled by
/// `notifications/cancelled`, either way.
pub fn client_layer<K>(codec: K) -> ClientLayer<K> {
    ClientLayer::new(codec).on_cancel(Cancelled)
}

/// `notifications/cancelled`, both ways.
struct Cancelled;

impl Cancel for Cancelled {
    fn notice(&self, id: u64) -> Request {
        let params = to_raw_value(&json!({ "requestId": id }));
        // A number is JSON.
        Request::new(CANCELLED).raw_params(&params.expect("a number can be written"))
    }

    fn cancelled(&self, told: &Notification) -> Option<Box<RawValue>> {
        #[derive(Deserialize)]
        struct Params {
            #[serde(rename = "requestId")]
            id: Box<RawValue>,
        }
        let is_meant = told.method() == CANCELLED;
        is_meant
            .then(|| told.params::<Params>().ok())
            .flatten()
            .map(|params| params.id)
    }
}

const CANCELLED: &str = "notifications/cancelled";

/// The layer that sends again what is safe to, as MCP wants it: the methods that only read, each
/// time under a new id. `subscriptions/listen` is begun again by [`McpLayer`](crate::McpLayer).
pub fn ack_layer<K>(codec: K) -> AckLayer<JsonRpc<K>> {
    AckLayer::new(ack_strategy(codec))
}

/// The strategy of [`ack_layer`].
pub fn ack_strategy<K>(codec: K) -> JsonRpc<K> {
    JsonRpc::new(codec).fresh_ids().leave_alone(["subscriptions/listen"])
}
