//! The Model Context Protocol over tower-ws.

mod call;
mod connection;
mod era;
mod error;
mod input;
mod layer;
mod mcp;
mod meta;
mod opening;
mod pages;
mod progress;
mod replay;
mod server;
mod service;
mod session;
mod stack;
mod types;

pub use self::{
    call::{Reporting, Tracked},
    connection::McpConnection,
    era::{Era, LEGACY_VERSIONS, MODERN_VERSION},
    error::McpError,
    input::InputRequired,
    layer::McpLayer,
    mcp::Mcp,
    pages::Pages,
    progress::Progress,
    server::{Capabilities, Implementation, ServerInfo},
    service::{Speak, Stamp},
    session::Session,
    stack::{ack_layer, ack_strategy, client_layer},
    types::{
        CallToolResult, Completion, Content, GetPromptResult, Listed, Page, Prompt, PromptArgument, PromptMessage,
        ReadResourceResult, Reference, Resource, ResourceContents, ResourceTemplate, Role, Tool, ToolAnnotations,
    },
};
