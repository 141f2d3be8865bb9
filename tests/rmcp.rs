//! The official SDK's client over the recommended stack: it lives through what happens to its
//! server.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../examples/support/mcp_server.rs"]
mod mcp_server;

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt};
use mcp_server::McpServer;
use rmcp::{
    RoleClient, ServiceError, ServiceExt,
    model::{CallToolRequestParams, ClientConfig},
    service::{ClientLifecycleMode, ClientServiceExt, RunningService},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};
use tower_ws::{
    core::BoxError,
    mcp::{
        self,
        relay::{Interrupted, Relay},
        rmcp::{RmcpTransport, interrupted},
        tower_mcp::TowerMcpTransport,
    },
    reconnect::{Backoff, ReconnectLayer},
    transport::JsonText,
};

const SECOND: Duration = Duration::from_secs(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(60 * SECOND, future).await.expect("it hangs")
}

type Sdk = RunningService<RoleClient, ClientConfig>;

/// Over a stack that redials every second: a test has no time for more.
fn relay(url: String) -> Relay {
    Relay::new(JsonText, move |layer| async move {
        let reconnect = ReconnectLayer::new().policy(Backoff::default().cap(SECOND));
        let connecting = tower_ws::builder(url)
            .client(mcp::client_layer(JsonText))
            .ack(mcp::ack_layer(JsonText))
            .reconnect(reconnect)
            .layer(layer)
            .connect();
        Ok::<_, BoxError>(connecting.await?)
    })
}

fn add(n: u64) -> CallToolRequestParams {
    let mut call = CallToolRequestParams::new("add");
    call.arguments = json!({ "a": n, "b": 1 }).as_object().cloned();
    call
}

#[tokio::test]
async fn ten_restarts_with_calls_all_the_time() {
    let mut server = McpServer::start().await.unwrap();
    let sdk = within(ClientConfig::default().serve(RmcpTransport::new(relay(format!("ws://{}/mcp", server.addr())))))
        .await
        .unwrap();
    let callers = (0..4).map(|caller| {
        let peer = sdk.peer().clone();
        tokio::spawn(async move {
            let (mut answered, mut unknown, mut rounds) = (0u64, 0u64, 0u64);
            while rounds < 10_000 && !peer.is_transport_closed() {
                rounds += 1;
                match within(peer.call_tool(add(rounds))).await {
                    Ok(_) => answered += 1,
                    Err(ServiceError::McpError(error)) => match interrupted(&error) {
                        Some(Interrupted::OutcomeUnknown) => unknown += 1,
                        other => panic!("caller {caller}: {other:?} {error:?}"),
                    },
                    // It is closed at the end of the test.
                    Err(_) => break,
                }
                sleep(Duration::from_millis(2)).await;
            }
            (answered, unknown)
        })
    });
    let callers: Vec<_> = callers.collect();
    for restart in 0..10 {
        sleep(Duration::from_millis(200)).await;
        let before = server.used();
        match restart % 2 {
            0 => server.close(1001, "going away"),
            _ => {
                server.kill();
                sleep(Duration::from_millis(100)).await;
                server.restart().await.unwrap();
            }
        }
        // Calls are answered again.
        within(async {
            while server.used() < before + 8 {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    // What only reads is answered across it all.
    assert_eq!(within(sdk.list_all_tools()).await.unwrap()[0].name, "add");
    let used = server.used();
    within(sdk.cancel()).await.unwrap();
    let (mut answered, mut unknown) = (0, 0);
    for caller in callers {
        let (some, others) = within(caller).await.unwrap();
        answered += some;
        unknown += others;
    }
    assert!(answered > 100, "only {answered} were answered");
    assert!(
        answered <= used + 4 && used <= answered + unknown + 4,
        "{answered} {unknown} {used}"
    );
}

/// A server that the test plays.
struct Server(TcpListener);

impl Server {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/mcp", listener.local_addr().unwrap());
        (Self(listener), url)
    }

    async fn accept(&self) -> Socket {
        let (stream, _) = within(self.0.accept()).await.unwrap();
        Socket(within(accept_async(stream)).await.unwrap())
    }
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// What the client says next.
    async fn heard(&mut self) -> Message {
        loop {
            match within(self.0.next()).await.expect("the client is there").unwrap() {
                Message::Ping(_) | Message::Pong(_) => continue,
                message => return message,
            }
        }
    }

    async fn asked(&mut self, method: &str) -> Value {
        let said: Value = serde_json::from_str(self.heard().await.to_text().unwrap()).unwrap();
        assert_eq!(said["method"], method, "{said}");
        said
    }

    async fn say(&mut self, what: Value) {
        within(self.0.send(Message::text(what.to_string()))).await.unwrap();
    }

    async fn answer(&mut self, asked: &Value, result: Value) {
        self.say(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }))
            .await;
    }

    async fn initialize(&mut self, capabilities: Value) -> Value {
        let asked = self.asked("initialize").await;
        let result = json!({
            "protocolVersion": asked["params"]["protocolVersion"], "capabilities": capabilities,
            "serverInfo": { "name": "played", "version": "1" },
        });
        self.answer(&asked, result).await;
        self.asked("notifications/initialized").await;
        asked["params"].clone()
    }
}

async fn serve(server: &Server, url: String) -> (Sdk, Socket) {
    let serving = tokio::spawn(ClientConfig::default().serve(RmcpTransport::new(relay(url))));
    let mut socket = server.accept().await;
    socket
        .initialize(json!({ "tools": {}, "resources": { "subscribe": true } }))
        .await;
    (within(serving).await.unwrap().unwrap(), socket)
}

#[tokio::test]
async fn an_interrupted_call_is_marked_and_what_only_reads_is_sent_again() {
    let (server, url) = Server::start().await;
    let (sdk, mut socket) = serve(&server, url).await;
    let peer = sdk.peer().clone();
    let tool = tokio::spawn(async move { peer.call_tool(add(1)).await });
    socket.asked("tools/call").await;
    let peer = sdk.peer().clone();
    let list = tokio::spawn(async move { peer.list_tools(None).await });
    socket.asked("tools/list").await;
    drop(socket);
    let Err(ServiceError::McpError(error)) = within(tool).await.unwrap() else {
        panic!("nobody answered it");
    };
    assert_eq!(interrupted(&error), Some(Interrupted::OutcomeUnknown));
    assert_eq!(interrupted(&rmcp::ErrorData::internal_error("their own", None)), None);

    let mut socket = server.accept().await;
    socket.initialize(json!({ "tools": {} })).await;
    let asked = socket.asked("tools/list").await;
    socket.answer(&asked, json!({ "tools": [] })).await;
    assert!(within(list).await.unwrap().unwrap().tools.is_empty());
}

#[tokio::test]
async fn what_it_is_said_first_is_said_again_and_changes_are_told() {
    let (server, url) = Server::start().await;
    let (sdk, mut socket) = serve(&server, url).await;
    let peer = sdk.peer().clone();
    let subscribe = tokio::spawn(async move {
        #[allow(deprecated, reason = "it is for legacy servers, and this is one")]
        peer.subscribe(rmcp::model::SubscribeRequestParams::new("mem://x"))
            .await
    });
    let asked = socket.asked("resources/subscribe").await;
    socket.answer(&asked, json!({})).await;
    within(subscribe).await.unwrap().unwrap();
    drop(socket);
    let mut socket = server.accept().await;
    let introduced = socket.initialize(json!({ "tools": {}, "prompts": {} })).await;
    assert_eq!(
        introduced["clientInfo"]["name"],
        ClientConfig::default().client_info.name
    );
    let asked = socket.asked("resources/subscribe").await;
    assert_eq!(asked["params"]["uri"], "mem://x");
    socket.answer(&asked, json!({})).await;
    // The server asks too, and the SDK answers the connection that asked.
    socket
        .say(json!({ "jsonrpc": "2.0", "id": "s1", "method": "ping" }))
        .await;
    let pong: Value = serde_json::from_str(socket.heard().await.to_text().unwrap()).unwrap();
    assert_eq!((&pong["id"], &pong["result"]), (&json!("s1"), &json!({})));
    socket
        .say(json!({ "jsonrpc": "2.0", "id": "s2", "method": "roots/list" }))
        .await;
    let roots: Value = serde_json::from_str(socket.heard().await.to_text().unwrap()).unwrap();
    assert_eq!(roots["id"], "s2");
}

#[tokio::test]
async fn closing_says_1000() {
    let (server, url) = Server::start().await;
    let (sdk, mut socket) = serve(&server, url).await;
    let closing = tokio::spawn(sdk.cancel());
    let Message::Close(Some(frame)) = socket.heard().await else {
        panic!("it says goodbye");
    };
    assert_eq!(u16::from(frame.code), 1000);
    drop(socket);
    within(closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_modern_server_is_discovered_by_the_sdk() {
    let (server, url) = Server::start().await;
    let mode = ClientLifecycleMode::Auto {
        preferred_versions: vec![serde_json::from_value(json!("2026-07-28")).unwrap()],
        legacy_version: None,
    };
    let serving = tokio::spawn(ClientConfig::default().serve_with_lifecycle(RmcpTransport::new(relay(url)), mode));
    let mut socket = server.accept().await;
    let asked = socket.asked("server/discover").await;
    let result = json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
        "serverInfo": { "name": "played", "version": "1" }, "ttlMs": 0, "cacheScope": "private",
    });
    socket.answer(&asked, result).await;
    let sdk = within(serving).await.unwrap().unwrap();
    let peer = sdk.peer().clone();
    let list = tokio::spawn(async move { peer.list_tools(None).await });
    let asked = socket.asked("tools/list").await;
    let text = asked.to_string();
    // Stamped once: by the SDK.
    assert_eq!(
        text.matches("io.modelcontextprotocol/protocolVersion").count(),
        1,
        "{text}"
    );
    socket
        .answer(
            &asked,
            json!({ "resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private" }),
        )
        .await;
    within(list).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refusal_that_is_final_ends_it() {
    let (listener, url) = Server::start().await;
    let serving = tokio::spawn(ClientConfig::default().serve(RmcpTransport::new(relay(url))));
    let (mut stream, _) = within(listener.0.accept()).await.unwrap();
    let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    within(tokio::io::AsyncWriteExt::write_all(&mut stream, refusal))
        .await
        .unwrap();
    assert!(within(serving).await.unwrap().is_err());
}

/// Another library's client, over the same relay.
#[tokio::test]
async fn tower_mcp_lives_through_a_restart() {
    let (server, url) = Server::start().await;
    let client = within(tower_mcp::client::McpClient::connect(TowerMcpTransport::new(relay(
        url,
    ))))
    .await
    .unwrap();
    let client = std::sync::Arc::new(client);
    let beginning = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .initialize("test", "1")
                .await
                .map(|info| info.server_info.name.clone())
        }
    });
    let mut socket = server.accept().await;
    let introduced = socket.initialize(json!({ "tools": {} })).await;
    assert_eq!(introduced["clientInfo"]["name"], "test");
    assert_eq!(within(beginning).await.unwrap().unwrap(), "played");
    drop(socket);

    let list = tokio::spawn({
        let client = client.clone();
        async move { client.list_tools().await }
    });
    let mut socket = server.accept().await;
    socket.initialize(json!({ "tools": {} })).await;
    let asked = socket.asked("tools/list").await;
    socket.answer(&asked, json!({ "tools": [] })).await;
    assert!(within(list).await.unwrap().unwrap().tools.is_empty());
}
