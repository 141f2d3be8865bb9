//! The [Model Context Protocol](https://modelcontextprotocol.io/specification) over tower-ws: both
//! eras, opened anew on each connection.
//!
//! [`McpLayer`] stands over any service whose response is a
//! [`Connection`](tower_ws_core::Connection): WebSocket, lines over a child's stdio, a pair in
//! memory. It opens each connection before anything that waits above may go, so that *up* means
//! ready for calls. [`Mcp`] is the client on top: the common methods by name, everything else by
//! [`Mcp::request`].
//!
//! # Example
//!
//! With the recommended stack it is one line, `tower_ws::mcp::connect`. By hand:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_ws_core::BoxError> {
//! # use futures_util::{SinkExt, StreamExt};
//! # let (transport, mut server) = tower_ws_transport::memory::channel::<String>(16);
//! # tokio::spawn(async move {
//! #     let mut socket = server.accept().await.expect("somebody dials");
//! #     while let Some(Ok(said)) = socket.next().await {
//! #         let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
//! #         let result = match said["method"].as_str() {
//! #             Some("server/discover") => serde_json::json!({ "supportedVersions": ["2026-07-28"], "capabilities": {} }),
//! #             _ => serde_json::json!({ "content": [{ "type": "text", "text": "3" }] }),
//! #         };
//! #         let answer = serde_json::json!({ "jsonrpc": "2.0", "id": said["id"], "result": result });
//! #         socket.send(answer.to_string()).await.expect("it reads");
//! #     }
//! # });
//! use serde_json::json;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_ws_mcp::{Capabilities, Era, Implementation, Mcp, McpLayer, ack_layer, client_layer};
//! use tower_ws_reconnect::ReconnectLayer;
//! use tower_ws_transport::JsonText;
//!
//! let (layer, session) = McpLayer::pair(JsonText, Implementation::new("my-host", "1"), Capabilities::new());
//! let stack = ServiceBuilder::new()
//!     .layer(client_layer(JsonText))
//!     // Sends again what only reads.
//!     .layer(ack_layer(JsonText))
//!     .layer(ReconnectLayer::new())
//!     // Below reconnect: each connection is opened.
//!     .layer(layer)
//!     .service(transport);
//! let (client, _inbound) = stack.oneshot(()).await?;
//! let mcp = Mcp::new(client, session);
//!
//! assert_eq!(mcp.server().map(|server| server.era()), Some(Era::Modern));
//! assert_eq!(mcp.call_tool("add", &json!({ "a": 1, "b": 2 })).await?.text(), "3");
//! # Ok(()) }
//! ```
//!
//! Configured:
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_ws_mcp::{Capabilities, Era, Implementation, McpLayer};
//! use tower_ws_transport::JsonText;
//!
//! let capabilities = Capabilities::new().with("roots", serde_json::json!({ "listChanged": true }));
//! let (layer, session) = McpLayer::pair(JsonText, Implementation::new("my-host", "1"), capabilities);
//! // An old server that is known to be one, and slow.
//! let layer = layer.only(Era::Legacy).timeout(Duration::from_secs(30));
//! assert!(session.server().is_none());
//! ```
//!
//! # Where it stands
//!
//! Below reconnect, right above the transport (and above what authenticates a connection): it runs
//! on each connection. Below the queue, so that the metadata of what has waited through an outage
//! is that of the connection it goes out on. Without it requests reach a server that has not been
//! introduced, and are refused.
//!
//! # How a connection is opened
//!
//! 1. The era. A server is asked `server/discover`. One that knows it is [modern](Era::Modern). One
//!    that answers with -32022 says which versions it speaks. Any other error, or 2.5 s of silence,
//!    means `initialize`: the codes that old servers refuse with are not the same. A server that
//!    hangs up instead, or answers neither, is dialled again at once, beginning with `initialize`
//!    (with [`fail_fast`] there is no second dial: say [`only`](McpLayer::only)). What was found
//!    out is remembered for the session and found out anew when it no longer holds; a legacy server
//!    is asked again at the first dial after 10 min, since it may have been replaced.
//! 2. A legacy server gets `initialize` and `notifications/initialized`.
//! 3. What it has forgotten with the last connection is said again: to a legacy server the log
//!    level and the resource subscriptions, to a modern one each `subscriptions/listen` that nobody
//!    has ended. This is learnt from the requests as they go out, whoever makes them; at most 1,024
//!    subscriptions and 64 listens.
//! 4. [`ServerInfo`] goes up with [`Up`](tower_ws_core::Up), and says whether the server
//!    [is what it was](ServerInfo::has_changed).
//! 5. On each connection but the first, `notifications/tools/list_changed` (`prompts`, `resources`)
//!    comes in for each list that the server has or had, as if it had said so: what it told in the
//!    outage nobody heard, and it may have been replaced.
//!
//! What the server says meanwhile follows, and its pings are answered. An opening that fails, or
//! takes more than [10 s](McpLayer::TIMEOUT), fails the dial; no version in common is final.
//!
//! [`fail_fast`]: https://docs.rs/tower-ws-reconnect/latest/tower_ws_reconnect/struct.ReconnectLayer.html#method.fail_fast
//!
//! # What becomes of a request when the connection is lost
//!
//! | | |
//! |---|---|
//! | not sent yet | waits, and goes out with the metadata of the next connection |
//! | a method that only reads (`*/list`, `resources/read`, `prompts/get`, `completion/complete`) | is sent again, under a new id |
//! | `subscriptions/listen` | is begun again by this layer; its caller goes on knowing it by its first id |
//! | a tool whose annotations the application [trusts](Mcp::trust_annotations), or a request declared [safe](tower_ws_core::Replay) | is sent again, under a new id |
//! | anything else, `tools/call` above all | fails: outcome unknown |
//!
//! # The binding
//!
//! WebSocket is none of the protocol's standard transports; it allows others that keep its
//! messages. This is how this one works, for those who write the other end:
//!
//! | | |
//! |---|---|
//! | framing | one JSON-RPC object in one text message, UTF-8. What comes in may be binary, begin with a byte order mark, or be a batch of up to 1,024 (taken apart and answered one by one): none of these is sent |
//! | subprotocol | `mcp` is offered; what the server answers, if anything, is not insisted on |
//! | establishment | the WebSocket handshake, then the opening above. Nothing else is sent before it is done |
//! | ids | integers below 2^53 from one counter for the session, which begins at a random place; never used twice, also not after a reconnect |
//! | progress tokens | random strings of 32 hexadecimal digits; a listen has one too |
//! | cancellation | `notifications/cancelled`, when a caller gives up or its time is over; never for the opening, never by closing the connection. A late answer is ignored. The server may cancel its requests, which are not answered then, and a listen, which ends |
//! | liveness | WebSocket pings, both ways; a legacy server's `ping` is answered at once, also when everything is full |
//! | limits | 16 MiB for a message, either way; more than that comes in: close code 1009 |
//! | end | close code 1000, after what was accepted has been sent |
//! | a close by the server | 1000, 1001, 1011 and an end without a word: dialled again with backoff. 1012: after 1 to 15 s. 1013: after 30 to 120 s. 4401: after new credentials, once. "Replaced by another connection", 1002, 1003, 1007 to 1010 and other 44xx: final |
//! | authorization | the headers of the handshake, anew for each connection |
//!
//! # What servers ask
//!
//! [`Answers`] answer it: a legacy server's requests through
//! [`Inbound::answer_with`](tower_ws_client::Inbound::answer_with), a modern one's questions through
//! [`Mcp::answering`]. Without them requests come with the [inbound](tower_ws_client::Incoming)
//! items, with their ids, and questions are [`McpError::InputRequired`]. A handler sees when a server
//! has taken its request back ([`Asked::cancelled`](tower_ws_client::Asked::cancelled)).
//!
//! # Beside the official SDKs
//!
//! Read in the sources of `rmcp` 3.11 and of `@modelcontextprotocol/client` 2.4.
//!
//! | | this client | rmcp | TypeScript's |
//! |---|---|---|---|
//! | eras | both, found out, and found out anew | both; legacy unless told | both |
//! | transports | WebSocket; any `Connection` (lines, memory) | stdio, HTTP; WebSocket by its [transport here](relay) | stdio, HTTP |
//! | a lost connection | dialled and opened again; calls wait | the session ends | the session ends; of HTTP, streams are resumed |
//! | a call sent and not answered then | again if it only reads, else "outcome unknown" | fails | fails |
//! | listens, subscriptions, the log level | said again | to be made again | to be made again |
//! | lists that may have changed in an outage | told | | |
//! | a server that has died without a word | left within 40 s | waits for ever | waits for the time limit |
//! | time limit of a call | 60 s | none | 60 s |
//! | questions of a modern server | answered by handlers, 10 rounds | answered by handlers | answered by handlers, bounded |
//! | structured results against their schema | not checked | not checked | checked |
//!
//! # What it does not do
//!
//! - It does not dial, resend or probe: those are other layers.
//! - It does not check what tools take and give against their schemas.
//! - It does not open authorization flows: a layer below puts credentials into the handshake.
//! - One layer serves one session. Two sessions of one layer would repeat each other's
//!   subscriptions.
//! - A cancelled request that had been sent again under a new id is not cancelled at the server:
//!   the cancellation names the first id.
//!
//! # Logs
//!
//! `DEBUG` when a server has introduced itself, with `era`, `version` and `changed`; `INFO` when it
//! is not what it was, and when it did not take `server/discover`; `WARN` for a subscription that it refuses on a later connection, with
//! `method` and `error`, for one that cannot be remembered, and for items of a list that cannot be
//! read, which are left out ([`Skipped`]).

mod answers;
mod batch;
mod call;
mod connection;
mod era;
mod error;
mod input;
mod layer;
mod listen;
mod mcp;
mod meta;
mod notice;
mod opening;
mod pages;
mod progress;
pub mod relay;
mod replay;
#[cfg(feature = "rmcp")]
pub mod rmcp;
mod server;
mod service;
mod session;
mod stack;
#[cfg(feature = "tower-mcp")]
pub mod tower_mcp;
mod trust;
mod types;

pub use self::{
    answers::Answers,
    call::{Reporting, Tracked},
    connection::McpConnection,
    era::{Era, LEGACY_VERSIONS, MODERN_VERSION},
    error::McpError,
    input::InputRequired,
    layer::McpLayer,
    listen::{Filter, Listen, Listened},
    mcp::Mcp,
    meta::with_meta,
    notice::{LogMessage, Notice},
    pages::Pages,
    progress::Progress,
    server::{Capabilities, Implementation, ServerInfo},
    service::McpService,
    session::Session,
    stack::{ack_layer, ack_strategy, client_layer},
    types::{
        CallToolResult, Completion, Content, Elicitation, Elicited, GetPromptResult, Listed, Page, Prompt,
        PromptArgument, PromptMessage, ReadResourceResult, Reference, Resource, ResourceContents, ResourceTemplate,
        Role, Root, Skipped, Tool, ToolAnnotations,
    },
};
