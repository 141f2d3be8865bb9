//! A server of MCP that says what it likes: each line of the input answers one request, the first ones those of the opening.
//! `$` in it is the request's id. Whatever it says no call hangs, and of a list nothing is silently left out.
#![no_main]

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt};
use tower_ws_fuzz::{run, shown};
use tower_ws_mcp::{
    Capabilities, Implementation, Listed, Mcp, McpLayer, Prompt, Resource, ResourceTemplate, Tool, ack_layer,
    client_layer,
};
use tower_ws_transport::{
    JsonText,
    memory::{self, Socket},
};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    run(session(text.lines().map(str::to_owned).collect()));
});

/// The whole of what a client of this kind can ask for.
async fn session(lines: VecDeque<String>) {
    let (transport, mut listener) = memory::channel::<String>(64);
    let (layer, session) = McpLayer::pair(JsonText, Implementation::new("fuzz", "1"), Capabilities::new());
    let stack = ServiceBuilder::new()
        .layer(client_layer(JsonText))
        .layer(ack_layer(JsonText))
        .layer(layer)
        .service(transport);
    let server = async {
        match listener.accept().await {
            Some(socket) => answer(socket, lines).await,
            None => Vec::new(),
        }
    };
    let client = async {
        let (client, inbound) = stack.oneshot(()).await.map_err(|error| shown(&*error)).ok()?;
        // Nobody listens to what it tells unasked.
        drop(inbound);
        let mcp = Mcp::new(client, session);
        list::<Tool>(&mcp).await;
        list::<Resource>(&mcp).await;
        list::<ResourceTemplate>(&mcp).await;
        list::<Prompt>(&mcp).await;
        same(mcp.call_tool("t", &json!({})).await.map_err(|error| shown(&error)).ok());
        let read = mcp.read_resource("mem://x").await;
        drop(read.map_err(|error| shown(&error)));
        let prompt = mcp.get_prompt("p", &json!({})).await;
        drop(prompt.map_err(|error| shown(&error)));
        mcp.close(std::time::Duration::from_secs(1)).await;
        Some(())
    };
    tokio::join!(server, client);
}

/// Gives each request its line, and takes the rest of the input for what it says at the end, unasked.
async fn answer(mut socket: Socket<String>, mut lines: VecDeque<String>) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some(Ok(said)) = socket.next().await {
        let Ok(request) = serde_json::from_str::<Value>(&said) else {
            panic!("the client speaks JSON: {said}")
        };
        asked.push(said);
        let (Some(id), Some(line)) = (request.get("id"), lines.pop_front()) else {
            continue;
        };
        if socket.send(line.replace('$', &id.to_string())).await.is_err() {
            break;
        }
        if lines.is_empty() {
            // It has nothing more to say, and goes.
            break;
        }
    }
    asked
}

async fn list<T: Listed + DeserializeOwned + Serialize>(mcp: &Mcp) {
    let page = match mcp.page::<T>(None).await {
        Ok(page) => page,
        Err(error) => return drop(shown(&error)),
    };
    for item in page.items {
        same(Some(item));
    }
    for skipped in page.skipped {
        assert!(format!("{skipped:?}").len() < 1 << 20);
    }
}

/// What was read is written so that it is read again as the same.
fn same<T: DeserializeOwned + Serialize>(item: Option<T>) {
    let Some(item) = item else { return };
    let written = serde_json::to_string(&item).expect("it can be written");
    let again: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(serde_json::to_string(&again).expect("it can be written"), written);
}
