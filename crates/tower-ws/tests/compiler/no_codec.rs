//! A client for messages that carry no JSON-RPC.
//~ does not carry JSON-RPC in messages of type `Order`
//~ no codec for these messages
use tower_ws::{core::jsonrpc::Codec, prelude::*};

struct Order;

fn carries<M>(_: impl Codec<M>) {}

fn main() {
    carries::<Order>(JsonText);
}
