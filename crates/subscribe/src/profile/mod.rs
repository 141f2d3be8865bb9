//! Protocols that are spoken.

mod channels;
mod graphql;
mod jsonrpc;
mod operation;
mod sequenced;

pub use self::{
    channels::Channels,
    graphql::GraphQl,
    jsonrpc::JsonRpc,
    sequenced::{Anew, Resume, Sequenced},
};
