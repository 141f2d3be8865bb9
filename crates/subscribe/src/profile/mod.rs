//! Protocols that are spoken.

mod jsonrpc;

pub use self::jsonrpc::JsonRpc;
