//! Rivals that weigh much to build: with the feature `rivals`.

mod fastwebsockets;
mod rmcp;
mod tokio_websockets;
mod tower_mcp;

use crate::kind::Kind;

pub(crate) const ALL: &[Kind] = &[
    fastwebsockets::KIND,
    tokio_websockets::KIND,
    tower_mcp::KIND,
    rmcp::KIND,
];
