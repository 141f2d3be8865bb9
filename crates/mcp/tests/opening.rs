//! How a connection is opened: the era is found out, and remembered.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{connect, connect_with, connected, discovered, up, within};
use tokio::time::{Instant, sleep};
use tower_ws_core::{Disposition, Failure, find};
use tower_ws_mcp::{Era, ServerInfo};

fn failure(error: &tower_ws_core::BoxError) -> &Failure {
    find::<Failure>(&**error).expect("it is classified")
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_is_discovered() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, mut inbound) = connected(connecting).await;
    let said = mcp.server().unwrap();
    assert_eq!((said.era(), said.protocol_version()), (Era::Modern, "2026-07-28"));
    assert_eq!(said.implementation().unwrap().name, "new");
    assert!(said.capabilities().has("tools") && !said.has_changed());
    let up = up(&mut inbound).await;
    assert!(up.layers.contains(&"mcp"));
    assert_eq!(up.extensions.get::<ServerInfo>().unwrap().era(), Era::Modern);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_server_refuses_discovery_with_it_is_initialized() {
    for code in [-32601, -32602, -32600, 0, -32603] {
        let (mut server, connecting) = connect();
        let mut peer = server.accept().await;
        let (id, _) = peer.asked("server/discover").await;
        peer.refuse(&id, code, Value::Null).await;
        peer.initialize(json!({})).await;
        let (mcp, _inbound) = connected(connecting).await;
        assert_eq!(mcp.server().unwrap().era(), Era::Legacy, "{code}");
        assert_eq!(mcp.server().unwrap().protocol_version(), "2025-11-25");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_discovery_is_initialized() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    let (late, _) = peer.asked("server/discover").await;
    let (id, params) = peer.asked("initialize").await;
    // What comes late is not taken for another answer.
    peer.refuse(&late, -32601, Value::Null).await;
    peer.answer(
        &id,
        json!({ "protocolVersion": params["protocolVersion"], "capabilities": {} }),
    )
    .await;
    peer.asked("notifications/initialized").await;
    let (mcp, _inbound) = connected(connecting).await;
    assert_eq!(mcp.server().unwrap().era(), Era::Legacy);
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_that_was_slow_is_asked_again() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.asked("server/discover").await;
    let (id, _) = peer.asked("initialize").await;
    peer.refuse(&id, -32022, json!({ "supported": ["2026-07-28"] })).await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    assert_eq!(mcp.server().unwrap().era(), Era::Modern);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_its_versions_is_taken_by_its_word() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    peer.refuse(
        &id,
        -32022,
        json!({ "supported": ["2099-01-01", "2025-06-18"], "requested": "2026-07-28" }),
    )
    .await;
    let (id, params) = peer.asked("initialize").await;
    assert_eq!(params["protocolVersion"], "2025-06-18");
    peer.answer(&id, json!({ "protocolVersion": "2025-06-18", "capabilities": {} }))
        .await;
    peer.asked("notifications/initialized").await;
    let (mcp, _inbound) = connected(connecting).await;
    assert_eq!(mcp.server().unwrap().protocol_version(), "2025-06-18");
}

#[tokio::test(start_paused = true)]
async fn no_version_in_common_is_final_and_says_which() {
    for answer in [
        json!({ "error": { "code": -32022, "message": "no", "data": { "supported": ["2099-01-01"] } } }),
        json!({ "result": discovered(&["2099-01-01"], json!({})) }),
    ] {
        let (mut server, connecting) = connect();
        let mut peer = server.accept().await;
        let (id, _) = peer.asked("server/discover").await;
        let mut answer = answer.clone();
        answer["jsonrpc"] = "2.0".into();
        answer["id"] = id;
        peer.say(answer).await;
        let error = within(connecting).await.unwrap().unwrap_err();
        assert_eq!(failure(&error).disposition(), Disposition::Final);
        assert!(failure(&error).to_string().contains("2099-01-01"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_capability_is_not_taken_for_a_legacy_one() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    peer.refuse(&id, -32021, json!({ "requiredCapabilities": { "sampling": {} } }))
        .await;
    let error = within(connecting).await.unwrap().unwrap_err();
    assert_eq!(failure(&error).disposition(), Disposition::Final);
}

#[tokio::test(start_paused = true)]
async fn the_era_is_remembered_and_asked_for_again_when_it_fails() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.legacy().await;
    let (mcp, mut inbound) = connected(connecting).await;
    up(&mut inbound).await;
    drop(peer);

    let mut peer = server.accept().await;
    peer.initialize(json!({ "tools": {} })).await;
    let again = up(&mut inbound).await;
    assert!(!again.extensions.get::<ServerInfo>().unwrap().has_changed());
    drop(peer);

    // Replaced by a modern one.
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("initialize").await;
    peer.refuse(&id, -32022, json!({ "supported": ["2026-07-28"] })).await;
    peer.modern().await;
    let replaced = up(&mut inbound).await;
    assert!(replaced.extensions.get::<ServerInfo>().unwrap().has_changed());
    assert_eq!(mcp.server().unwrap().era(), Era::Modern);
    drop(peer);

    // And back: it knows the modern way no more.
    let mut peer = server.accept().await;
    peer.legacy().await;
    up(&mut inbound).await;
    assert_eq!(mcp.server().unwrap().era(), Era::Legacy);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_early_follows_and_its_pings_are_answered() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    let (discover, _) = peer.asked("server/discover").await;
    peer.say(json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" })).await;
    assert_eq!(peer.heard().await, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
    peer.say(json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "data": 1 } }))
        .await;
    peer.answer(&discover, discovered(&["2026-07-28"], json!({}))).await;
    let (_mcp, mut inbound) = connected(connecting).await;
    assert_eq!(support::told(&mut inbound).await.0, "notifications/message");
}

/// As `rmcp` before 2.0 does: anything but `initialize` first ends the connection.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_is_initialized_on_the_next_connection() {
    let (mut server, connecting) = connect();
    let start = Instant::now();
    let mut peer = server.accept().await;
    peer.asked("server/discover").await;
    drop(peer);
    let mut peer = server.accept().await;
    peer.initialize(json!({})).await;
    let (mcp, mut inbound) = connected(connecting).await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(mcp.server().unwrap().era(), Era::Legacy);
    up(&mut inbound).await;

    // Remembered, for 10 min.
    drop(peer);
    let mut peer = server.accept().await;
    peer.initialize(json!({})).await;
    up(&mut inbound).await;
    sleep(Duration::from_secs(601)).await;
    drop(peer);
    let mut peer = server.accept().await;
    peer.modern().await;
    up(&mut inbound).await;
    assert_eq!(mcp.server().unwrap().era(), Era::Modern);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_initialized_within_6_s() {
    let (mut server, connecting) = connect();
    let start = Instant::now();
    let mut peer = server.accept().await;
    peer.asked("server/discover").await;
    peer.asked("initialize").await;
    // Its connection stays open: it is given up.
    let mut again = server.accept().await;
    again.initialize(json!({})).await;
    connected(connecting).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

/// A modern server that was going down while it was asked is not taken for a legacy one for long.
#[tokio::test(start_paused = true)]
async fn who_was_taken_for_a_legacy_server_may_say_otherwise() {
    for code in [-32022, -32601] {
        let (mut server, connecting) = connect();
        let mut peer = server.accept().await;
        peer.asked("server/discover").await;
        drop(peer);
        let mut peer = server.accept().await;
        let (id, _) = peer.asked("initialize").await;
        peer.refuse(&id, code, json!({ "supported": ["2026-07-28"] })).await;
        peer.modern().await;
        let (mcp, _inbound) = connected(connecting).await;
        assert_eq!(mcp.server().unwrap().era(), Era::Modern);
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_names_is_tried_again() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    peer.refuse(&id, -32022, json!({ "supported": ["2026-07-28"] })).await;
    peer.modern().await;
    connected(connecting).await;

    let (mut server, connecting) = connect_with(|layer| layer.only(Era::Legacy));
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("initialize").await;
    peer.refuse(&id, -32022, json!({ "supported": ["2024-11-05", "2025-03-26"] }))
        .await;
    let (id, params) = peer.asked("initialize").await;
    assert_eq!(params["protocolVersion"], "2025-03-26");
    let result = json!({ "protocolVersion": "2025-03-26", "capabilities": {} });
    peer.answer(&id, result).await;
    peer.asked("notifications/initialized").await;
    connected(connecting).await;
}

#[tokio::test(start_paused = true)]
async fn one_era_only_if_so_configured() {
    let (mut server, connecting) = connect_with(|layer| layer.only(Era::Legacy));
    server.accept().await.initialize(json!({})).await;
    connected(connecting).await;

    let (mut server, connecting) = connect_with(|layer| layer.only(Era::Modern));
    let mut peer = server.accept().await;
    let (id, _) = peer.asked("server/discover").await;
    peer.refuse(&id, -32601, Value::Null).await;
    // Not final: it may be replaced by one that does.
    server.accept().await.modern().await;
    connected(connecting).await;
}
