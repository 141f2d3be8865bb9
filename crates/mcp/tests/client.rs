//! Each question that the client asks by name, as the specification writes it, and what is shown of the parts.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Peer, connect, connected, up, within};
use tower_layer::Layer;
use tower_ws_client::{CallError, Request};
use tower_ws_mcp::{
    Answers, Capabilities, Era, Filter, Implementation, InputRequired, Mcp, McpError, McpLayer, PromptMessage,
    Reference,
};
use tower_ws_transport::JsonText;

const SECOND: Duration = Duration::from_secs(1);

/// Asks by `call`, and has the server answer what it is asked for.
async fn asks<T: Send + 'static>(
    mcp: &Mcp,
    peer: &mut Peer,
    call: impl AsyncFnOnce(Mcp) -> Result<T, McpError> + Send + 'static,
    method: &str,
    params: Value,
    result: Value,
) -> T {
    let asking = call(mcp.clone());
    let answering = async {
        let (id, mut said) = peer.asked(method).await;
        if let Value::Object(said) = &mut said {
            said.remove("_meta");
        }
        assert_eq!(said, params, "{method}");
        peer.answer(&id, result).await;
    };
    let (asked, ()) = within(async { tokio::join!(asking, answering) }).await;
    asked.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_question_is_asked_as_the_specification_has_it() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;

    let resources = asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| mcp.resources().all().await,
        "resources/list",
        json!({}),
        json!({ "resources": [{ "uri": "mem://a", "name": "a" }] }),
    )
    .await;
    assert_eq!(resources[0].uri, "mem://a");
    let templates = asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| mcp.resource_templates().all().await,
        "resources/templates/list",
        json!({}),
        json!({ "resourceTemplates": [{ "uriTemplate": "mem://{x}", "name": "x" }] }),
    )
    .await;
    assert_eq!(templates[0].uri_template, "mem://{x}");
    let prompts = asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| mcp.prompts().all().await,
        "prompts/list",
        json!({}),
        json!({ "prompts": [{ "name": "greet" }] }),
    )
    .await;
    assert_eq!(prompts[0].name, "greet");
    let said = json!({ "role": "user", "content": { "type": "text", "text": "hello" } });
    let prompt = asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| mcp.get_prompt("greet", &json!({ "whom": "me" })).await,
        "prompts/get",
        json!({ "name": "greet", "arguments": { "whom": "me" } }),
        json!({ "messages": [&said] }),
    )
    .await;
    let said: PromptMessage = serde_json::from_value(said).unwrap();
    assert_eq!(prompt.messages, [said]);

    let completion = json!({ "completion": { "values": ["python", "pytorch"], "total": 10, "hasMore": true } });
    let guesses = asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| {
            let greet = Reference::Prompt {
                name: "greet".to_owned(),
            };
            mcp.complete(&greet, "language", "py").await
        },
        "completion/complete",
        json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "language", "value": "py" } }),
        completion.clone(),
    )
    .await;
    assert_eq!(
        (guesses.values.len(), guesses.total, guesses.has_more),
        (2, Some(10), true)
    );
    asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| {
            let template = Reference::Resource {
                uri: "mem://{x}".to_owned(),
            };
            mcp.complete_given(&template, "x", "a", [("y", "b")]).await
        },
        "completion/complete",
        json!({
            "ref": { "type": "ref/resource", "uri": "mem://{x}" }, "argument": { "name": "x", "value": "a" },
            "context": { "arguments": { "y": "b" } },
        }),
        completion,
    )
    .await;
    // A modern server has no `ping`.
    asks(
        &mcp,
        &mut peer,
        async |mcp: Mcp| mcp.ping().await,
        "server/discover",
        json!({}),
        json!({}),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_says_how_long_it_took_and_a_close_ends_the_session() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.legacy().await;
    let (mcp, mut inbound) = connected(connecting).await;
    let asking = tokio::spawn({
        let mcp = mcp.clone();
        async move { mcp.ping().await }
    });
    let (id, _) = peer.asked("ping").await;
    tokio::time::sleep(SECOND).await;
    peer.answer(&id, json!({})).await;
    assert_eq!(within(asking).await.unwrap().unwrap(), SECOND);

    up(&mut inbound).await;
    let left = within(mcp.close(SECOND)).await;
    assert_eq!((left.unsent.len(), left.unanswered), (0, 0));
    let Err(McpError::Call(CallError::Closed(_))) = within(mcp.ping()).await else {
        panic!("the session is over");
    };
    assert!(within(mcp.client().send(Request::new("ping"))).await.is_err());
}

#[test]
fn a_filter_names_what_is_asked_for_and_nothing_else() {
    assert_eq!(serde_json::to_value(Filter::new()).unwrap(), json!({}));
    let all = Filter::new().tools().prompts().resources().resource("mem://a");
    let expected = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": ["mem://a"],
    });
    assert_eq!(serde_json::to_value(all).unwrap(), expected);
}

#[test]
fn an_era_is_that_of_its_versions() {
    for (version, era) in [
        ("2026-07-28", Some(Era::Modern)),
        ("2024-11-05", Some(Era::Legacy)),
        ("1999", None),
    ] {
        assert_eq!(Era::of(version), era, "{version}");
    }
    assert_eq!(
        (Era::Modern.to_string(), Era::Legacy.to_string()),
        ("modern".to_owned(), "legacy".to_owned())
    );
}

/// A handler's error is told to nobody but the log: the request fails as one that wants input.
#[tokio::test(start_paused = true)]
async fn a_question_whose_handler_fails_is_left_to_the_caller() {
    let (mut server, connecting) = connect();
    let mut peer = server.accept().await;
    peer.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let refuses = async |_| Err::<Value, _>(tower_ws_core::jsonrpc::RpcError::new(-1, "the user said no"));
    let answers = Answers::new().sampling(move |params| Box::pin(refuses(params)));
    assert!(format!("{answers:?}").contains("sampling/createMessage"), "{answers:?}");
    let mcp = mcp.answering(answers);
    let call = tokio::spawn(async move { mcp.call_tool("ask", &json!({})).await.map(drop) });
    let (id, _) = peer.asked("tools/call").await;
    let question = json!({ "method": "sampling/createMessage", "params": { "secret": "hunter2" } });
    peer.answer(
        &id,
        json!({ "resultType": "input_required", "inputRequests": { "a": question } }),
    )
    .await;
    let Err(McpError::InputRequired(input)) = within(call).await.unwrap() else {
        panic!("the question has no answer");
    };
    let input: InputRequired = *input;
    assert_eq!((input.method(), input.requests().len()), ("tools/call", 1));
    let shown = format!("{input:?}");
    assert!(shown.contains("requests: 1") && !shown.contains("hunter2"), "{shown}");
    // No state, no word of one.
    let again = input.answer([("a", json!({ "content": "yes" }))]).unwrap();
    let params: Value = serde_json::from_slice(again.params_text().unwrap()).unwrap();
    assert_eq!(
        (params.get("requestState"), &params["inputResponses"]["a"]["content"]),
        (None, &json!("yes"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_cut_and_escaped() {
    let name = Implementation::new("a\nb".repeat(100), "1\r2");
    let shown = format!("{name:?}");
    assert!(
        shown.len() < 400 && !shown.contains('\n') && !shown.contains('\r'),
        "{shown}"
    );
    let capabilities = Capabilities::new().with("to\nols", json!({ "secret": "hunter2" }));
    assert_eq!(capabilities.get("to\nols"), Some(&json!({ "secret": "hunter2" })));
    let shown = format!("{capabilities:?}");
    assert!(!shown.contains('\n') && !shown.contains("hunter2"), "{shown}");

    let (layer, session) = McpLayer::pair(JsonText, Implementation::new("host", "1"), Capabilities::new());
    let layer = layer.timeout(3 * SECOND);
    let shown = format!("{layer:?} {:?} {session:?}", layer.layer(()));
    assert!(shown.contains("timeout: 3s") && shown.contains("McpService"), "{shown}");

    let (mut server, connecting) = connect();
    server.accept().await.modern().await;
    let (mcp, _inbound) = connected(connecting).await;
    let listen = within(mcp.listen(&Filter::new().tools())).await.unwrap();
    let secret = Request::new("tools/call")
        .params(&json!({ "secret": "hunter2" }))
        .unwrap();
    let tracked = within(mcp.track(secret)).await.unwrap();
    let shown = format!("{mcp:?} {listen:?} {:?} {tracked:?}", mcp.tools());
    assert!(
        shown.contains("Listen { id: Some(") && shown.contains("Pages { pages: 0"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(mcp.server().unwrap().instructions(), None);
}
