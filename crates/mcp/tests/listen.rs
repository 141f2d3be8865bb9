//! What a modern server tells under `subscriptions/listen`.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Peer, Server, connect, connected, told, up, within};
use tower_ws_client::{CallError, Inbound};
use tower_ws_mcp::{Filter, Listen, Listened, Mcp, McpError};

const ID: &str = "io.modelcontextprotocol/subscriptionId";
const TOOLS: &str = "notifications/tools/list_changed";

impl Peer {
    async fn tell(&mut self, listen: &Value, method: &str) {
        let params = json!({ "_meta": { ID: listen }, "notifications": { "toolsListChanged": true } });
        self.say(json!({ "jsonrpc": "2.0", "method": method, "params": params }))
            .await;
    }

    async fn acknowledge(&mut self, listen: &Value) {
        self.tell(listen, "notifications/subscriptions/acknowledged").await;
    }
}

/// A client that listens, and the id by which the server knows that.
async fn listening() -> (Server, Peer, Mcp, Inbound, Listen, Value) {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, inbound) = connected(connecting).await;
    let listen = within(mcp.listen(&Filter::new().tools())).await.unwrap();
    let (id, params) = peer.asked("subscriptions/listen").await;
    assert_eq!(params["notifications"], json!({ "toolsListChanged": true }));
    assert_eq!(listen.id(), id.as_u64());
    (server, peer, mcp, inbound, listen, id)
}

async fn active(listen: &mut Listen) -> Filter {
    match within(listen.next()).await {
        Some(Listened::Active(filter)) => filter,
        other => panic!("{other:?}"),
    }
}

/// The id that the next notification names.
async fn heard(listen: &mut Listen) -> Value {
    match within(listen.next()).await {
        Some(Listened::Notification(told)) => {
            assert_eq!(told.method(), TOOLS);
            told.params::<Value>().unwrap()["_meta"][ID].clone()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn it_has_its_own_stream_which_lives_on_and_ends_once() {
    let (mut server, mut peer, mcp, mut inbound, mut listen, first) = listening().await;
    peer.acknowledge(&first).await;
    peer.tell(&first, TOOLS).await;
    assert_eq!(active(&mut listen).await, Filter::new().tools());
    assert_eq!(heard(&mut listen).await, first);
    drop(peer);

    let mut peer = server.accept().await;
    peer.modern().await;
    let (second, params) = peer.asked("subscriptions/listen").await;
    assert_ne!(first, second);
    assert_eq!(params["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(params["notifications"], json!({ "toolsListChanged": true }));
    peer.acknowledge(&second).await;
    peer.tell(&second, TOOLS).await;
    active(&mut listen).await;
    // Who listens knows it by the first id.
    assert_eq!(heard(&mut listen).await, first);
    peer.tell(&second, TOOLS).await;
    peer.answer(&second, json!({ "resultType": "complete" })).await;
    assert_eq!(heard(&mut listen).await, first);
    assert!(matches!(within(listen.next()).await, Some(Listened::Ended(Ok(())))));
    assert!(within(listen.next()).await.is_none());
    // Nothing of it was told to all.
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/after", "params": {} }))
        .await;
    while let (method, params) = told(&mut inbound).await
        && method != "notifications/after"
    {
        assert_eq!(params, Value::Null, "only what this side says of the outage");
    }
    drop(mcp);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_is_cancelled_by_the_id_that_it_has_now() {
    let (mut server, peer, _mcp, mut inbound, listen, _) = listening().await;
    drop(peer);
    let mut peer = server.accept().await;
    peer.modern().await;
    let (now, _) = peer.asked("subscriptions/listen").await;
    while up(&mut inbound).await.epoch < 2 {}
    drop(listen);
    let (_, params) = peer.asked("notifications/cancelled").await;
    assert_eq!(params["requestId"], now);
}

#[tokio::test(start_paused = true)]
async fn one_given_up_in_an_outage_is_not_begun_again() {
    let (mut server, peer, mcp, _inbound, listen, _) = listening().await;
    drop(peer);
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(listen);
    let mut peer = server.accept().await;
    peer.modern().await;
    let list = tokio::spawn(async move { mcp.tools().all().await });
    let (id, _) = peer.asked("tools/list").await;
    peer.answer(&id, json!({ "tools": [] })).await;
    within(list).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_server_may_end_it_without_an_answer() {
    let (mut server, mut peer, mcp, _inbound, mut listen, id) = listening().await;
    // Of another request, which is none.
    for request in [json!(7), id] {
        let params = json!({ "requestId": request, "reason": "shutting down" });
        peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }))
            .await;
    }
    let Some(Listened::Ended(Err(McpError::Call(CallError::Rpc(error))))) = within(listen.next()).await else {
        panic!("the server has ended it");
    };
    assert_eq!(error.message, "shutting down");
    assert!(within(listen.next()).await.is_none());
    // It is not begun again.
    drop(peer);
    let mut peer = server.accept().await;
    peer.modern().await;
    let list = tokio::spawn(async move { mcp.tools().all().await });
    let (id, _) = peer.asked("tools/list").await;
    peer.answer(&id, json!({ "tools": [] })).await;
    within(list).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_bounded_and_a_gap_stands_for_it() {
    let (_server, mut peer, mcp, mut inbound, mut listen, id) = listening().await;
    const MORE: usize = 44;
    for _ in 0..Listen::ROOM + MORE {
        peer.tell(&id, TOOLS).await;
    }
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/after", "params": {} }))
        .await;
    while told(&mut inbound).await.0 != "notifications/after" {}
    assert!(matches!(within(listen.next()).await, Some(Listened::Gap { missed }) if missed as usize == MORE));
    for _ in 0..Listen::ROOM {
        heard(&mut listen).await;
    }

    // Large ones sooner.
    let padding = "x".repeat(Listen::BYTES / 3);
    for _ in 0..5 {
        let params = json!({ "_meta": { ID: id }, "padding": padding });
        peer.say(json!({ "jsonrpc": "2.0", "method": TOOLS, "params": params }))
            .await;
    }
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/after", "params": {} }))
        .await;
    while told(&mut inbound).await.0 != "notifications/after" {}
    assert!(matches!(within(listen.next()).await, Some(Listened::Gap { missed: 3 })));
    drop(mcp);
}

#[tokio::test(start_paused = true)]
async fn there_are_64_at_most() {
    let (_server, _peer, mcp, _inbound, listen, _) = listening().await;
    let mut listens = vec![listen];
    while listens.len() < 64 {
        listens.push(within(mcp.listen(&Filter::new())).await.unwrap());
    }
    let error = within(mcp.listen(&Filter::new())).await.unwrap_err();
    assert!(matches!(error, McpError::Listens(64)) && !error.may_have_been_seen());
    listens.pop();
    // The driver has to have seen it go.
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(within(mcp.listen(&Filter::new())).await.unwrap());
}
