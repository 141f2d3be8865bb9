//! The [Model Context Protocol](https://modelcontextprotocol.io) over the recommended stack.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use serde_json::json;
//! use tower_ws::mcp::Implementation;
//!
//! let client = Implementation::new("my-host", env!("CARGO_PKG_VERSION"));
//! let (mcp, mut inbound) = tower_ws::mcp::connect("wss://example.com/mcp", client).await?;
//! for tool in mcp.tools().all().await? {
//!     println!("{}", tool.name);
//! }
//! println!("{}", mcp.call_tool("add", &json!({ "a": 1, "b": 2 })).await?.text());
//! # Ok(()) }
//! ```

pub use tower_ws_mcp::*;

use tower::layer::util::{Identity, Stack};
use tower_ws_client::{ClientLayer, Inbound, Lag};
use tower_ws_core::DispositionTable;
use tower_ws_transport::{JsonText, Subprotocols, TransportLayer};

use crate::builder::{Builder, ConnectError};

/// A relay over the recommended stack, for a library with a protocol machine of its own.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn relay(url: impl AsRef<str>) -> relay::Relay {
    // A library is told all that the server says: what it does not read waits at the server.
    let builder = stack(url).client(client_layer(JsonText).inbound(ClientLayer::INBOUND, Lag::Wait));
    relay::Relay::new(
        JsonText,
        |layer| async move { Ok(builder.layer(layer).connect().await?) },
    )
}

/// A transport for `rmcp`, the official SDK, over the recommended stack: what a program written for
/// another of its transports changes is one line. See [`rmcp`].
///
/// ```no_run
/// # async fn run<H: ::rmcp::ClientHandler>(handler: H) -> Result<(), Box<dyn std::error::Error>> {
/// use ::rmcp::ServiceExt;
///
/// let service = handler.serve(tower_ws::mcp::rmcp_transport("wss://example.com/mcp")).await?;
/// let tools = service.list_all_tools().await?;
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// Outside of a tokio runtime.
#[cfg(feature = "rmcp")]
pub fn rmcp_transport(url: impl AsRef<str>) -> rmcp::RmcpTransport {
    rmcp::RmcpTransport::new(relay(url))
}

/// The recommended stack with [`McpLayer`] in it: everything set as MCP wants it, to be changed
/// before it connects.
pub type McpStack = Builder<Stack<McpLayer<JsonText>, Identity>>;

/// Connects to a server of either era by the recommended stack. `client` is what the server is told
/// of this side.
///
/// Resolves when calls can be made; see [`connect`](crate::connect).
///
/// # Errors
///
/// [`ConnectError`].
pub async fn connect(url: impl AsRef<str>, client: Implementation) -> Result<(Mcp, Inbound), ConnectError> {
    let (builder, session) = builder(url, client, Capabilities::new());
    let (client, inbound) = builder.connect().await?;
    Ok((Mcp::new(client, session), inbound))
}

/// The same, to be changed before it connects; [`Mcp::new`] makes the rest of it. Declare
/// `capabilities` whose requests are [answered](Inbound::answer_with).
///
/// Failures are judged by [`DispositionTable::mcp`], wherever one is judged;
/// [`Builder::dispositions`] sets another.
///
/// The subprotocol `mcp` is offered, and nothing is insisted on: there are servers that answer
/// another, or none.
pub fn builder(url: impl AsRef<str>, client: Implementation, capabilities: Capabilities) -> (McpStack, Session) {
    let (layer, session) = McpLayer::pair(JsonText, client, capabilities);
    (stack(url).layer(layer), session)
}

/// Everything set as MCP wants it, but for the layer itself.
fn stack(url: impl AsRef<str>) -> Builder {
    let transport = TransportLayer::new()
        .subprotocols(["mcp"])
        .subprotocol_mode(Subprotocols::Lenient);
    crate::builder(url)
        .client(client_layer(JsonText))
        .ack(ack_layer(JsonText))
        .dispositions(DispositionTable::mcp())
        .transport(transport)
}
