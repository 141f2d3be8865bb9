//! What a library says, with the rest raw.

use serde::Deserialize;
use serde_json::value::RawValue;
use tower_ws_core::jsonrpc::RpcError;

use crate::server::{Capabilities, Implementation};

/// A message of the library's.
#[derive(Deserialize)]
pub(super) struct Envelope {
    #[serde(default)]
    pub(super) id: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) result: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) error: Option<RpcError>,
}

/// How a library introduces itself, in either era.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Introduction {
    pub(super) protocol_version: Option<String>,
    pub(super) capabilities: Capabilities,
    #[serde(rename = "clientInfo")]
    pub(super) client: Option<Implementation>,
    #[serde(rename = "_meta")]
    pub(super) meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(super) capabilities: Capabilities,
    #[serde(rename = "io.modelcontextprotocol/clientInfo")]
    pub(super) client: Option<Implementation>,
}

impl Envelope {
    pub(super) fn parse(message: &str) -> Option<Self> {
        let envelope = serde_json::from_str(message);
        if envelope.is_err() {
            tracing::warn!("what the library above said is no json-rpc: it was left out");
        }
        envelope.ok()
    }

    pub(super) fn introduction(&self) -> Introduction {
        let params = self.params.as_ref().map_or("{}", |params| params.get());
        serde_json::from_str(params).unwrap_or_default()
    }

    /// Which request is cancelled, if that is what it says.
    pub(super) fn cancelled(params: Option<&RawValue>) -> Option<Box<RawValue>> {
        #[derive(Deserialize)]
        struct Cancelled {
            #[serde(rename = "requestId")]
            id: Box<RawValue>,
        }
        let cancelled: Cancelled = serde_json::from_str(params?.get()).ok()?;
        Some(cancelled.id)
    }
}
