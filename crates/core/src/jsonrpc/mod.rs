//! The JSON-RPC 2.0 envelope, without copying what is in it.
//!
//! Routing a message needs its id and little else, so that is all [`scan`] looks at: a few
//! nanoseconds where the usual field order allows, one borrowed parse otherwise. Parameters and
//! results stay raw until somebody asks for them by type.
//!
//! A text is read in one way, by whatever reads it and in whatever order its members stand:
//! [`scan`] has the rules. Batches are read, and never written: they hide many messages from layers
//! that count them.
//!
//! Source: [the JSON-RPC 2.0 specification](https://www.jsonrpc.org/specification).

mod batch;
mod codec;
mod envelope;
mod error;
mod ids;
mod parse;
mod scan;
mod skip;
mod write;

pub use self::{
    batch::{BATCH_LIMIT, parse_batch},
    codec::{Codec, Decoded},
    error::{JsonPlace, Malformed, RpcError},
    ids::Ids,
    parse::{Call, parse_broken, parse_error, parse_result},
    scan::{Kind, begins_as_request, begins_as_result, scan, shape},
    write::{splice, with_id, write_answer, write_call},
};
