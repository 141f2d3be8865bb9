//! Two libraries with protocol machines of their own, `rmcp` and `tower-mcp`, over the relay.

#![cfg(all(feature = "rmcp", feature = "tower-mcp"))]
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(deprecated, reason = "sampling is what legacy servers ask for")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ClientHandler, ErrorData, RoleClient, ServiceExt,
    model::{
        CallToolRequest, CallToolRequestParams, ClientConfig, ClientRequest, CreateMessageRequestParams,
        CreateMessageResult, SubscriptionFilter,
    },
    service::{
        ClientLifecycleMode, ClientServiceExt, PeerRequestOptions, RequestContext, RunningService, SubscriptionEnd,
    },
};
use serde_json::{Value, json};
use support::{Peer, Server, relay, within};
use tower_mcp::client::McpClient;
use tower_ws_mcp::{rmcp::RmcpTransport, tower_mcp::TowerMcpTransport};

const SECOND: Duration = Duration::from_secs(1);
const ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A client that answers no question, and counts those that were taken back.
#[derive(Clone, Default)]
struct Silent(Arc<AtomicUsize>);

impl ClientHandler for Silent {
    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        context.ct.cancelled().await;
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(ErrorData::internal_error("nobody waits", None))
    }

    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }
}

/// `rmcp` with a legacy server.
async fn legacy() -> (RunningService<RoleClient, Silent>, Silent, Server, Peer) {
    let (relay, mut server) = relay();
    let silent = Silent::default();
    let serving = tokio::spawn(silent.clone().serve(RmcpTransport::new(relay)));
    let mut peer = server.accept().await;
    peer.initialize(json!({ "tools": {} })).await;
    (within(serving).await.unwrap().unwrap(), silent, server, peer)
}

fn echo(n: usize) -> CallToolRequestParams {
    let mut call = CallToolRequestParams::new("echo");
    call.arguments = json!({ "n": n }).as_object().cloned();
    call
}

fn complete() -> Value {
    json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
        "serverInfo": { "name": "played", "version": "1" }, "ttlMs": 0, "cacheScope": "private" })
}

impl Peer {
    /// Opens as a modern server whose answer is complete, as these libraries want it.
    async fn discover(&mut self) {
        let (id, _) = self.asked("server/discover").await;
        self.answer(&id, complete()).await;
    }

    /// Agrees to a listen, and gives its id here.
    async fn agree(&mut self) -> Value {
        let (id, params) = self.asked("subscriptions/listen").await;
        let params = json!({ "_meta": { ID: id }, "notifications": params["notifications"] });
        self.say(json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params }))
            .await;
        id
    }

    async fn take_back(&mut self, id: &Value) {
        let params = json!({ "requestId": id, "reason": "shutting down" });
        self.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn rmcp_listens_across_a_restart_until_the_server_ends_it() {
    let (relay, mut server) = relay();
    let mode = ClientLifecycleMode::Discover {
        preferred_versions: vec![serde_json::from_value(json!("2026-07-28")).unwrap()],
    };
    let serving = tokio::spawn(ClientConfig::default().serve_with_lifecycle(RmcpTransport::new(relay), mode));
    let mut peer = server.accept().await;
    peer.discover().await;
    let sdk = within(serving).await.unwrap().unwrap();
    let client = sdk.peer().clone();
    let filter = SubscriptionFilter::builder()
        .tools_list_changed()
        .resource_subscriptions(["mem://x"])
        .build();
    let listening = tokio::spawn(async move { client.listen(filter).await });
    peer.agree().await;
    let mut listen = within(listening).await.unwrap().unwrap();
    drop(peer);
    let mut peer = server.accept().await;
    peer.discover().await;
    let id = peer.agree().await;
    // Told anew that anything may have changed, and not that it is acknowledged, which it takes for an error.
    for _ in 0..2 {
        assert!(within(listen.next()).await.unwrap().is_some());
    }
    peer.take_back(&id).await;
    assert!(within(listen.next()).await.unwrap().is_none());
    assert_eq!(listen.end(), Some(&SubscriptionEnd::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn rmcp_cancels_and_is_cancelled() {
    let (sdk, silent, _server, mut peer) = legacy().await;
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(echo(1)));
    let options = PeerRequestOptions::no_options();
    let call = within(sdk.peer().send_cancellable_request(request, options))
        .await
        .unwrap();
    let (id, _) = peer.asked("tools/call").await;
    within(call.cancel(Some("enough".to_owned()))).await.unwrap();
    assert_eq!(peer.asked("notifications/cancelled").await.1["requestId"], id);

    // 300 of the server's are taken, and the one that it takes back is that one.
    let ask = |n: usize| {
        let message = json!({ "role": "user", "content": { "type": "text", "text": "?" } });
        let params = json!({ "messages": [message], "maxTokens": 1 });
        json!({ "jsonrpc": "2.0", "id": format!("q{n}"), "method": "sampling/createMessage", "params": params })
    };
    for n in 0..300 {
        peer.say(ask(n)).await;
    }
    peer.say(json!({ "jsonrpc": "2.0", "id": "ping", "method": "ping" }))
        .await;
    assert_eq!(peer.heard().await["id"], "ping", "none was refused");
    peer.take_back(&json!("q7")).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(silent.0.load(Ordering::Relaxed), 1);
    peer.say(json!({ "jsonrpc": "2.0", "id": "roots", "method": "roots/list" }))
        .await;
    assert_eq!(peer.heard().await["id"], "roots", "what was taken back is not answered");
}

#[tokio::test(start_paused = true)]
async fn rmcp_waits_for_a_long_call_with_progress() {
    let (sdk, _, _server, mut peer) = legacy().await;
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(echo(1)));
    let options = PeerRequestOptions::with_timeout(30 * SECOND).reset_timeout_on_progress();
    let call = within(sdk.peer().send_cancellable_request(request, options))
        .await
        .unwrap();
    let (id, params) = peer.asked("tools/call").await;
    let waiting = tokio::spawn(call.await_response());
    for step in 1..=7 {
        tokio::time::sleep(10 * SECOND).await;
        let params = json!({ "progressToken": params["_meta"]["progressToken"], "progress": step });
        peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
            .await;
    }
    peer.answer(&id, json!({ "content": [] })).await;
    within(waiting).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn rmcp_makes_five_thousand_calls_at_once() {
    const CALLS: usize = 5000;
    let (sdk, _, _server, mut peer) = legacy().await;
    let calls: Vec<_> = (0..CALLS)
        .map(|n| {
            let client = sdk.peer().clone();
            tokio::spawn(async move { client.call_tool(echo(n)).await })
        })
        .collect();
    for _ in 0..CALLS {
        let (id, params) = peer.asked("tools/call").await;
        let text = json!({ "type": "text", "text": params["arguments"]["n"].to_string() });
        peer.answer(&id, json!({ "content": [text] })).await;
    }
    for (n, call) in calls.into_iter().enumerate() {
        let result = within(call).await.unwrap().unwrap();
        assert_eq!(result.content[0].as_text().unwrap().text, n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn tower_mcp_listens_calls_and_cancels() {
    let (relay, mut server) = relay();
    let client = McpClient::builder()
        .protocol_support(tower_mcp::ProtocolSupport::try_new(["2026-07-28"]).unwrap())
        .connect_simple(TowerMcpTransport::new(relay));
    let client = Arc::new(within(client).await.unwrap());
    let beginning = client.clone();
    let beginning = tokio::spawn(async move { beginning.discover("test", "1").await.map(drop) });
    let mut peer = server.accept().await;
    peer.discover().await;
    within(beginning).await.unwrap().unwrap();

    let filter = serde_json::from_value(json!({ "toolsListChanged": true })).unwrap();
    let listening = client.clone();
    let listening = tokio::spawn(async move { listening.listen_subscriptions(filter).await });
    peer.agree().await;
    let mut listen = within(listening).await.unwrap().unwrap();
    within(listen.acknowledged()).await.unwrap();
    drop(peer);
    let mut peer = server.accept().await;
    peer.discover().await;
    let id = peer.agree().await;
    let calls: Vec<_> = (0..500)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.call_tool("echo", json!({ "n": n })).await })
        })
        .collect();
    for _ in 0..calls.len() {
        let (id, _) = peer.asked("tools/call").await;
        peer.answer(&id, json!({ "resultType": "complete", "content": [] }))
            .await;
    }
    for call in calls {
        within(call).await.unwrap().unwrap();
    }
    peer.take_back(&id).await;
    let error = within(listen.wait()).await.unwrap_err();
    assert!(error.to_string().contains("shutting down"), "{error}");
}
