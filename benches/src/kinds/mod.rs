//! The clients under test, one module each.

mod dial;
mod jsonrpsee;
mod limit;
mod minimal;
mod tcp;
mod tower_ws_echo;
mod tower_ws_rpc;
mod tt_batch;
mod tt_send;

use crate::BoxError;
use crate::kind::Kind;

/// All kinds that are given messages, in the order of the report.
pub(crate) const ALL: &[Kind] = &[
    tcp::KIND,
    tt_send::KIND,
    tt_batch::KIND,
    tower_ws_echo::KIND,
    tower_ws_echo::SOCKUDO,
    tower_ws_echo::PLANE,
    jsonrpsee::KIND,
    limit::KIND,
    minimal::KIND,
    minimal::THREADS,
    tower_ws_rpc::LEAN,
    tower_ws_rpc::KIND,
    tower_ws_rpc::THREADS,
    tower_ws_rpc::BORROWED,
    tower_ws_rpc::FULL,
    tower_ws_rpc::MCP,
];

/// Dials, which are compared with nothing else.
const DIALS: &[Kind] = &[dial::BY_HAND, dial::TUNGSTENITE, dial::TRANSPORT, dial::CONNECT];

pub(crate) fn find(name: &str) -> Result<Kind, BoxError> {
    let kind = ALL.iter().chain(DIALS).find(|kind| kind.name == name);
    kind.copied().ok_or_else(|| format!("no kind is called {name}").into())
}
