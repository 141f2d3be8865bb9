//! The JSON-RPC 2.0 envelope, without copying what is in it.
//!
//! Routing a message needs its id and little else, so that is all [`scan`] looks at: a few
//! nanoseconds where the usual field order allows, one borrowed parse otherwise. Parameters and
//! results stay raw until somebody asks for them by type.
//!
//! Source: [the JSON-RPC 2.0 specification](https://www.jsonrpc.org/specification). Batches are not
//! supported: the Model Context Protocol removed them, and a batch hides many messages from layers
//! that count them.

mod codec;
mod error;
mod ids;
mod parse;
mod scan;
mod write;

pub use self::{
    codec::{Codec, Decoded},
    error::{JsonPlace, Malformed, RpcError},
    ids::Ids,
    parse::{Call, parse_error, parse_result},
    scan::{Kind, scan},
    write::{splice, with_id, write_answer, write_call},
};
