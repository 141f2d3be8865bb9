//! The clients under test, one module each.

mod dial;
mod jsonrpsee;
mod layers;
mod limit;
mod minimal;
#[cfg(feature = "rivals")]
mod rivals;
mod tcp;
mod tower_ws_echo;
mod tower_ws_rpc;
mod tt_batch;
mod tt_send;

use crate::BoxError;
use crate::kind::Kind;

/// What is given messages.
const ALL: &[Kind] = &[
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
    minimal::MCP,
    tower_ws_rpc::LEAN,
    tower_ws_rpc::KIND,
    tower_ws_rpc::THREADS,
    tower_ws_rpc::BORROWED,
    tower_ws_rpc::FULL,
    tower_ws_rpc::MCP,
];

/// Those that weigh much to build.
#[cfg(feature = "rivals")]
const RIVALS: &[Kind] = rivals::ALL;
#[cfg(not(feature = "rivals"))]
const RIVALS: &[Kind] = &[];

/// Dials, which are compared with nothing else.
const DIALS: &[Kind] = &[dial::BY_HAND, dial::TUNGSTENITE, dial::TRANSPORT, dial::CONNECT];

/// All kinds that are compared with each other, in the order of the report.
pub(crate) fn all() -> Vec<Kind> {
    [ALL, RIVALS].concat()
}

pub(crate) fn find(name: &str) -> Result<Kind, BoxError> {
    let known = [ALL, RIVALS, layers::ALL, DIALS];
    let kind = known.into_iter().flatten().find(|kind| kind.name == name);
    kind.copied().ok_or_else(|| {
        format!("no kind is called {name}; fastwebsockets, tokio-websockets, tower-mcp and rmcp come with the feature `rivals`")
            .into()
    })
}
