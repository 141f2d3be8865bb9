//! The clients under test, one module each.

mod jsonrpsee;
mod limit;
mod minimal;
mod tower_ws_echo;
mod tower_ws_rpc;
mod tt_batch;
mod tt_send;

use crate::kind::Kind;

/// All kinds, in the order of the report.
pub(crate) const ALL: &[Kind] = &[
    tt_send::KIND,
    tt_batch::KIND,
    tower_ws_echo::KIND,
    tower_ws_echo::SOCKUDO,
    tower_ws_echo::PLANE,
    jsonrpsee::KIND,
    limit::KIND,
    minimal::KIND,
    tower_ws_rpc::LEAN,
    tower_ws_rpc::KIND,
    tower_ws_rpc::BORROWED,
    tower_ws_rpc::FULL,
    tower_ws_rpc::MCP,
];
