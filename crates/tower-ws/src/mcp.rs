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

mod builder;

pub use tower_ws_mcp::*;

use tower_ws_client::Inbound;

pub use self::builder::{McpBuilder, builder};
use crate::error::ConnectError;

/// Connects to a server of either era by the recommended stack. `client` is what the server is told
/// of this side.
///
/// Resolves when calls can be made; see [`connect`](crate::connect).
///
/// # Errors
///
/// [`ConnectError`].
pub async fn connect(url: impl AsRef<str>, client: Implementation) -> Result<(Mcp, Inbound), ConnectError> {
    builder(url, client).connect().await
}

/// A relay over the recommended stack, for a library with a protocol machine of its own. With
/// credentials, or anything else that is to be set: [`McpBuilder::relay`].
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn relay(url: impl AsRef<str>) -> relay::Relay {
    // The library says who it is.
    builder(url, Implementation::new("", "")).relay()
}

/// A transport for `rmcp`, the official SDK, over the recommended stack: what a program written for
/// another of its transports changes is one line. See [`rmcp`]. With credentials, or anything else
/// that is to be set: [`McpBuilder::rmcp`].
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
