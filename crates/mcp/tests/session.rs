//! What a session does over many connections: metadata, what is said again, calls and their ends.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{connect, connected, discovered, told, up, within};
use tower_ws_client::{CallError, Request};
use tower_ws_core::Suspicion;
use tower_ws_mcp::{Content, Filter, McpError, Tool, Tracked};

const SECOND: Duration = Duration::from_secs(1);

fn meta(params: &Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"].clone()
}

#[tokio::test(start_paused = true)]
async fn requests_say_what_they_are_to_modern_servers_only() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, mut inbound) = connected(connecting).await;
    let call = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.call_tool("add", &json!({ "a": 1 })).await }
    });
    let (id, params) = peer.asked("tools/call").await;
    assert_eq!(
        (meta(&params), &params["arguments"]),
        ("2026-07-28".into(), &json!({ "a": 1 }))
    );
    assert_eq!(params["_meta"]["io.modelcontextprotocol/clientInfo"]["name"], "test");
    assert_eq!(params["_meta"]["io.modelcontextprotocol/clientCapabilities"], json!({}));
    peer.answer(&id, json!({ "content": [{ "type": "text", "text": "2" }] }))
        .await;
    assert_eq!(within(call).await.unwrap().unwrap().text(), "2");
    // That roots have changed concerns legacy servers only.
    for method in ["notifications/roots/list_changed", "notifications/other"] {
        mcp.notify(Request::new(method)).await.unwrap();
    }
    assert_eq!(peer.asked("notifications/other").await.1, Value::Null);

    // What waits through an outage goes out as the next connection wants it.
    up(&mut inbound).await;
    drop(peer);
    let mut peer = server.accept().await;
    let call = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.call_tool("add", &json!({})).await }
    });
    peer.legacy().await;
    let (id, params) = peer.asked("tools/call").await;
    assert_eq!(params, json!({ "name": "add", "arguments": {} }));
    peer.answer(&id, json!({ "content": [] })).await;
    within(call).await.unwrap().unwrap();
    mcp.notify(Request::new("notifications/roots/list_changed"))
        .await
        .unwrap();
    assert_eq!(peer.asked("notifications/roots/list_changed").await.1, Value::Null);
}

/// The one revision that has batches: <https://modelcontextprotocol.io/specification/2025-03-26/basic>.
#[tokio::test(start_paused = true)]
async fn a_server_of_2025_03_26_may_batch_and_is_never_sent_a_batch() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    peer.refuse(&id, -32601, Value::Null).await;
    let (id, params) = peer.asked("initialize").await;
    assert_eq!(params["protocolVersion"], "2025-11-25");
    let result = json!({ "protocolVersion": "2025-03-26", "capabilities": { "tools": {} }, "serverInfo": { "name": "b", "version": "1" } });
    // Already the first answer comes in one.
    let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": 1 } });
    peer.say(json!([log, { "jsonrpc": "2.0", "id": id, "result": result }]))
        .await;
    peer.asked("notifications/initialized").await;
    let (mcp, mut inbound) = connected(connecting).await;
    assert_eq!(mcp.server().unwrap().protocol_version(), "2025-03-26");
    assert_eq!(told(&mut inbound).await.0, "notifications/message");
    let calls = [1, 2, 3].map(|n| {
        let mcp = mcp.clone();
        tokio::spawn(async move { mcp.call_tool("echo", &json!({ "n": n })).await })
    });
    let mut batch = Vec::new();
    for _ in &calls {
        let (id, params) = peer.asked("tools/call").await;
        let text = json!({ "type": "text", "text": params["arguments"]["n"].to_string() });
        batch.push(json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [text] } }));
        batch.push(log.clone());
    }
    batch.reverse();
    batch.push(json!({ "jsonrpc": "2.0", "id": "s", "method": "ping" }));
    peer.say(batch.into()).await;
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(within(call).await.unwrap().unwrap().text(), (n + 1).to_string());
        assert_eq!(told(&mut inbound).await.0, "notifications/message");
    }
    let pong = peer.heard().await;
    assert_eq!((&pong["id"], &pong["result"]), (&json!("s"), &json!({})));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_server_is_told_again_what_it_has_forgotten_before_anything_else() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.legacy().await;
    let (mcp, _inbound) = connected(connecting).await;
    let doing = tokio::spawn({
        let mcp = mcp.clone();
        async move {
            for uri in ["mem://a", "mem://b", "mem://c"] {
                mcp.subscribe(uri).await.unwrap();
            }
            mcp.unsubscribe("mem://b").await.unwrap();
            mcp.set_log_level("warning").await.unwrap();
        }
    });
    for method in ["resources/subscribe"; 3]
        .into_iter()
        .chain(["resources/unsubscribe", "logging/setLevel"])
    {
        let (id, _) = peer.asked(method).await;
        peer.answer(&id, json!({})).await;
    }
    within(doing).await.unwrap();
    drop(peer);

    let mut peer = server.accept().await;
    let waiting = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.tools().all().await }
    });
    peer.initialize(json!({})).await;
    let (level, params) = peer.asked("logging/setLevel").await;
    assert_eq!(params["level"], "warning");
    let (a, params) = peer.asked("resources/subscribe").await;
    assert_eq!(params["uri"], "mem://a");
    let (c, params) = peer.asked("resources/subscribe").await;
    assert_eq!(params["uri"], "mem://c");
    peer.answer(&level, json!({})).await;
    peer.answer(&a, json!({})).await;
    // One that is refused now is no reason to stay away.
    peer.refuse(&c, -32002, Value::Null).await;
    let (id, _) = peer.asked("tools/list").await;
    peer.answer(&id, json!({ "tools": [] })).await;
    assert!(within(waiting).await.unwrap().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_goes_again_under_a_new_id_and_a_tool_does_not() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let read = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.read_resource("mem://x").await }
    });
    let (first, _) = peer.asked("resources/read").await;
    let tool = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.call_tool("pay", &json!({})).await }
    });
    peer.asked("tools/call").await;
    drop(peer);
    let Err(error) = within(tool).await.unwrap() else {
        panic!("nobody answered it");
    };
    assert!(matches!(error, McpError::Call(CallError::Interrupted(_))) && error.may_have_been_seen());

    let mut peer = server.accept().await;
    peer.modern().await;
    let (second, params) = peer.asked("resources/read").await;
    assert_ne!(first, second);
    assert_eq!(meta(&params), "2026-07-28");
    peer.answer(&second, json!({ "contents": [{ "uri": "mem://x", "text": "hello" }] }))
        .await;
    let contents = within(read).await.unwrap().unwrap().contents;
    assert_eq!(contents[0].text.as_deref(), Some("hello"));
}

#[tokio::test(start_paused = true)]
async fn a_tool_goes_again_if_its_annotations_are_trusted() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let trust = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.trust_annotations().await }
    });
    let (id, _) = peer.asked("tools/list").await;
    let tools = json!([
        { "name": "look", "inputSchema": {}, "annotations": { "readOnlyHint": true } },
        { "name": "pay", "inputSchema": {} },
    ]);
    peer.answer(&id, json!({ "tools": tools })).await;
    within(trust).await.unwrap().unwrap();
    let look = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.call_tool("look", &json!({})).await }
    });
    peer.asked("tools/call").await;
    drop(peer);
    let mut peer = server.accept().await;
    peer.modern().await;
    let (id, _) = peer.asked("tools/call").await;
    peer.answer(&id, json!({ "content": [{ "type": "text", "text": "seen" }] }))
        .await;
    let seen = within(look).await.unwrap().unwrap();
    assert!(matches!(&seen.content[..], [Content::Text { text, .. }] if text == "seen"));
}

#[tokio::test(start_paused = true)]
async fn progress_is_reported_and_gives_more_time_but_not_for_ever() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let track = |idle: Duration| {
        let mcp = mcp.clone();
        tokio::spawn(async move {
            let request = mcp.tool_request("slow", &json!({})).unwrap();
            (mcp.track(request).await.unwrap().idle(idle),)
        })
    };
    let tracked = track(10 * SECOND);
    let (id, params) = peer.asked("tools/call").await;
    let token = params["_meta"]["progressToken"].clone();
    assert_eq!(meta(&params), "2026-07-28");
    let (tracked,) = within(tracked).await.unwrap();
    let mut reports = tracked.reports();
    let result = tokio::spawn(tracked.result::<Value>());
    for n in 1..6 {
        tokio::time::sleep(9 * SECOND).await;
        let params = json!({ "progressToken": token, "progress": n, "total": 6 });
        peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
            .await;
        assert_eq!(reports.next().await.map(|report| report.progress), Some(f64::from(n)));
    }
    peer.answer(&id, json!({ "content": [] })).await;
    within(result).await.unwrap().unwrap();
    assert_eq!(reports.next().await, None);

    // Without a report the time is up, and the server hears of it.
    let tracked = track(10 * SECOND);
    let (id, _) = peer.asked("tools/call").await;
    let (tracked,) = within(tracked).await.unwrap();
    let Err(error) = within(tracked).await else {
        panic!("nobody answered it");
    };
    assert!(matches!(error, McpError::Call(CallError::TimedOut { sent: true, .. })));
    assert_eq!(peer.asked("notifications/cancelled").await.1["requestId"], id);

    // With reports for ever it is up as well.
    let tracked = track(10 * SECOND);
    let (id, params) = peer.asked("tools/call").await;
    let token = params["_meta"]["progressToken"].clone();
    let began = tokio::time::Instant::now();
    let result = tokio::spawn(async move { within_most(within(tracked).await.unwrap().0).await });
    loop {
        let params = json!({ "progressToken": token, "progress": 1 });
        peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
            .await;
        if result.is_finished() {
            break;
        }
        tokio::time::sleep(5 * SECOND).await;
    }
    assert!(matches!(
        result.await.unwrap(),
        Err(McpError::Call(CallError::TimedOut { .. }))
    ));
    assert!(began.elapsed() >= Tracked::MOST);
    assert_eq!(peer.asked("notifications/cancelled").await.1["requestId"], id);
}

async fn within_most<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(2 * Tracked::MOST, future)
        .await
        .expect("it goes on for ever")
}

/// What comes of calls that run to their limits: a server that reports on another is at work.
#[tokio::test(start_paused = true)]
async fn progress_is_told_to_whoever_judges_the_server() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (_mcp, mut inbound) = connected(connecting).await;
    let suspicion = up(&mut inbound).await.extensions.get::<Suspicion>().cloned().unwrap();
    let before = tokio::time::Instant::now();
    suspicion.raise(before);
    assert_eq!(suspicion.last_progress(), None);
    tokio::time::sleep(SECOND).await;
    let params = json!({ "progressToken": "anybody's", "progress": 1 });
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
        .await;
    told(&mut inbound).await;
    assert_eq!(suspicion.last_progress(), Some(before + SECOND));
    let cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(suspicion.look(&cx), None, "withdrawn");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_by_asking_again() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let call = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.call_tool("book", &json!({ "seat": 1 })).await }
    });
    let (first, _) = peer.asked("tools/call").await;
    let asks = json!({ "sure": { "method": "elicitation/create", "params": { "message": "sure?" } } });
    peer.answer(
        &first,
        json!({ "resultType": "input_required", "inputRequests": asks, "requestState": "s\u{00e9}\"1" }),
    )
    .await;
    let Err(McpError::InputRequired(input)) = within(call).await.unwrap() else {
        panic!("it asks");
    };
    assert_eq!(input.requests()["sure"]["params"]["message"], "sure?");
    let again = input.answer([("sure", json!({ "action": "accept" }))]).unwrap();
    let call = tokio::spawn(async move { mcp.send::<Value>(again).await });
    let (second, params) = peer.asked("tools/call").await;
    assert_ne!(first, second);
    assert_eq!(params["requestState"], "s\u{00e9}\"1");
    assert_eq!(params["inputResponses"], json!({ "sure": { "action": "accept" } }));
    assert_eq!(
        (&params["name"], &params["arguments"]),
        (&json!("book"), &json!({ "seat": 1 }))
    );
    peer.answer(&second, json!({ "resultType": "complete", "content": [] }))
        .await;
    within(call).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn lists_are_read_page_by_page_and_end() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let list = |mcp: &tower_ws_mcp::Mcp| {
        let mcp = mcp.clone();
        tokio::spawn(async move { mcp.tools().all().await })
    };
    let names = |tools: Vec<Tool>| tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>();
    let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });

    let all = list(&mcp);
    let (id, params) = peer.asked("tools/list").await;
    assert_eq!(params.get("cursor"), None);
    peer.answer(&id, json!({ "tools": [tool("a"), tool("b")], "nextCursor": "2" }))
        .await;
    let (id, params) = peer.asked("tools/list").await;
    assert_eq!(params["cursor"], "2");
    peer.answer(&id, json!({ "tools": [], "nextCursor": "3" })).await;
    let (id, _) = peer.asked("tools/list").await;
    peer.answer(&id, json!({ "tools": [tool("c")] })).await;
    assert_eq!(names(within(all).await.unwrap().unwrap()), ["a", "b", "c"]);

    let endless = list(&mcp);
    for _ in 0..2 {
        let (id, _) = peer.asked("tools/list").await;
        peer.answer(&id, json!({ "tools": [tool("a")], "nextCursor": "again" }))
            .await;
    }
    assert!(matches!(
        within(endless).await.unwrap(),
        Err(McpError::Endless("tools/list"))
    ));
}

#[tokio::test(start_paused = true)]
async fn each_era_has_its_own_way_to_subscribe() {
    let (mut server, connecting) = connect();
    server.accept().await.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let error = mcp.subscribe("mem://x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a modern server has no `resources/subscribe`: use `subscriptions/listen`"
    );
    assert!(!error.may_have_been_seen());

    let (mut server, connecting) = connect();
    server.accept().await.legacy().await;
    let (mcp, _inbound) = connected(connecting).await;
    assert!(matches!(
        mcp.listen(&Filter::new()).await,
        Err(McpError::WrongEra { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_changed_server_is_told_of() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, mut inbound) = connected(connecting).await;
    up(&mut inbound).await;
    drop(peer);
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    peer.answer(&id, discovered(&["2026-07-28"], json!({ "tools": {}, "prompts": {} })))
        .await;
    up(&mut inbound).await;
    assert!(mcp.server().unwrap().has_changed());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_apart() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let lists = [mcp.clone(), mcp.clone()].map(|mcp| tokio::spawn(async move { mcp.tools().all().await }));
    let (first, _) = peer.asked("tools/list").await;
    let (second, _) = peer.asked("tools/list").await;
    let answer = |id: &Value| json!({ "jsonrpc": "2.0", "id": id, "result": { "tools": [] } });
    let ping = |id: u8| json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
    peer.say(json!([ping(1), answer(&second), ping(2), answer(&first)]))
        .await;
    for list in lists {
        within(list).await.unwrap().unwrap();
    }
    // Each by itself.
    for id in [1, 2] {
        let pong = peer.heard().await;
        assert_eq!((&pong["id"], &pong["result"]), (&json!(id), &json!({})));
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_application_is_told_to_look_again() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (_mcp, mut inbound) = connected(connecting).await;
    up(&mut inbound).await;
    drop(peer);
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    // It had tools and has prompts.
    peer.answer(&id, discovered(&["2026-07-28"], json!({ "prompts": {} })))
        .await;
    up(&mut inbound).await;
    for list in ["tools", "prompts"] {
        let (method, _) = told(&mut inbound).await;
        assert_eq!(method, format!("notifications/{list}/list_changed"));
    }
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/after", "params": {} }))
        .await;
    assert_eq!(told(&mut inbound).await.0, "notifications/after");
}

#[tokio::test(start_paused = true)]
async fn one_odd_item_does_not_lose_the_list() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let listing = tokio::spawn(async move {
        let mut pages = mcp.tools();
        let mut names = Vec::new();
        while let Some(tool) = pages.next().await {
            names.push(tool.unwrap().name);
        }
        (names, pages.skipped().to_vec())
    });
    let (id, _) = peer.asked("tools/list").await;
    let tools = json!([{ "name": "a" }, { "title": "nameless" }, 7, { "name": "b", "description": null }]);
    peer.answer(&id, json!({ "tools": tools, "nextCursor": null })).await;
    let (names, skipped) = within(listing).await.unwrap();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(skipped[0].field.as_deref(), Some("name"));
}
