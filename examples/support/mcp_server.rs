//! A real MCP server on a loopback WebSocket: the official SDK's server behind sockets that we
//! accept.
//!
//! It can be killed and started again on the same port, and told to close its connections.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::{RequestContext, RxJsonRpcMessage, TxJsonRpcMessage},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::{JoinHandle, JoinSet},
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    handshake::server::{ErrorResponse, Request, Response},
    http::HeaderValue,
    protocol::CloseFrame,
};

/// The tools, and how often they were used.
#[derive(Clone, Default)]
struct Tools {
    used: Arc<AtomicU64>,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
            "required": ["a", "b"],
        });
        let schema = schema.as_object().cloned().unwrap_or_default();
        Ok(ListToolsResult::with_all_items(vec![Tool::new(
            "add",
            "adds two integers",
            schema,
        )]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let argument = |name: &str| request.arguments.as_ref()?.get(name)?.as_i64();
        let (Some(a), Some(b)) = (argument("a"), argument("b")) else {
            return Err(ErrorData::invalid_params("add wants the integers a and b", None));
        };
        self.used.fetch_add(1, Ordering::Relaxed);
        let sum = ContentBlock::text((a + b).to_string());
        Ok(CallToolResult::success(vec![sum]).into())
    }
}

/// The server. Dropping it kills it.
pub(crate) struct McpServer {
    tools: Tools,
    addr: SocketAddr,
    close: broadcast::Sender<CloseFrame>,
    task: JoinHandle<()>,
}

impl McpServer {
    /// Listens on a port of the system's choice.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (tools, addr, close) = (Tools::default(), listener.local_addr()?, broadcast::Sender::new(1));
        let task = tokio::spawn(accept(listener, tools.clone(), close.clone()));
        Ok(Self {
            tools,
            addr,
            close,
            task,
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many calls reached a tool.
    pub(crate) fn used(&self) -> u64 {
        self.tools.used.load(Ordering::Relaxed)
    }

    /// Ends the server and all its sessions at once, without a word, as a crash does.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    /// Starts it again, on the port that it had.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.kill();
        // Until it is gone the port is taken.
        let _ = (&mut self.task).await;
        let listener = TcpListener::bind(self.addr).await?;
        self.task = tokio::spawn(accept(listener, self.tools.clone(), self.close.clone()));
        Ok(())
    }

    /// Closes every session with this code.
    pub(crate) fn close(&self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        // An error says that there was no session to close.
        let _ = self.close.send(frame);
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, tools: Tools, close: broadcast::Sender<CloseFrame>) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        sessions.spawn(session(stream, tools.clone(), close.subscribe()));
        while sessions.try_join_next().is_some() {}
    }
}

/// One WebSocket, with the SDK's server behind it.
async fn session(
    stream: TcpStream,
    tools: Tools,
    mut close: broadcast::Receiver<CloseFrame>,
) -> Result<(), tungstenite::Error> {
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose_mcp).await?;
    let (to_peer, mut outgoing) = mpsc::channel::<TxJsonRpcMessage<RoleServer>>(16);
    let (mut incoming, from_peer) = mpsc::channel::<RxJsonRpcMessage<RoleServer>>(16);
    let _server = AbortOnDrop(tokio::spawn(async move {
        if let Ok(running) = tools.serve((to_peer, from_peer)).await {
            let _ = running.waiting().await;
        }
    }));
    loop {
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                Some(Message::Text(text)) => {
                    let Ok(message) = serde_json::from_str(&text) else { return socket.close(None).await };
                    if incoming.send(message).await.is_err() {
                        return socket.close(None).await;
                    }
                }
                Some(_) => {}
                None => return Ok(()),
            },
            Some(message) = outgoing.next() => {
                let text = serde_json::to_string(&message).map_err(io::Error::from)?;
                socket.send(Message::text(text)).await?;
            }
            Ok(frame) = close.recv() => socket.close(Some(frame)).await?,
        }
    }
}

#[allow(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn choose_mcp(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if request.headers().contains_key("sec-websocket-protocol") {
        response
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("mcp"));
    }
    Ok(response)
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
