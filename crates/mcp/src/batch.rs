//! Batches, which a server of 2025-03-26 may send.

use bytes::Bytes;
use serde_json::value::RawValue;
use tower_ws_core::jsonrpc::{Codec, Kind, parse_batch, scan};

/// The messages of a batch, one by one; `None` if it is none, or no sound one: those above judge it.
pub(crate) fn taken_apart<M, K: Codec<M>>(codec: &K, message: &M) -> Option<Vec<Bytes>> {
    let text = codec.text(message)?;
    // Nearly all are objects, and say so with their first byte.
    if text.first() == Some(&b'{') || !matches!(scan(text), Ok(Kind::Batch)) {
        return None;
    }
    let messages = parse_batch(text).ok()?;
    let is_nested = |message: &&RawValue| message.get().starts_with('[');
    if messages.iter().any(is_nested) {
        return None;
    }
    let text = |message: &RawValue| Bytes::copy_from_slice(message.get().as_bytes());
    Some(messages.into_iter().map(text).collect())
}
